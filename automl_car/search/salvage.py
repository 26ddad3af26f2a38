"""Makes trials of finished folds alone, for a study of which neither the database nor the ledger is left.

A recipe with all folds becomes a complete trial. One with some of them is enqueued: whether it was stopped or pruned
nobody knows any more, and its folds are not trained again. What is lost is what left no fold: failures, and when what
was tried.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from automl_car.errors import StoreError
from automl_car.fold_records import FoldResult
from automl_car.records import Folds, Recipe
from automl_car.search.carrying import carry
from automl_car.search.space import Space
from automl_car.search.study import OVERRIDES
from automl_car.search.trial import fold_attributes, fold_order, recipe_attributes
from automl_car.store import read_recipe, read_result

# What `finale.py` settles of a fine-tuning on a machine that searches heads alone.
_SETTLED = ("tuning", "image_size", "epochs", "mixup", "cutmix", "label_smoothing", "patience")


def trials_of_folds(directory: Path, folds: Folds, space: Space) -> list[FrozenTrial]:
    """Complete trials in the order in which they were finished, then those that wait.

    Args:
        directory: checkpoints/<study>; folders of other data than `folds`, and damaged folds, are passed over.
        space: what the search may choose from.
    """
    recipes = [folder for folder in directory.iterdir() if folder.is_dir()] if directory.is_dir() else []
    dated = [(_last_write(folder), folder) for folder in sorted(recipes)]
    found = [trial for _, folder in sorted(dated) if (trial := _trial(folder, folds, space)) is not None]
    complete = [trial for trial in found if trial.state == TrialState.COMPLETE]
    others = [trial for trial in found if trial.state != TrialState.COMPLETE]
    for number, trial in enumerate((*complete, *others)):
        trial.number = number
    return [*complete, *others]


def _trial(folder: Path, folds: Folds, space: Space) -> FrozenTrial | None:
    recipe, results = _finished(folder, folds.count)
    if recipe is None or recipe.id(folds) != folder.name:
        return None
    order = [fold for fold in fold_order(folder.name, folds.count) if fold in results]
    losses = [results[fold].log_loss for fold in order]
    complete = len(results) == folds.count
    when = datetime.fromtimestamp(_last_write(folder))
    trial = FrozenTrial(
        number=0,
        state=TrialState.COMPLETE if complete else TrialState.WAITING,
        value=statistics.fmean(losses) if complete else None,
        datetime_start=when,
        datetime_complete=when if complete else None,
        params={},
        distributions={},
        user_attrs=_attributes(recipe, folder.name, {fold: results[fold] for fold in order}, space),
        system_attrs={},
        intermediate_values={step: statistics.fmean(losses[: step + 1]) for step in range(len(losses))},
        trial_id=-1,
    )
    carried = carry(trial, {}, space, when)
    if carried.state == TrialState.WAITING:  # it is asked as if for the first time
        carried.user_attrs = {OVERRIDES: carried.user_attrs.get(OVERRIDES, {})}
        carried.intermediate_values, carried.datetime_start = {}, None
    return carried


def _finished(folder: Path, count: int) -> tuple[Recipe | None, dict[int, FoldResult]]:
    """The recipe of a folder, and its whole folds."""
    recipe, results = None, {}
    for fold in range(count):
        place = folder / f"fold-{fold}"
        try:
            result = read_result(place)
        except StoreError:  # the search will set it aside when it gets there
            continue
        if result is not None:
            results[fold], recipe = result, read_recipe(place)
    return recipe, results


def _attributes(recipe: Recipe, recipe_id: str, results: Mapping[int, FoldResult], space: Space) -> dict[str, Any]:
    losses = {fold: result.log_loss for fold, result in results.items()}
    attributes = {**recipe_attributes(recipe, recipe_id), **fold_attributes(losses, list(results.values()))}
    if recipe.tuning in space.tunings:
        return attributes
    return {**attributes, OVERRIDES: {name: getattr(recipe, name) for name in _SETTLED}}


def _last_write(folder: Path) -> float:
    """Unix time at which the last fold was finished."""
    return max((record.stat().st_mtime for record in folder.glob("fold-*/record.json")), default=0.0)
