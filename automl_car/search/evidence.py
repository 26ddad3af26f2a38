"""What finished folds left behind, as the driver needs it: per-photo losses, and the difficulty of folds."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from optuna.trial import FrozenTrial

from automl_car.fold_records import Epoch, FoldResult
from automl_car.losses import row_losses
from automl_car.records import FloatArray, IntArray
from automl_car.search.pruning import TrialLosses
from automl_car.store import read_oof, read_result

FOLD_LOSSES = "fold_log_loss"  # user attribute: {fold: log loss}


class FoldStore:
    """Reads finished folds of one study, each once.

    Args:
        directory: checkpoints/<study>.
        labels: class index of each training row.
    """

    def __init__(self, directory: Path, labels: IntArray) -> None:
        self._directory = directory
        self._labels = labels
        self._losses: dict[tuple[str, int], FloatArray] = {}
        self._trials: dict[tuple[int | str, ...], TrialLosses] = {}
        self._results: dict[tuple[str, int], FoldResult | None] = {}

    def losses(self, number: int, recipe_id: str, folds: Sequence[int]) -> TrialLosses:
        """Per-photo losses of some finished folds, each after its temperature.

        Raises:
            StoreError: a fold is missing or damaged.
        """
        key: tuple[int | str, ...] = (number, recipe_id, *folds)
        if key not in self._trials:
            self._trials[key] = TrialLosses(number, {fold: self._fold(recipe_id, fold) for fold in folds})
        return self._trials[key]

    def curve(self, recipe_id: str, fold: int) -> tuple[Epoch, ...]:
        """The epochs of a finished fold; none when it is not there."""
        result = self._result(recipe_id, fold)
        return result.curve if result else ()

    def forget_all_but(self, recipe_ids: set[str]) -> None:
        """Give back the memory of what is no longer compared with."""
        self._losses = {key: losses for key, losses in self._losses.items() if key[0] in recipe_ids}
        self._trials = {key: trial for key, trial in self._trials.items() if key[1] in recipe_ids}

    def _fold(self, recipe_id: str, fold: int) -> FloatArray:
        key = (recipe_id, fold)
        if key not in self._losses:
            result, rows, logits = read_oof(self._directory / recipe_id / f"fold-{fold}")
            self._results[key] = result
            losses = row_losses(logits, self._labels[rows], temperature=result.temperature)
            self._losses[key] = losses.astype(np.float32)
        return self._losses[key]

    def _result(self, recipe_id: str, fold: int) -> FoldResult | None:
        key = (recipe_id, fold)
        if self._results.get(key) is None:
            # The weights, which are most of a fold's bytes, are of no interest here.
            self._results[key] = read_result(self._directory / recipe_id / f"fold-{fold}", check_files=False)
        return self._results[key]


def fold_losses(trial: FrozenTrial) -> dict[int, float]:
    """Log loss by fold number, as the driver stored it."""
    return {int(fold): float(loss) for fold, loss in trial.user_attrs.get(FOLD_LOSSES, {}).items()}


def expected_mean(done: Mapping[int, float], complete: Sequence[Mapping[int, float]]) -> float:
    """What the mean over all folds is likely to be, as some folds are harder than others.

    Trials begin with different folds, so their running means alone could not be compared.

    Args:
        done: log loss by fold that is done.
        complete: log losses by fold of trials that have all of them.

    Returns:
        The mean of `done`, less how much harder those folds were than all were, in the mean over complete trials. With
        all folds done it is their mean.
    """
    return statistics.fmean(done.values()) - how_much_harder(done, complete)


def how_much_harder(folds: Collection[int], complete: Sequence[Mapping[int, float]]) -> float:
    """The log loss of these folds less that of all folds, in the mean over complete trials; 0 without any."""
    if not complete:
        return 0.0
    of_these = statistics.fmean(trial[fold] for trial in complete for fold in folds)
    return of_these - statistics.fmean(loss for trial in complete for loss in trial.values())
