"""Logits of a trained network for photos: the mean over views of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from automl_car.catalog.records import Backbone
from automl_car.records import IntArray
from automl_car.training.photos import Pick
from automl_car.training.step import Passes
from automl_car.training.viewing import view_batches
from automl_car.training.views import View


def predict_logits(
    passes: Passes,
    pick: Pick,
    rows: Sequence[int] | IntArray,
    *,
    backbone: Backbone,
    image_size: int,
    batch_size: int,
    views: Sequence[View],
    check: Callable[[], None] = lambda: None,
) -> NDArray[np.float32]:
    """Logits float32 (n, C) of `rows`, in their order.

    Args:
        passes: of a network from images (B, 3, S, S) to logits (B, C).
        pick: returns the photo of a row as uint8 (H, W, 3).
        views: of each photo, see `views.choose_views`; their logits are averaged.
        check: called before each batch; what it raises ends the prediction.
    """
    was_training = passes.model.training
    passes.model.eval()
    batches = view_batches(
        pick, rows, views, backbone=backbone, image_size=image_size, batch_size=batch_size, device=passes.device
    )
    parts = []
    with torch.inference_mode():
        for batch in batches:
            check()
            parts.append(torch.stack([passes.forward(images) for images in batch.values()]).mean(0))
    passes.model.train(was_training)
    return torch.cat(parts).cpu().numpy()
