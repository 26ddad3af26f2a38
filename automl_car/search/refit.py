"""What there is to train for a refit: a recipe once on all photos, and what tells whether that pays.

A refit has no photos to be judged by, so its schedule is as long as the folds found best, and its last epoch is kept.
Whether it predicts better than the mean over the fold models is found out where one fold plays the test set: the
others are cross-validated without it, and a refit is trained on all of them. That is the real procedure with one fold
less, and so a little kind to the refit: with five folds it has 4/3 of a fold model's photos there, and 5/4 in the end.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import replace

from automl_car.fold_records import NO_FOLD, Epoch, FoldResult, FoldTask
from automl_car.records import Recipe


def refit_task(task: FoldTask, folds: Iterable[FoldResult]) -> FoldTask:
    """The task of training on all rows that `task` and its like cross-validate.

    Args:
        task: of any of those folds.
        folds: what they came to.
    """
    return replace(task, recipe=refit_recipe(task.recipe, folds), fold=NO_FOLD)


def refit_recipe(recipe: Recipe, folds: Iterable[FoldResult]) -> Recipe:
    """The recipe with as many epochs as the median fold kept, and no early stop."""
    kept = [kept_epoch(result.curve, recipe) for result in folds]
    fewest = 0 if recipe.tuning == "head" else 1  # epoch 0 of a head is the discriminant
    return replace(recipe, epochs=max(fewest, round(statistics.median(kept))), patience=0)


def kept_epoch(curve: Iterable[Epoch], recipe: Recipe) -> int:
    """The number of the epoch whose weights a fold kept; see `Recipe.patience`."""
    epochs = list(curve)
    if not recipe.patience:
        return epochs[-1].number
    return min(epochs, key=lambda epoch: epoch.judged).number  # of equal ones the first, as in training
