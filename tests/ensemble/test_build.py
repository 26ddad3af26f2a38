"""The ensemble as a whole: properties that hold for any good combination of trials."""

import dataclasses

import numpy as np
import pytest
from sklearn.metrics import log_loss as sklearn_log_loss

from automl_car.ensemble.build import build_ensemble
from automl_car.ensemble.calibration import apply, fit_calibration
from automl_car.ensemble_records import Candidate
from automl_car.errors import ConfigError, DataError

ROWS, CLASSES, TESTS = 400, 6, 50
FOLDS = np.arange(ROWS) % 4


def problem(scales=(1.0, 1.2, 2.0), factor=1.0, seed=0):
    """Candidates of rising noise whose logits are `factor` times too large, and the labels."""
    random = np.random.default_rng(seed)
    truth = random.normal(scale=2.5, size=(ROWS + TESTS, CLASSES))
    labels = (truth + random.gumbel(size=truth.shape)).argmax(axis=1)
    noisy = [factor * (truth + random.normal(scale=scale, size=truth.shape)) for scale in scales]
    names = [f"trial {number}" for number in range(len(scales))]
    candidates = [Candidate(name, "net", z[:ROWS], z[ROWS:]) for name, z in zip(names, noisy, strict=True)]
    return candidates, labels[:ROWS]


@pytest.fixture(scope="module")
def built():
    candidates, labels = problem()
    return build_ensemble(candidates, labels, FOLDS, top_k=3), candidates, labels


def test_the_ensemble_is_better_than_the_best_trial(built):
    ensemble, _, _ = built
    assert ensemble.nested_log_loss < ensemble.best_single


def test_the_nested_log_loss_is_that_of_the_out_of_fold_probabilities(built):
    ensemble, _, labels = built
    assert ensemble.nested_log_loss == pytest.approx(sklearn_log_loss(labels, ensemble.oof_probabilities))


def test_the_log_loss_is_no_worse_than_that_of_any_member_on_the_same_rows(built):
    ensemble, _, _ = built
    assert ensemble.log_loss <= min(member.log_loss for member in ensemble.members)


@pytest.mark.parametrize("part", ["oof_probabilities", "test_probabilities"])
def test_rows_of_probabilities_sum_to_one_and_no_class_is_zero(built, part):
    probabilities = getattr(built[0], part)
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(len(probabilities)), abs=1e-12)
    assert probabilities.min() > 0


def test_weights_lie_on_the_simplex_heaviest_first(built):
    weights = [member.weight for member in built[0].members]
    assert sum(weights) == pytest.approx(1.0)
    assert weights == sorted(weights, reverse=True)


def test_no_member_could_be_left_out_without_loss(built):
    assert all(member.gain > 0 for member in built[0].members)


def test_rows_says_how_many_rows_were_measured(built):
    assert built[0].rows == ROWS


def test_the_order_of_candidates_does_not_matter(built):
    ensemble, candidates, labels = built
    other = build_ensemble(candidates[::-1], labels, FOLDS, top_k=3)
    assert other.nested_log_loss == pytest.approx(ensemble.nested_log_loss, abs=1e-5)
    assert other.test_probabilities == pytest.approx(ensemble.test_probabilities, abs=1e-3)


def test_the_order_of_rows_does_not_matter(built):
    ensemble, candidates, labels = built
    order = np.random.default_rng(0).permutation(ROWS)
    shuffled = [dataclasses.replace(c, oof_logits=c.oof_logits[order]) for c in candidates]
    other = build_ensemble(shuffled, labels[order], FOLDS[order], top_k=3)
    assert other.oof_probabilities == pytest.approx(ensemble.oof_probabilities[order], abs=1e-3)


def test_the_order_of_test_rows_is_kept(built):
    ensemble, candidates, labels = built
    turned = [dataclasses.replace(c, test_logits=c.test_logits[::-1]) for c in candidates]
    other = build_ensemble(turned, labels, FOLDS, top_k=3)
    np.testing.assert_allclose(other.test_probabilities, ensemble.test_probabilities[::-1])


def test_an_ensemble_of_one_is_its_best_member_calibrated():
    candidates, labels = problem(factor=3.0)
    ensemble = build_ensemble(candidates, labels, FOLDS, top_k=1)
    calibration = fit_calibration(candidates[0].oof_logits, labels)
    assert [member.name for member in ensemble.members] == ["trial 0"]
    assert ensemble.test_probabilities == pytest.approx(apply(calibration, candidates[0].test_logits), abs=0.02)


def test_copies_of_one_trial_score_no_better_than_the_trial():
    candidates, labels = problem(scales=(1.0,))
    copies = [dataclasses.replace(candidates[0], name=name) for name in ("a", "b", "c")]
    one = build_ensemble(candidates, labels, FOLDS, top_k=3)
    assert build_ensemble(copies, labels, FOLDS, top_k=3).nested_log_loss == pytest.approx(
        one.nested_log_loss, abs=1e-6
    )


def test_under_confident_members_are_sharpened():
    candidates, labels = problem(factor=0.3)
    ensemble = build_ensemble(candidates, labels, FOLDS, top_k=3)
    assert all(member.temperature < 1 for member in ensemble.members)


def test_the_scale_of_a_trials_logits_does_not_matter(built):
    ensemble, candidates, labels = built
    louder = [dataclasses.replace(candidates[0], oof_logits=5 * candidates[0].oof_logits), *candidates[1:]]
    louder[0] = dataclasses.replace(louder[0], test_logits=5 * candidates[0].test_logits)
    other = build_ensemble(louder, labels, FOLDS, top_k=3)
    assert other.test_probabilities == pytest.approx(ensemble.test_probabilities, abs=1e-3)


def test_a_trial_of_pure_noise_is_not_a_member():
    candidates, labels = problem()
    noise = np.random.default_rng(7).normal(size=(ROWS + TESTS, CLASSES))
    bad = Candidate("noise", "net", noise[:ROWS], noise[ROWS:])
    ensemble = build_ensemble([bad, *candidates], labels, FOLDS, top_k=4)
    assert "noise" not in {member.name for member in ensemble.members}


def test_the_only_members_gain_is_measured_against_guessing():
    candidates, labels = problem(scales=(1.0,))
    ensemble = build_ensemble(candidates, labels, FOLDS, top_k=5)
    assert ensemble.members[0].gain == pytest.approx(np.log(CLASSES) - ensemble.log_loss)


def test_rows_of_a_single_fold_are_cross_fitted_over_fixed_splits():
    candidates, labels = problem()
    first = build_ensemble(candidates, labels, np.full(ROWS, 2), top_k=3)
    again = build_ensemble(candidates, labels, np.full(ROWS, 0), top_k=3)
    assert first.nested_log_loss == again.nested_log_loss
    assert first.nested_log_loss != first.log_loss


def test_without_a_test_set_there_are_no_test_probabilities():
    candidates, labels = problem()
    untested = [dataclasses.replace(c, test_logits=np.empty((0, CLASSES))) for c in candidates]
    assert build_ensemble(untested, labels, FOLDS, top_k=2).test_probabilities.shape == (0, CLASSES)


def test_float16_logits_give_nearly_the_same_ensemble(built):
    ensemble, candidates, labels = built
    rounded = [dataclasses.replace(c, oof_logits=c.oof_logits.astype(np.float16)) for c in candidates]
    assert build_ensemble(rounded, labels, FOLDS, top_k=3).log_loss == pytest.approx(ensemble.log_loss, abs=1e-3)


def test_no_candidate_is_an_error_that_says_what_to_do():
    with pytest.raises(DataError, match="no trial") as error:
        build_ensemble([], np.array([0, 1]), np.array([0, 1]), top_k=3)
    assert "search" in error.value.hint


def test_top_k_below_one_is_an_error():
    candidates, labels = problem()
    with pytest.raises(ConfigError, match="at most 0"):
        build_ensemble(candidates, labels, FOLDS, top_k=0)


def test_all_unusable_candidates_are_named_at_once():
    candidates, labels = problem()
    broken = candidates[0].oof_logits.copy()
    broken[3, 2] = np.nan
    wrong = [
        dataclasses.replace(candidates[0], oof_logits=broken),
        dataclasses.replace(candidates[1], oof_logits=candidates[1].oof_logits[:-1]),
        dataclasses.replace(candidates[2], test_logits=candidates[2].test_logits[:-1]),
    ]
    with pytest.raises(
        DataError, match=r"of trial 0 hold NaN.*of trial 1 have shape.*test logits of trial 2 have shape"
    ):
        build_ensemble(wrong, labels, FOLDS, top_k=3)


def test_a_label_beyond_the_classes_is_an_error():
    candidates, labels = problem()
    with pytest.raises(DataError, match="6 classes"):
        build_ensemble(candidates, np.where(labels == 0, CLASSES, labels), FOLDS, top_k=3)
