"""Stops a trial between folds when it cannot keep up with the k-th best complete trial on the same folds.

The ensemble wants k good members, not one champion, so a trial is compared with the k-th best one. Folds differ in
difficulty, so only losses on the same fold are compared. The stock pruners are wrong here: WilcoxonPruner compares
with the best trial alone and cannot act before the fourth of five folds; MedianPruner compares the best value over all
steps, so one easy first fold protects a bad trial for ever.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

FOLD_LOSSES = "fold_log_loss"  # user attribute: {fold: log loss}
SMALLEST_SPREAD = 0.005
# Two runs of one configuration differed by 4 % on a contest's leaderboard; less than that is luck.
RUN_NOISE = 0.04


class KthBestPruner(optuna.pruners.BasePruner):
    """Compares a trial with the k-th best complete one, fold by fold.

    With d the mean difference over the n folds that both have, the trial is pruned when d > z s / sqrt(n) + noise:
    s is the spread of such differences between complete trials, and noise the 4 % by which two runs of one
    recipe can differ.

    Args:
        folds: K. A trial is never pruned after its last fold.
        k: rank of the trial to keep up with.
        z: standard errors that a trial may be worse by.
        startup_trials: complete trials before any is pruned; at least k are needed in any case.
    """

    def __init__(self, *, folds: int, k: int = 5, z: float = 2.0, startup_trials: int = 5) -> None:
        self._folds = folds
        self._k = k
        self._z = z
        self._startup = max(k, startup_trials)

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether the trial stops here; `explain` says why."""
        return self.explain(study, trial) is not None

    def explain(self, study: optuna.Study, trial: FrozenTrial) -> str | None:
        """Why the trial is pruned, or None when it goes on."""
        losses = fold_losses(trial)
        if not losses:
            return None
        if not all(math.isfinite(loss) for loss in losses.values()):
            return "its log loss is not finite"
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len(losses) >= self._folds or len(complete) < self._startup:
            return None
        ranked = sorted(complete, key=lambda other: (other.value, other.number))
        rival = ranked[self._k - 1]
        difference, folds = _mean_difference(losses, fold_losses(rival))
        if folds == 0:
            return None
        spread = max(SMALLEST_SPREAD, paired_spread([fold_losses(other) for other in complete]))
        assert rival.value is not None
        allowed = self._z * spread / math.sqrt(folds) + RUN_NOISE * rival.value
        if difference <= allowed:
            return None
        return (
            f"after {folds} fold{'s' if folds > 1 else ''} it is {difference:.3f} worse than trial {rival.number}, "
            f"the {_ordinal(self._k)} best, on the same folds; {allowed:.3f} is allowed"
        )


def fold_losses(trial: FrozenTrial) -> dict[int, float]:
    """Log loss by fold number, as the driver stored it."""
    return {int(fold): float(loss) for fold, loss in trial.user_attrs.get(FOLD_LOSSES, {}).items()}


def _mean_difference(losses: Mapping[int, float], rival: Mapping[int, float]) -> tuple[float, int]:
    """Mean of loss - rival's loss over the folds of both, and how many folds those are."""
    shared = sorted(set(losses) & set(rival))
    if not shared:
        return 0.0, 0
    return sum(losses[fold] - rival[fold] for fold in shared) / len(shared), len(shared)


def paired_spread(trials: Sequence[Mapping[int, float]]) -> float:
    """Spread over folds of the difference between two trials, pooled over all pairs of trials.

    A trial's mean and a fold's difficulty drop out: what is left is how far the ranking of two trials changes from one
    fold to another.

    Example:
        >>> paired_spread([{0: 0.5, 1: 0.7}, {0: 0.6, 1: 0.8}])  # the same difference on both folds
        0.0
    """
    folds = sorted(set.intersection(*[set(trial) for trial in trials])) if trials else []
    if len(trials) < 2 or len(folds) < 2:
        return 0.0
    table = np.array([[trial[fold] for fold in folds] for trial in trials])  # (M, K)
    residual = table - table.mean(1, keepdims=True) - table.mean(0, keepdims=True) + table.mean()
    freedom = (len(trials) - 1) * (len(folds) - 1)
    # The difference of two trials has twice the variance of one residual.
    return round(math.sqrt(2 * float((residual**2).sum()) / freedom), 12)


def _ordinal(number: int) -> str:
    suffix = {1: "st", 2: "nd", 3: "rd"}.get(number % 10 if number % 100 not in (11, 12, 13) else 0, "th")
    return f"{number}{suffix}"
