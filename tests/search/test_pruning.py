"""The pruning rule: numbers derived by hand, the traps of the stock pruners, and simulated searches."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import optuna
import pytest
from optuna.trial import create_trial

from automl_car.records import FloatArray
from automl_car.search.pruning import (
    PruningRule,
    TrialLosses,
    estimate_difference,
    fold_spread,
    helps,
    run_noise,
)

FOLDS = 5
DIFFICULTY = np.array([0.00, 0.03, -0.02, 0.01, 0.04])  # of the folds; the same for all trials


def _even(number: int, losses: Mapping[int, float]) -> TrialLosses:
    """A trial in which all four photos of a fold have the same loss: the choice of photos leaves no luck."""
    return TrialLosses(number, {fold: np.full(4, loss) for fold, loss in losses.items()})


def _complete(*levels: float) -> list[TrialLosses]:
    """Complete trials of these mean log losses, up to the mean difficulty of the folds."""
    return [
        _even(number, {fold: level + DIFFICULTY[fold] for fold in range(FOLDS)}) for number, level in enumerate(levels)
    ]


SIX = _complete(0.50, 0.51, 0.52, 0.53, 0.54, 0.55)
RULE = PruningRule(folds=FOLDS, k=5, z=2.0)


def _pruned(losses: Mapping[int, float], complete: Sequence[TrialLosses] = SIX, rule: PruningRule = RULE) -> bool:
    return rule.explain(_even(99, losses), complete) is not None


# ---- when it prunes -------------------------------------------------------------------------------------------------


def test_a_trial_that_is_much_worse_is_pruned_after_its_first_fold() -> None:
    assert _pruned({0: 1.0})


def test_a_trial_as_good_as_the_kth_best_goes_on() -> None:
    assert not _pruned({0: 0.54, 1: 0.57})


def test_the_trial_is_compared_with_the_kth_best_and_not_with_the_best() -> None:
    complete = _complete(0.1, 0.1, 0.50, 0.51, 0.52)
    losses = {0: 0.5, 1: 0.53}  # far behind the two best, but better than the fifth
    assert not _pruned(losses, complete)
    assert _pruned(losses, complete, PruningRule(folds=FOLDS, k=2, z=2.0))


def test_the_order_of_complete_trials_does_not_matter() -> None:
    trial = _even(99, {0: 1.0})
    assert RULE.explain(trial, SIX[::-1]) == RULE.explain(trial, SIX) is not None


@pytest.mark.parametrize("number", range(5))
def test_before_k_trials_are_complete_none_is_pruned(number: int) -> None:
    assert not _pruned({0: 50.0}, SIX[:number])


def test_after_its_last_fold_no_trial_is_pruned() -> None:
    assert not _pruned(dict.fromkeys(range(FOLDS), 50.0))
    assert _pruned(dict.fromkeys(range(FOLDS - 1), 50.0))


@pytest.mark.parametrize("loss", [math.nan, math.inf])
@pytest.mark.parametrize("folds", [1, FOLDS])
def test_a_fold_that_is_not_a_number_ends_the_trial_at_once(loss: float, folds: int) -> None:
    losses = dict.fromkeys(range(folds), 0.5) | {folds - 1: loss}
    assert RULE.explain(_even(99, losses), []) == "its log loss is not finite"


def test_a_trial_without_folds_is_not_judged() -> None:
    assert not _pruned({})


# ---- how much is allowed --------------------------------------------------------------------------------------------

# One complete trial at 0.5 shows no luck of runs, so that it is taken to be 2 % of 0.5 on each fold: 0.01.
ALONE = [_even(7, dict.fromkeys(range(FOLDS), 0.5))]


@pytest.mark.parametrize(
    ("done", "allowed"),
    [
        (1, 2 * 0.01 * math.sqrt(4 / 5)),
        (2, 2 * 0.01 / math.sqrt(2) * math.sqrt(3 / 5)),
        (4, 2 * 0.01 / 2 * math.sqrt(1 / 5)),
    ],
)
def test_the_allowance_shrinks_with_the_folds_that_are_still_open(done: int, allowed: float) -> None:
    rule = PruningRule(folds=FOLDS, k=1, z=2.0)
    assert not _pruned(dict.fromkeys(range(done), 0.5 + allowed - 1e-6), ALONE, rule)
    assert _pruned(dict.fromkeys(range(done), 0.5 + allowed + 1e-6), ALONE, rule)


def test_z_is_the_number_of_standard_errors_that_are_allowed() -> None:
    losses = {0: 0.5 + 2.5 * 0.01 * math.sqrt(4 / 5)}
    assert _pruned(losses, ALONE, PruningRule(folds=FOLDS, k=1, z=2))
    assert not _pruned(losses, ALONE, PruningRule(folds=FOLDS, k=1, z=3))


def test_the_reason_names_the_rival_and_the_numbers() -> None:
    # Four photos are 0, 0.2, 0 and 0.2 worse: 0.1 in the mean. Each is 0.4 / 3 from the mean of the other three, so
    # that the photos' variance is (0.4 / 3)² / 4 = 0.00444. That of the runs is 0.01². After one of two folds
    # 2 sqrt(0.00454 / 2) = 0.095 is allowed.
    trial = TrialLosses(9, {1: np.array([0.5, 0.7, 0.5, 0.7])})
    rival = _even(7, {0: 0.5, 1: 0.5})
    assert PruningRule(folds=2, k=1, z=2.0).explain(trial, [rival]) == (
        "after 1 fold it would end 0.100 above trial 7, the 1st best; 0.095 is allowed, "
        "and it does not help the ensemble"
    )


@pytest.mark.parametrize(("k", "place"), [(2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (12, "12th"), (21, "21st")])
def test_the_place_of_the_rival_is_told_as_a_person_would_say_it(k: int, place: str) -> None:
    reason = PruningRule(folds=FOLDS, k=k, z=2.0).explain(
        _even(99, {0: 5.0, 1: 5.03}), _complete(*np.linspace(0.4, 0.6, k))
    )
    assert f"after 2 folds it would end 4.400 above trial {k - 1}, the {place} best" in str(reason)


# ---- photos are paired ----------------------------------------------------------------------------------------------


def _photos(seed: int = 0) -> FloatArray:
    """Losses of 40 photos in each of five folds: most are easy, a few are very hard, and the last fold is all hard."""
    losses = np.random.default_rng(seed).exponential(0.3, (FOLDS, 40))
    losses[-1] += 1.0
    return losses


def _alike(photos: FloatArray) -> list[TrialLosses]:
    """Five complete trials that differ by a hundredth."""
    return [TrialLosses(number, dict(enumerate(photos + 0.01 * number))) for number in range(5)]


def test_hard_photos_are_compared_with_the_same_hard_photos() -> None:
    photos = _photos()
    complete = _alike(photos)
    assert photos[-1].mean() > complete[-1].mean + 0.5  # its mean alone looks hopeless
    assert RULE.explain(TrialLosses(9, {4: photos[-1]}), complete) is None


def test_a_difference_far_smaller_than_the_spread_of_photos_is_seen() -> None:
    photos = _photos()
    worse = photos[0] + 0.1
    unpaired = math.sqrt((photos[0].var(ddof=1) + worse.var(ddof=1)) / len(worse) * 4 / 5)
    assert worse.mean() - photos[0].mean() < 2 * unpaired  # two means, each with its own luck, would not show it
    assert RULE.explain(TrialLosses(9, {0: worse}), _alike(photos)) is not None


def test_a_difference_that_a_few_photos_make_is_the_luck_of_these_photos() -> None:
    rival = _even(7, {0: 0.5, 1: 0.5})
    everywhere = TrialLosses(9, {0: np.full(4, 0.6)})
    one_photo = TrialLosses(9, {0: np.array([0.9, 0.5, 0.5, 0.5])})
    rule = PruningRule(folds=2, k=1, z=2.0)
    assert one_photo.mean == pytest.approx(everywhere.mean)
    assert rule.explain(everywhere, [rival]) is not None
    assert rule.explain(one_photo, [rival]) is None


# ---- what the complete trials know of the photos to come ------------------------------------------------------------


def test_a_trial_that_is_worse_on_hard_photos_alone_will_be_worse_where_they_come() -> None:
    photos = _photos()
    rival = TrialLosses(0, dict(enumerate(photos)))
    trial = TrialLosses(9, {0: 1.2 * photos[0]})  # a fifth worse; fold 0 is an easy one
    difference, _ = estimate_difference(trial, rival, [rival])
    assert difference == pytest.approx(0.2 * photos.mean(), rel=0.01)
    assert 0.2 * photos[0].mean() < 0.7 * difference  # what was seen on that fold


def test_an_equal_difference_on_all_photos_is_itself() -> None:
    photos = _photos()
    rival = TrialLosses(0, dict(enumerate(photos)))
    difference, error = estimate_difference(TrialLosses(9, {0: photos[0] + 0.1}), rival, _alike(photos))
    assert (difference, error) == (pytest.approx(0.1), pytest.approx(0.0, abs=1e-9))


def _estimates(seed: int, slope: float) -> tuple[float, float, float, float]:
    """Of the difference of two of six simulated trials: the truth, its estimate with its error, and the plain mean."""
    *complete, trial = _simulated(seed, [0.5] * 6, run=0.0, photo=0.2)
    rival = complete[0]
    folds = {fold: losses + slope * rival.folds[fold] for fold, losses in trial.folds.items()}
    start = TrialLosses(9, {0: folds[0], 1: folds[1]})
    truth = TrialLosses(9, folds).mean - rival.mean
    plain = start.mean - float(np.mean([rival.folds[0].mean(), rival.folds[1].mean()]))
    return (truth, *estimate_difference(start, rival, complete), plain)


@pytest.mark.parametrize("slope", [0.0, 0.5])
def test_the_estimated_error_of_a_difference_is_what_it_is_in_simulations(slope: float) -> None:
    rows = np.array([_estimates(seed, slope) for seed in range(200)])
    of_open_folds = math.sqrt(1 - 2 / FOLDS)
    within = np.abs(rows[:, 1] - rows[:, 0]) <= 2 * of_open_folds * rows[:, 2]
    assert 0.9 <= within.mean() <= 0.99


def test_where_differences_depend_on_how_hard_photos_are_the_estimate_is_far_better_than_the_mean() -> None:
    rows = np.array([_estimates(seed, 0.5) for seed in range(200)])
    errors = np.sqrt(np.mean((rows[:, [1, 3]] - rows[:, [0]]) ** 2, axis=0))
    assert errors[0] < 0.7 * errors[1]


# ---- trials that the pool needs -------------------------------------------------------------------------------------

# The pool's members are good at one half of the photos and bad at the other.
HALVES = np.repeat([0.1, 2.0], 20)
POOL = [TrialLosses(number, dict.fromkeys(range(FOLDS), HALVES)) for number in range(5)]


def test_a_trial_that_is_good_where_the_others_are_bad_goes_on_though_it_is_worse() -> None:
    other = TrialLosses(9, {0: np.repeat([3.0, 0.1], 20)})
    assert other.mean > POOL[0].mean + 0.4
    assert RULE.explain(other, POOL) is None


def test_one_that_is_as_bad_and_good_nowhere_does_not() -> None:
    nowhere = TrialLosses(9, {0: np.full(40, 1.55)})
    assert nowhere.mean == pytest.approx(TrialLosses(9, {0: np.repeat([3.0, 0.1], 20)}).mean)
    assert RULE.explain(nowhere, POOL) is not None


def test_a_trial_helps_when_the_pool_has_a_lower_log_loss_with_it() -> None:
    # By hand: a member of probability 0.5 joins one of 0.2 on a photo, and one of 0.2 joins one of 0.5 on another: both
    # come to 0.35, and log(0.35² / (0.5 * 0.2)) / 2 = 0.10 is gained in the mean; with 0.05 instead of 0.2, the photos'
    # log losses change by log(0.35 / 0.2) and log(0.275 / 0.5), and 0.02 is lost.
    pool = TrialLosses(0, {0: np.tile(-np.log([0.2, 0.5]), 100)})
    gained, lost = (TrialLosses(9, {0: np.tile(-np.log([0.5, worse]), 100)}) for worse in (0.2, 0.05))
    assert helps(gained, [pool], 1)
    assert not helps(lost, [pool], 1)


def test_another_of_the_same_kind_does_not_help_and_neither_does_a_lucky_photo() -> None:
    assert not helps(TrialLosses(9, {0: HALVES}), POOL, 5)
    lucky = HALVES.copy()
    lucky[-1] = 0.0
    assert not helps(TrialLosses(9, {0: lucky}), POOL, 5)


# ---- the luck of runs -----------------------------------------------------------------------------------------------


def test_the_spread_is_that_of_the_difference_of_two_trials() -> None:
    # By hand: on three folds the differences are 0.1, 0.2 and 0.6, with a standard deviation of 0.2646.
    first, second = {0: 0.5, 1: 0.7, 2: 0.4}, {0: 0.6, 1: 0.9, 2: 1.0}
    assert fold_spread([first, second]) == pytest.approx(np.std([0.1, 0.2, 0.6], ddof=1))


@pytest.mark.parametrize("trials", [[], [{0: 0.5, 1: 0.6}], [{0: 0.5}, {0: 0.6}], [{0: 0.5}, {1: 0.6}]])
def test_without_two_trials_on_two_folds_there_is_no_spread(trials: list[dict[int, float]]) -> None:
    assert fold_spread(trials) == 0.0


def _simulated(seed: int, quality: Sequence[float], *, run: float, photo: float, photos: int = 50) -> list[TrialLosses]:
    """Trials made of their quality, the folds' difficulty, the photos', the luck of runs, and that of photos."""
    random = np.random.default_rng(seed)
    shape = (len(quality), FOLDS, photos)
    losses = (
        np.asarray(quality)[:, None, None]
        + random.normal(0, 0.1, (1, FOLDS, 1))
        + random.exponential(0.5, (1, *shape[1:]))
        + random.normal(0, run, (*shape[:2], 1))
        + random.normal(0, photo, shape)
    )
    return [TrialLosses(number, dict(enumerate(folds))) for number, folds in enumerate(losses)]


def test_the_luck_of_runs_is_recovered_from_simulated_trials() -> None:
    quality, run = np.linspace(0.4, 0.8, 10), 0.05
    found = [run_noise(_simulated(seed, quality, run=run, photo=0.2), prior=0.07) ** 2 for seed in range(20)]
    assert math.sqrt(np.mean(found)) == pytest.approx(run * math.sqrt(2), rel=0.1)  # of a difference of two


def test_the_luck_of_photos_is_not_taken_for_that_of_runs() -> None:
    quality = np.linspace(0.4, 0.8, 10)
    found = [run_noise(_simulated(seed, quality, run=0.0, photo=0.3), prior=0.0) for seed in range(20)]
    from_photos = 0.3 * math.sqrt(2 / 50)  # standard deviation of the difference of two means of 50 photos
    assert np.mean(found) < 0.4 * from_photos


def test_the_luck_of_runs_is_the_prior_with_one_trial() -> None:
    assert run_noise(SIX[:1], prior=0.02) == pytest.approx(0.02)


def test_trials_that_keep_their_distance_on_every_fold_leave_only_the_priors_share() -> None:
    # Three trials on five folds show 2 * 4 differences of nothing, and the prior counts for 4 of 0.02².
    assert run_noise(SIX[:3], prior=0.02) == pytest.approx(math.sqrt(4 * 0.02**2 / (4 + 8)))


def test_where_runs_are_a_matter_of_luck_more_is_allowed() -> None:
    steady, lucky = (_simulated(0, [0.5] * 5, run=run, photo=0.01) for run in (0.0, 0.2))
    for complete, pruned in ((steady, True), (lucky, False)):
        rival = sorted(complete, key=lambda trial: trial.mean)[-1]
        trial = TrialLosses(9, {0: rival.folds[0] + 0.1})
        assert (RULE.explain(trial, complete) is not None) == pruned


# ---- how often it is right ------------------------------------------------------------------------------------------


def _share_pruned(behind: float, folds: int) -> float:
    """Share of trials pruned within so many folds, of those that are `behind` five complete ones of one quality."""
    pruned = 0
    for seed in range(200):
        *complete, trial = _simulated(seed, [0.5] * 5 + [0.5 + behind], run=0.02, photo=0.1)
        starts = [TrialLosses(9, {fold: trial.folds[fold] for fold in range(done)}) for done in range(1, folds + 1)]
        pruned += any(RULE.explain(start, complete) for start in starts)
    return pruned / 200


def test_trials_as_good_as_the_others_are_hardly_ever_pruned_on_any_of_their_folds() -> None:
    assert _share_pruned(0.0, folds=4) <= 0.05


def test_trials_that_are_clearly_behind_are_nearly_all_pruned_after_their_first_fold() -> None:
    # The luck of runs and photos on one fold is sqrt(2 (0.02² + 0.1² / 50)) = 0.035.
    assert _share_pruned(5 * 0.035, folds=1) >= 0.95


# ---- the traps of the stock pruners ---------------------------------------------------------------------------------


def _first_pruned(losses: Sequence[float], complete: Sequence[TrialLosses]) -> int | None:
    """How many folds a trial gets before the rule stops it; None when it does not."""
    for done in range(1, len(losses) + 1):
        if _pruned(dict(enumerate(losses[:done])), complete):
            return done
    return None


def test_an_easy_first_fold_protects_a_bad_trial_from_the_median_pruner_but_not_from_ours() -> None:
    easy_then_bad = [0.3, 1.5, 1.5, 1.5, 1.5]  # one lucky fold, then three times worse than the others
    stock = optuna.create_study(pruner=optuna.pruners.MedianPruner(n_startup_trials=5))
    for complete in SIX:
        losses = [float(complete.folds[fold].mean()) for fold in range(FOLDS)]
        means = np.cumsum(losses) / np.arange(1, FOLDS + 1)
        stock.add_trial(create_trial(value=float(means[-1]), intermediate_values=dict(enumerate(means.tolist()))))
    trial = stock.ask()
    for fold in range(FOLDS):
        trial.report(float(np.mean(easy_then_bad[: fold + 1])), step=fold)
        assert not trial.should_prune()
    assert _first_pruned(easy_then_bad, SIX) == 2


def test_the_wilcoxon_pruner_cannot_act_before_the_fourth_of_five_folds_and_ours_can() -> None:
    bad = [5.0] * FOLDS
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        stock = optuna.create_study(pruner=optuna.pruners.WilcoxonPruner(p_threshold=0.1, n_startup_steps=2))
    stock.add_trial(create_trial(value=0.5, intermediate_values=dict.fromkeys(range(FOLDS), 0.5)))
    trial = stock.ask()
    acted = []
    for fold, loss in enumerate(bad):
        trial.report(loss, step=fold)  # it wants the raw losses
        acted.append(trial.should_prune())
    assert acted.index(True) == 3
    assert _first_pruned(bad, SIX) == 1


# ---- a simulated search ---------------------------------------------------------------------------------------------


def _search(seed: int) -> tuple[float, float]:
    """50 trials of log-normal quality, a tenth of them diverged: share of folds trained, share of the top 5 kept."""
    random = np.random.default_rng(seed)
    quality = 0.4 * np.exp(np.abs(random.normal(0, 0.5, 50)))
    quality[random.random(50) < 0.1] = 4.0
    trained, complete = 0, []
    trials = _simulated(seed, quality.tolist(), run=0.01, photo=0.1, photos=20)
    for trial in trials:
        for done in range(1, FOLDS + 1):
            trained += 1
            start = TrialLosses(trial.number, {fold: trial.folds[fold] for fold in range(done)})
            if RULE.explain(start, complete):
                break
        else:
            complete.append(trial)
    top = sorted(trials, key=lambda trial: trial.mean)[:5]
    return trained / len(trials) / FOLDS, sum(trial in complete for trial in top) / 5


def test_in_a_simulated_search_the_best_five_survive_while_nearly_half_of_the_folds_are_saved() -> None:
    trained, kept = np.mean([_search(seed) for seed in range(12)], axis=0)
    assert kept >= 0.95
    assert trained <= 0.55
