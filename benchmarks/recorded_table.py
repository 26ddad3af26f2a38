"""The tables in `recorded/`: what `record_recipes.py` wrote, and how `replay.py` reads it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from automl_car.fold_records import Epoch
from automl_car.records import FloatArray, Recipe

DIVERGED_AFTER = 2  # epochs, when training itself gives up


@dataclass(frozen=True, eq=False)
class Table:
    """Recorded results of R recipes on K folds of N photos.

    Attributes:
        losses: float32 (R, N), after each fold's temperature; infinite where the recipe diverged.
        curves: float32 (R, K, E), calibrated, by epoch; NaN for heads.
        seconds: (R, K).
    """

    name: str
    recipes: tuple[Recipe, ...]
    folds: np.ndarray
    losses: FloatArray
    curves: FloatArray
    seconds: FloatArray

    @property
    def count(self) -> int:
        """K."""
        return int(self.folds.max()) + 1

    def fold_losses(self, recipe: int, fold: int) -> FloatArray:
        """Of the photos of one fold."""
        return self.losses[recipe, self.folds == fold]

    def epochs(self, recipe: int, fold: int) -> int:
        """What one fold costs, in epochs of fine-tuning; a head's epochs over cached features count as one together."""
        if self.recipes[recipe].tuning == "head":
            return 1
        finite = np.isfinite(self.fold_losses(recipe, fold)).all()
        return self.recipes[recipe].epochs if finite else DIVERGED_AFTER

    def curve(self, recipe: int, fold: int) -> tuple[Epoch, ...]:
        """Epochs of a fine-tuning's fold; none for a head."""
        total = self.recipes[recipe].epochs
        losses = self.curves[recipe, fold, :total]
        if self.recipes[recipe].tuning == "head" or np.isnan(losses).any():
            return ()
        return tuple(Epoch(n + 1, total, 0.0, float(loss), 0.0, float(loss)) for n, loss in enumerate(losses))


def read_table(path: Path) -> Table:
    """A table that `record_recipes.py` wrote."""
    with np.load(path) as arrays:
        recipes = tuple(Recipe.from_json(json.loads(str(text))) for text in arrays["recipes"])
        return Table(path.stem, recipes, *(arrays[name] for name in ("folds", "losses", "curves", "seconds")))
