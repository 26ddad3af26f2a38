"""Measured speeds in, seconds out: what a fold, a trial and a whole search cost. Arithmetic alone."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from automl_car.fold_records import Speed
from automl_car.records import Recipe
from automl_car.training.progressive import image_sides

_MIRRORED = 2  # after each epoch, every validation photo and its mirror image are judged


@dataclass(frozen=True)
class Counts:
    """How many photos there are to train on and judge (N), to predict (T), and how many folds (K)."""

    photos: int
    test_photos: int
    folds: int


def fold_seconds(recipe: Recipe, speed: Speed, counts: Counts) -> float:
    """Seconds of one fold of fine-tuning, without early stopping."""
    return recipe.epochs * epoch_seconds(recipe, speed, counts) + _final_seconds(recipe, speed, counts)


def epoch_seconds(recipe: Recipe, speed: Speed, counts: Counts) -> float:
    """Mean seconds of an epoch of one fold: training on K - 1 parts, validation on the last."""
    sides = image_sides(recipe.image_size, recipe.epochs, recipe.progressive)
    pixels = statistics.fmean((side / recipe.image_size) ** 2 for side in sides)
    training = counts.photos * (counts.folds - 1) / counts.folds * pixels / speed.training
    judged = _MIRRORED if recipe.flip else 1
    return training + judged * counts.photos / counts.folds / speed.validation


def head_epoch_seconds(speed: Speed, counts: Counts) -> float:
    """Seconds of an epoch of one fold of a head on frozen features."""
    return counts.photos * (counts.folds - 1) / counts.folds / speed.training


def epochs_within(seconds: float, recipe: Recipe, speed: Speed, counts: Counts, *, folds: int) -> int:
    """Epochs for which the time suffices in so many folds together, with the final predictions."""
    left = seconds - folds * _final_seconds(recipe, speed, counts)
    return max(0, int(left / (folds * epoch_seconds(recipe, speed, counts))))


def features_seconds(views: int, speed: Speed, counts: Counts) -> float:
    """Seconds of computing `views` views of every photo with a frozen backbone: once per backbone and size."""
    return views * (counts.photos + counts.test_photos) / speed.validation


def at_size(speed: Speed, measured: int, side: int) -> Speed:
    """The speed at another image size: passes cost what their pixels cost."""
    factor = (measured / side) ** 2
    return Speed(speed.training * factor, speed.validation * factor, int(speed.peak_memory_bytes / factor))


def folds_trained(trials: int, folds: int, startup_trials: int, share: float) -> float:
    """Folds that a search with pruning trains: all of the first trials, and a share of those of the others.

    Args:
        share: 1 / folds when every later trial stops after its first fold.
    """
    first = min(trials, startup_trials)
    return folds * (first + (trials - first) * share)


def _final_seconds(recipe: Recipe, speed: Speed, counts: Counts) -> float:
    """Of the kept network's predictions for the fold's validation and all test photos, in all views."""
    return recipe.views * (counts.photos / counts.folds + counts.test_photos) / speed.validation
