"""The pruner, against the traps of the stock ones and in a simulated search."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from automl_car.search.pruning import FOLD_LOSSES, KthBestPruner, paired_spread

FOLDS = 5
DIFFICULTY = np.array([0.00, 0.03, -0.02, 0.01, 0.04])  # of the folds; the same for all trials


def _complete(losses: Sequence[float] | dict[int, float]) -> FrozenTrial:
    by_fold = losses if isinstance(losses, dict) else dict(enumerate(losses))
    return create_trial(
        value=float(np.mean(list(by_fold.values()))),
        user_attrs={FOLD_LOSSES: {str(fold): loss for fold, loss in by_fold.items()}},
    )


def _study(level: float = 0.5, count: int = 6) -> optuna.Study:
    """`count` complete trials whose mean log loss rises from `level` by 0.01 each."""
    study = optuna.create_study()
    for number in range(count):
        study.add_trial(_complete((level + 0.01 * number + DIFFICULTY).tolist()))
    return study


def _running(losses: dict[int, float]) -> FrozenTrial:
    """A trial with finished folds, as the driver leaves it."""
    return create_trial(
        state=TrialState.RUNNING, user_attrs={FOLD_LOSSES: {str(fold): loss for fold, loss in losses.items()}}
    )


def _pruner(**changes: int) -> KthBestPruner:
    return KthBestPruner(folds=FOLDS, **{"k": 5, "startup_trials": 5, **changes})


# ---- when it prunes -------------------------------------------------------------------------------------------------


def test_a_trial_that_is_much_worse_is_pruned_after_its_first_fold() -> None:
    assert _pruner().prune(_study(), _running({0: 1.0}))


def test_a_trial_as_good_as_the_kth_best_goes_on() -> None:
    assert not _pruner().prune(_study(), _running({0: 0.54 + DIFFICULTY[0], 1: 0.54 + DIFFICULTY[1]}))


def test_the_trial_is_compared_with_the_kth_best_and_not_with_the_best() -> None:
    study = _study()
    for _ in range(2):
        study.add_trial(_complete((0.1 + DIFFICULTY).tolist()))
    losses = {0: 0.5, 1: 0.53}  # far behind the two best, but no worse than the fifth
    assert not _pruner().prune(study, _running(losses))
    assert _pruner(k=2, startup_trials=2).prune(study, _running(losses))


@pytest.mark.parametrize("number", range(5))
def test_before_k_trials_are_complete_none_is_pruned(number: int) -> None:
    assert not _pruner(startup_trials=1).prune(_study(count=number), _running({0: 50.0}))


def test_before_the_start_up_trials_are_complete_none_is_pruned() -> None:
    assert not _pruner(startup_trials=7).prune(_study(count=6), _running({0: 50.0}))
    assert _pruner(startup_trials=6).prune(_study(count=6), _running({0: 50.0}))


def test_pruned_and_failed_trials_do_not_count_as_start_up() -> None:
    study = _study(count=4)
    for state in (TrialState.PRUNED, TrialState.FAIL):
        study.add_trial(create_trial(state=state, user_attrs={FOLD_LOSSES: {"0": 0.5}}))
    assert not _pruner().prune(study, _running({0: 50.0}))


def test_after_its_last_fold_no_trial_is_pruned() -> None:
    assert not _pruner().prune(_study(), _running(dict.fromkeys(range(FOLDS), 50.0)))


@pytest.mark.parametrize("loss", [math.nan, math.inf])
@pytest.mark.parametrize("folds", [1, FOLDS])
def test_a_fold_that_is_not_a_number_ends_the_trial_at_once(loss: float, folds: int) -> None:
    losses = dict.fromkeys(range(folds), 0.5) | {folds - 1: loss}
    assert _pruner().explain(optuna.create_study(), _running(losses)) == "its log loss is not finite"


def test_a_trial_without_folds_is_not_judged() -> None:
    assert not _pruner().prune(_study(), _running({}))


def test_the_luck_of_a_run_is_allowed_for() -> None:
    # Trials that differ by the same amount on every fold leave no spread: what is left is 2 * 0.005 plus 4 %.
    rival = 0.54 + DIFFICULTY[0]
    value = 0.54 + DIFFICULTY.mean()
    allowed = 2 * 0.005 + 0.04 * value
    assert not _pruner().prune(_study(), _running({0: rival + allowed - 1e-6}))
    assert _pruner().prune(_study(), _running({0: rival + allowed + 1e-6}))


def test_the_reason_names_the_rival_and_the_numbers() -> None:
    reason = _pruner().explain(_study(), _running({0: 1.0, 1: 1.03}))
    # The fifth best is trial 4 at 0.54 and the trial is 0.46 worse on both folds; 0.01 / sqrt(2) + 0.04 * 0.552.
    assert reason == "after 2 folds it is 0.460 worse than trial 4, the 5th best, on the same folds; 0.029 is allowed"


# ---- folds are paired by their number -------------------------------------------------------------------------------


def test_a_hard_fold_is_compared_with_the_same_hard_fold() -> None:
    study = optuna.create_study()
    for number in range(5):
        study.add_trial(_complete([0.2 + number / 100, 0.2, 0.2, 0.2, 1.2]))
    assert not _pruner().prune(study, _running({4: 1.2}))
    assert _pruner().prune(study, _running({0: 1.2}))


def test_folds_that_the_rival_does_not_have_are_left_out() -> None:
    study = optuna.create_study()
    for _ in range(5):
        study.add_trial(_complete({0: 0.5, 1: 0.5}))
    assert not _pruner().prune(study, _running({3: 50.0}))
    assert _pruner().prune(study, _running({3: 0.5, 0: 50.0}))


def test_the_spread_is_that_of_the_difference_of_two_trials() -> None:
    # By hand: on three folds the differences are 0.1, 0.2 and 0.6, with a standard deviation of 0.2646.
    first, second = {0: 0.5, 1: 0.7, 2: 0.4}, {0: 0.6, 1: 0.9, 2: 1.0}
    assert paired_spread([first, second]) == pytest.approx(np.std([0.1, 0.2, 0.6], ddof=1))


@pytest.mark.parametrize("trials", [[], [{0: 0.5, 1: 0.6}], [{0: 0.5}, {0: 0.6}], [{0: 0.5}, {1: 0.6}]])
def test_without_two_trials_on_two_folds_there_is_no_spread(trials: list[dict[int, float]]) -> None:
    assert paired_spread(trials) == 0.0


# ---- the traps of the stock pruners ---------------------------------------------------------------------------------


def _report_folds(study: optuna.Study, losses: Sequence[float]) -> tuple[optuna.Trial, int | None]:
    """Report as the driver does; the trial, and the fold after which its study's pruner stops it."""
    trial = study.ask()
    for fold, _ in enumerate(losses):
        trial.set_user_attr(FOLD_LOSSES, {str(done): loss for done, loss in enumerate(losses[: fold + 1])})
        trial.report(float(np.mean(losses[: fold + 1])), step=fold)
        if trial.should_prune():
            return trial, fold
    return trial, None


EASY_THEN_BAD = [0.3, 1.5, 1.5, 1.5, 1.5]  # one lucky fold, then three times worse than the others


def _with_pruner(pruner: optuna.pruners.BasePruner) -> optuna.Study:
    study = optuna.create_study(pruner=pruner)
    for number in range(6):
        losses = 0.5 + 0.001 * number + DIFFICULTY
        means = np.cumsum(losses) / np.arange(1, FOLDS + 1)
        study.add_trial(
            create_trial(
                value=float(means[-1]),
                intermediate_values={fold: float(mean) for fold, mean in enumerate(means)},
                user_attrs={FOLD_LOSSES: {str(fold): float(loss) for fold, loss in enumerate(losses)}},
            )
        )
    return study


def test_an_easy_first_fold_protects_a_bad_trial_from_the_median_pruner_but_not_from_ours() -> None:
    stock = _with_pruner(optuna.pruners.MedianPruner(n_startup_trials=5))
    assert _report_folds(stock, EASY_THEN_BAD)[1] is None
    assert _report_folds(_with_pruner(_pruner()), EASY_THEN_BAD)[1] == 1


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
    assert _report_folds(_with_pruner(_pruner()), bad)[1] == 0


def test_a_step_that_is_reported_twice_does_not_mislead_it() -> None:
    study = _with_pruner(_pruner())
    trial = study.ask()
    trial.report(0.5, step=0)
    with pytest.warns(UserWarning, match="already reported"):
        trial.report(9.0, step=0)  # Optuna keeps the first value
    trial.set_user_attr(FOLD_LOSSES, {"0": 9.0})
    assert trial.should_prune()


# ---- a simulated search ---------------------------------------------------------------------------------------------


def _simulate(seed: int) -> tuple[float, float]:
    """50 trials of log-normal quality, a tenth of them diverged: share of folds trained, share of the top 5 kept."""
    random = np.random.default_rng(seed)
    quality = 0.4 * np.exp(np.abs(random.normal(0, 0.5, 50)))
    quality[random.random(50) < 0.1] = 4.0
    losses = quality[:, None] + random.normal(0, 0.02, FOLDS) + random.normal(0, 0.01, (50, FOLDS))
    study = optuna.create_study(pruner=_pruner())
    trained, complete = 0, set()
    for number, folds in enumerate(losses.tolist()):
        trial, stopped = _report_folds(study, folds)
        trained += FOLDS if stopped is None else stopped + 1
        if stopped is None:
            complete.add(number)
            study.tell(trial, float(np.mean(folds)))
        else:
            study.tell(trial, state=TrialState.PRUNED)
    top = set(np.argsort(losses.mean(1))[:5].tolist())
    return trained / losses.size, len(top & complete) / 5


def test_in_a_simulated_search_the_best_five_survive_while_a_good_part_of_the_folds_is_saved() -> None:
    trained, kept = np.mean([_simulate(seed) for seed in range(12)], axis=0)
    assert kept >= 0.95
    assert trained <= 0.60
