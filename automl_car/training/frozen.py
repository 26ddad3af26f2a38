"""The frozen backbone of a recipe, as it was when its features were computed, in a form that can be taken elsewhere."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch

from automl_car.catalog.records import Backbone
from automl_car.errors import WeightsError
from automl_car.records import Recipe
from automl_car.training.checkpoint import to_safetensors
from automl_car.training.model import build_model, feature_extractor


def frozen_weights(backbone: Backbone, recipe: Recipe, num_classes: int) -> bytes:
    """All tensors of the network but those of its last layer, as a safetensors file.

    Raises:
        WeightsError: the weights cannot be had any more, or their file is another one than the recipe was trained with.
    """
    _refuse_other_file(recipe)
    torch.manual_seed(recipe.seed)  # as in `features`: weights that are random are so from this seed
    model = build_model(backbone, recipe, num_classes)
    return to_safetensors(feature_extractor(model, num_classes).state_dict())


def _refuse_other_file(recipe: Recipe) -> None:
    if not recipe.weights_digest:
        return
    try:
        with Path(recipe.weights).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"The weights file `{recipe.weights}` cannot be read: {error.strerror}.") from error
    if digest != recipe.weights_digest:
        raise WeightsError(
            f"The weights file `{recipe.weights}` has changed since `{recipe.backbone}` was trained with it.",
            hint="put the old file back; the trials were trained on its features.",
        )
