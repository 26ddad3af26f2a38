"""The finished folds of a stopped trial join the ensemble where they are sure to help, and else not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from automl_car.ensemble.build import build_ensemble
from automl_car.ensemble.joining import join_stopped, on_rows
from automl_car.ensemble_records import Candidate, Ensemble
from automl_car.records import Folds, IntArray

ROWS, CLASSES, TESTS = 600, 5, 20
FOLDS = np.arange(ROWS) % 4
SPLIT = Folds(FOLDS, 4, "photos")
RANDOM = np.random.default_rng(0)
TRUTH = RANDOM.normal(scale=2.5, size=(ROWS + TESTS, CLASSES))
LABELS = (TRUTH + RANDOM.gumbel(size=TRUTH.shape)).argmax(axis=1)[:ROWS]


def candidate(name: str, noise: float, seed: int) -> Candidate:
    """A trial whose logits are the truth and some noise of its own."""
    logits = TRUTH + np.random.default_rng(seed).normal(scale=noise, size=TRUTH.shape)
    return Candidate(name, "net", logits[:ROWS], logits[ROWS:])


COMPLETE = (candidate("trial 0", 1.5, 1), candidate("trial 1", 1.8, 2))
ALONE = build_ensemble(COMPLETE, LABELS, FOLDS, top_k=3)


def join(stopped: Candidate, folds: tuple[int, ...] = (0, 2)) -> tuple[Ensemble | None, IntArray]:
    rows = np.flatnonzero(np.isin(FOLDS, folds))
    candidates = [*COMPLETE, stopped]
    on_rows(candidates, rows)
    return join_stopped(ALONE, candidates[:-1], candidates[-1], rows, LABELS, SPLIT, top_k=3), rows


@pytest.mark.parametrize("folds", [(1,), (0, 2), (0, 1, 2, 3)])
def test_a_good_trial_with_mistakes_of_its_own_joins(folds: tuple[int, ...]) -> None:
    joined, rows = join(candidate("trial 2", 0.6, 3), folds)
    assert joined is not None
    assert "trial 2" in {member.name for member in joined.members}
    assert joined.rows == len(rows)


def test_it_is_better_than_the_complete_trials_alone_on_the_same_photos() -> None:
    joined, rows = join(candidate("trial 2", 0.6, 3))
    assert joined is not None
    before = -np.log(ALONE.oof_probabilities[rows, LABELS[rows]])
    now = -np.log(joined.oof_probabilities[np.arange(len(rows)), LABELS[rows]])
    assert now.mean() == pytest.approx(joined.nested_log_loss)
    assert (before - now).mean() > (before - now).std(ddof=1) / np.sqrt(len(rows))


def test_test_photos_are_answered_by_the_ensemble_that_was_taken() -> None:
    good = candidate("trial 2", 0.1, 3)
    joined, _ = join(good)
    assert joined is not None
    exponentials = np.exp(TRUTH[ROWS:])
    truth = exponentials / exponentials.sum(axis=1, keepdims=True)
    assert joined.test_probabilities.shape == (TESTS, CLASSES)
    assert np.abs(joined.test_probabilities - truth).mean() < np.abs(ALONE.test_probabilities - truth).mean() / 2


def test_pure_noise_does_not_join() -> None:
    noise = np.random.default_rng(3).normal(size=TRUTH.shape)
    assert join(Candidate("trial 2", "net", noise[:ROWS], noise[ROWS:]))[0] is None


def test_a_copy_of_a_member_does_not_join() -> None:
    assert join(replace(COMPLETE[0], name="trial 2"))[0] is None


def test_without_the_trial_itself_other_weights_on_its_photos_are_no_reason() -> None:
    louder = np.where(np.isin(FOLDS, (0, 2)), 0.1, 1.0)[:, None]  # there, a pool of its own would gain a lot
    complete = [replace(one, oof_logits=one.oof_logits * louder) for one in COMPLETE]
    alone = build_ensemble(complete, LABELS, FOLDS, top_k=3)
    rows = np.flatnonzero(np.isin(FOLDS, (0, 2)))
    on_rows(complete, rows)
    noise = np.random.default_rng(3).normal(size=TRUTH.shape)
    useless = Candidate("trial 2", "net", noise[rows], noise[ROWS:])
    assert build_ensemble(complete, LABELS[rows], FOLDS[rows], top_k=3).nested_log_loss < alone.nested_log_loss - 0.1
    assert join_stopped(alone, complete, useless, rows, LABELS, SPLIT, top_k=3) is None


def built_anew(stopped: Candidate, rows: IntArray) -> Ensemble:
    candidates = [replace(one, oof_logits=one.oof_logits[rows]) for one in (*COMPLETE, stopped)]
    return build_ensemble(candidates, LABELS[rows], FOLDS[rows], top_k=3)


def test_it_is_built_as_any_other_ensemble_of_these_rows() -> None:
    stopped = candidate("trial 2", 0.6, 3)
    joined, rows = join(stopped)
    assert joined is not None
    np.testing.assert_array_equal(joined.oof_probabilities, built_anew(stopped, rows).oof_probabilities)


def test_a_gain_within_a_standard_error_is_not_enough() -> None:
    outcomes = set()
    for seed in range(3, 9):
        stopped = candidate("trial 2", 2.5, seed)
        joined, rows = join(stopped)
        built = built_anew(stopped, rows)
        before = -np.log(ALONE.oof_probabilities[rows, LABELS[rows]])
        gains = before + np.log(built.oof_probabilities[np.arange(len(rows)), LABELS[rows]])
        if gains.mean() <= gains.std(ddof=1) / np.sqrt(len(rows)):
            outcomes.add(gains.mean() > 0)
            assert joined is None
    assert True in outcomes, "one of them gained a little"


def test_logits_are_cut_down_in_place() -> None:
    candidates = [*COMPLETE]
    on_rows(candidates, np.array([3, 5]))
    np.testing.assert_array_equal(candidates[1].oof_logits, COMPLETE[1].oof_logits[[3, 5]])
    assert candidates[1].test_logits is COMPLETE[1].test_logits
    assert len(COMPLETE[1].oof_logits) == ROWS
