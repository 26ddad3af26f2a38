"""Logits of a trained network for photos: the mean over the photo and, if asked for, its mirror image."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from automl_car.catalog.records import Backbone
from automl_car.records import IntArray
from automl_car.training.device import autocast
from automl_car.training.photos import Pick, evaluation_batches, normalise


def predict_logits(
    model: nn.Module,
    pick: Pick,
    rows: Sequence[int] | IntArray,
    *,
    backbone: Backbone,
    image_size: int,
    batch_size: int,
    flip: bool,
    device: torch.device,
    check: Callable[[], None] = lambda: None,
) -> NDArray[np.float32]:
    """Logits float32 (n, C) of `rows`, in their order.

    Args:
        model: images (B, 3, S, S) to logits (B, C).
        pick: returns the photo of a row as uint8 (H, W, 3).
        check: called before each batch; what it raises ends the prediction.
    """
    was_training = model.training
    model.eval()
    parts = []
    with torch.inference_mode(), autocast(device):
        for batch in evaluation_batches(pick, rows, image_size, backbone.interpolation, batch_size):
            check()
            images = normalise(batch, backbone.mean, backbone.std, device)
            logits = model(images).float()
            if flip:
                logits = (logits + model(images.flip(3)).float()) / 2
            parts.append(logits.cpu().numpy())
    model.train(was_training)
    return np.concatenate(parts)
