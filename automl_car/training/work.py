"""What the two ways of tuning work with, and what both of them leave."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from automl_car.catalog.manager import Catalog
from automl_car.catalog.records import Backbone
from automl_car.data.prepare import Prepared
from automl_car.fold_records import Epoch, FoldTask, Progress
from automl_car.joint import part_recipes
from automl_car.records import IntArray, Recipe
from automl_car.training.checkpoint import versions
from automl_car.training.clock import Clock
from automl_car.training.features import Features, frozen_features
from automl_car.training.photos import Pick
from automl_car.training.resume import Checkpoints
from automl_car.training.side_by_side import side_by_side
from automl_car.training.views import choose_views

Report = Callable[[Epoch | Progress], None]


@dataclass(frozen=True, eq=False)
class Work:
    """One fold to train, and everything that is needed for it.

    Attributes:
        task: what to train.
        catalog: where the backbone and the augmentation are looked up.
        prepared: photos, labels and folds.
        device: to train on.
        clock: of the whole fold.
        report: called with each epoch, and with the progress of computing features.
    """

    task: FoldTask
    catalog: Catalog
    prepared: Prepared
    device: torch.device
    clock: Clock
    report: Report

    @property
    def backbone(self) -> Backbone:
        """The recipe's; a head may have several, see `features`."""
        return self.catalog.backbone(self.task.recipe.backbone)

    @property
    def training(self) -> IntArray:
        """Rows to train on, ascending."""
        left_out = [fold for fold in (self.task.fold, self.task.test_fold) if fold is not None]
        return self.prepared.folds.training_rows(*left_out)

    @property
    def validation(self) -> IntArray:
        """Rows to judge by, ascending; none for a refit."""
        return self.prepared.folds.validation_rows(self.task.fold)

    @property
    def test(self) -> IntArray:
        """Rows to predict in the end: of the test set, or training rows of the fold that plays it."""
        if self.task.test_fold is not None:
            return self.prepared.folds.validation_rows(self.task.test_fold)
        return np.arange(len(self.prepared.dataset.test_paths))

    @property
    def test_image(self) -> Pick:
        """Returns the photo of a row of `test`."""
        return self.prepared.test_image if self.task.test_fold is None else self.prepared.train_image

    def fill_test(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits (T, C) of `test` with an answer for broken photos; among training photos there are none."""
        return self.prepared.fill_test(logits) if self.task.test_fold is None else logits

    @property
    def num_classes(self) -> int:
        """C."""
        return self.prepared.dataset.num_classes

    def features(self, views: int) -> Features:
        """Features of the first `views` views of all photos, computed if they are not in the cache.

        Those of several backbones stand side by side.
        """
        parts = self.catalog.parts(self.task.recipe.backbone)
        recipes = part_recipes(self.task.recipe, parts)
        return side_by_side([self._features(*part, views) for part in zip(parts, recipes, strict=True)])

    def _features(self, backbone: Backbone, recipe: Recipe, views: int) -> Features:
        clock = self.clock.start()

        def progress(done: int, total: int) -> None:
            clock.check(done / total)
            self.report(Progress(f"features of {backbone.name} at {recipe.image_size} px", done, total))

        def waiting() -> None:
            nonlocal clock
            clock = self.clock.start()  # what this process has to do begins after that
            clock.check(0.0)

        chosen = choose_views(views, flip=recipe.flip)
        return frozen_features(backbone, recipe, chosen, self.prepared, self.task.cache, self.device, progress, waiting)

    @property
    def checkpoints(self) -> Checkpoints:
        """Of this very fold: of its recipe, its photos, and the packages that train it."""
        task = self.task
        what = {
            "recipe": task.recipe.to_json(),
            "recipe_id": task.recipe_id,
            "fold": [task.fold, task.test_fold],
            "photos": self.prepared.photos_key,
            "folds": self.prepared.folds.fingerprint,
            "versions": versions(),
        }
        return Checkpoints(task.fold_directory, what, task.checkpoint_seconds)

    def no_logits(self) -> NDArray[np.float32]:
        """(0, C): what a test set without photos gets, or a refit for validation."""
        return np.zeros((0, self.num_classes), np.float32)


@dataclass(frozen=True, eq=False)
class Predicted:
    """What the kept model says.

    Attributes:
        validation: float32 (n, C): logits of the validation rows.
        test: float32 (T, C): logits of the test rows.
    """

    validation: NDArray[np.float32]
    test: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Trained:
    """What either kind of tuning leaves.

    Attributes:
        by_views: what it says to so many views of each photo, for all of `views.view_counts`.
        model: weights by name.
        images_per_second: of training; 0 for heads.
        step: how the passes were computed; empty for heads.
        seconds_before: that earlier runs of the fold took, where it went on from a checkpoint.
        mended: what went wrong on the way and was mended, in words; empty where nothing did.
    """

    by_views: Mapping[int, Predicted]
    model: dict[str, Tensor]
    images_per_second: float = 0.0
    step: dict[str, Any] = field(default_factory=dict)
    seconds_before: float = 0.0
    mended: str = ""
