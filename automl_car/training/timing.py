"""How long a network takes for a picture on this machine, and a photo to become one: what a time budget is made of."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from automl_car.catalog.params import own_values
from automl_car.catalog.records import Backbone
from automl_car.records import Recipe
from automl_car.training.ahead import for_each, side_by_side
from automl_car.training.checkpoint import from_safetensors
from automl_car.training.device import helper_threads, pick_device, prepare
from automl_car.training.folding import inference_passes
from automl_car.training.model import build_model
from automl_car.training.photos import evaluation_picture
from automl_car.training.squares import Square
from automl_car.training.views import cut

_BATCH = 32
_REPEATS = 5


def network_milliseconds(backbone: Backbone, recipe: Recipe, num_classes: int, weights: bytes | None) -> float:
    """Milliseconds for one of a batch of 32 pictures to go forward: the median of 5 passes.

    Args:
        recipe: with the size of the pictures.
        num_classes: C.
        weights: of a tuned network, as a safetensors file; None for those that the recipe begins with.
    """
    device = pick_device()
    prepare(device)
    if weights is None:
        model = build_model(backbone, recipe, num_classes)
    else:
        params = own_values(backbone.name, dict(recipe.params))
        model = backbone.build(num_classes, pretrained=False, **params)
        model.load_state_dict(from_safetensors(weights))
    size = recipe.image_size
    network = inference_passes(model, size, device)
    images = torch.rand(_BATCH, 3, size, size, device=device).contiguous(memory_format=torch.channels_last)

    def forward() -> None:
        network.forward(images).sum().item()  # waits for the device

    with torch.inference_mode():
        return _milliseconds(forward) / _BATCH


def square_milliseconds(square: Square, short_side: int) -> float:
    """Milliseconds to squeeze one of 32 photos of 4 : 3 in memory, on all threads that help: the median of 5 runs."""
    photo = np.random.default_rng(0).integers(0, 256, (short_side, short_side * 4 // 3, 3), np.uint8)

    def squeeze(number: int) -> None:
        evaluation_picture(cut(photo, square.side), square.image_size, square.interpolation)

    with side_by_side(helper_threads(pick_device())) as pool:
        return _milliseconds(lambda: for_each(pool, squeeze, _BATCH)) / _BATCH


def _milliseconds(work: Callable[[], None]) -> float:
    seconds = []
    work()  # the first run of its kind prepares what later ones use
    for _ in range(_REPEATS):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return 1000 * statistics.median(seconds)
