"""Logits of a trained network for photos: the mean over the photo and, if asked for, its mirror image."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from automl_car.catalog.records import Backbone
from automl_car.records import IntArray
from automl_car.training.device import helper_threads
from automl_car.training.photos import Normaliser, Pick, evaluation_batches
from automl_car.training.step import Passes


def predict_logits(
    passes: Passes,
    pick: Pick,
    rows: Sequence[int] | IntArray,
    *,
    backbone: Backbone,
    image_size: int,
    batch_size: int,
    flip: bool,
    check: Callable[[], None] = lambda: None,
) -> NDArray[np.float32]:
    """Logits float32 (n, C) of `rows`, in their order.

    Args:
        passes: of a network from images (B, 3, S, S) to logits (B, C).
        pick: returns the photo of a row as uint8 (H, W, 3).
        check: called before each batch; what it raises ends the prediction.
    """
    was_training = passes.model.training
    passes.model.eval()
    normalise = Normaliser(backbone, passes.device)
    threads = helper_threads(passes.device)
    parts = []
    with torch.inference_mode():
        batches = evaluation_batches(pick, rows, image_size, backbone.interpolation, batch_size, threads=threads)
        for batch in batches:
            check()
            images = normalise(batch)
            logits = passes.forward(images)
            if flip:
                logits = (logits + passes.forward(images.flip(3))) / 2
            parts.append(logits)
    passes.model.train(was_training)
    return torch.cat(parts).cpu().numpy()
