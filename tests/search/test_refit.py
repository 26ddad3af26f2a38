"""How long a refit trains."""

from __future__ import annotations

from pathlib import Path

import pytest

from automl_car.fold_records import NO_FOLD, Epoch, FoldResult, FoldTask
from automl_car.records import Recipe
from automl_car.search.refit import kept_epoch, refit_recipe, refit_task

FULL = Recipe("toy", epochs=30, patience=5)


def _curve(losses: list[float], first: int = 1, *, calibrated: bool = True) -> tuple[Epoch, ...]:
    return tuple(
        Epoch(number, 30, 1.0, 9.0 - loss if calibrated else loss, 1.0, loss if calibrated else None)
        for number, loss in enumerate(losses, first)
    )


def _fold(kept: int) -> FoldResult:
    """Of a fold that kept this epoch of 30, and stopped two later."""
    losses = [1.0 - 0.01 * number for number in range(1, kept + 1)] + [1.0, 1.0]
    return FoldResult("abc", 0, "finished", 0.5, 0.5, 1.0, _curve(losses), 1.0)


def test_a_fold_with_patience_kept_its_best_epoch_after_calibration() -> None:
    assert kept_epoch(_curve([0.9, 0.5, 0.4, 0.6, 0.7]), FULL) == 3


def test_of_equal_epochs_it_kept_the_first() -> None:
    assert kept_epoch(_curve([0.9, 0.4, 0.4]), FULL) == 2


def test_a_head_is_judged_by_its_log_loss_and_may_have_kept_the_discriminant() -> None:
    head = Recipe("toy", tuning="head", patience=2)
    assert kept_epoch(_curve([0.4, 0.5, 0.6], first=0, calibrated=False), head) == 0


def test_a_fold_without_patience_kept_its_last_epoch() -> None:
    assert kept_epoch(_curve([0.9, 0.4, 0.6]), Recipe("toy", patience=0)) == 3


@pytest.mark.parametrize(("kept", "expected"), [([10], 10), ([10, 21, 12], 12), ([10, 14], 12)])
def test_a_refit_trains_as_long_as_the_median_fold_and_stops_for_nothing(kept: list[int], expected: int) -> None:
    recipe = refit_recipe(FULL, [_fold(epoch) for epoch in kept])
    assert (recipe.epochs, recipe.patience) == (expected, 0)


def test_only_a_head_can_do_without_an_epoch() -> None:
    head = Recipe("toy", tuning="head", patience=2)
    result = FoldResult("abc", 0, "finished", 0.5, 0.5, 1.0, _curve([0.4, 0.5], 0, calibrated=False), 1.0)
    assert refit_recipe(head, [result]).epochs == 0
    assert refit_recipe(FULL, [result]).epochs == 1


def test_a_refit_leaves_out_the_fold_that_plays_the_test_set_and_no_other() -> None:
    task = refit_task(FoldTask(FULL, "abc", 2, Path("main"), Path("cache"), test_fold=0), [_fold(7)])
    assert (task.fold, task.test_fold, task.recipe_id) == (NO_FOLD, 0, "abc")
    assert task.recipe.epochs == 7
