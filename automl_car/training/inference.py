"""Logits of a trained network for photos: the mean over views of each, or over the first few of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from automl_car.catalog.records import Backbone
from automl_car.records import IntArray
from automl_car.training.photos import Pick
from automl_car.training.room import Room, fitting
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
    room: Room | None = None,
) -> NDArray[np.float32]:
    """Logits float32 (n, C) of `rows`, in their order: those of `predict_by_views` with all views."""
    predicted = predict_by_views(
        passes,
        pick,
        rows,
        backbone=backbone,
        image_size=image_size,
        batch_size=batch_size,
        views=views,
        counts=(len(views),),
        check=check,
        room=room,
    )
    return predicted[len(views)]


def predict_by_views(
    passes: Passes,
    pick: Pick,
    rows: Sequence[int] | IntArray,
    *,
    backbone: Backbone,
    image_size: int,
    batch_size: int,
    views: Sequence[View],
    counts: Sequence[int],
    check: Callable[[], None] = lambda: None,
    room: Room | None = None,
) -> dict[int, NDArray[np.float32]]:
    """Logits float32 (n, C) of `rows`, in their order, for each of several numbers of views; no pass is run twice.

    Args:
        passes: of a network from images (B, 3, S, S) to logits (B, C).
        pick: returns the photo of a row as uint8 (H, W, 3).
        views: of each photo, see `views.choose_views`.
        counts: for each of them, the logits of so many first views are averaged.
        check: called before each batch; what it raises ends the prediction.
        room: how many images fit into the memory; None begins without any knowledge of that.

    Raises:
        OutOfMemoryError: not even a sixteenth of a batch fits into the memory at a time.
    """
    was_training = passes.model.training
    passes.model.eval()
    fit = (room or Room()).fit("prediction", batch_size)
    parts: dict[int, list[Tensor]] = {count: [] for count in counts}
    done = 0

    def go_on(images: int) -> None:
        nonlocal done
        batches = view_batches(
            pick,
            rows[done:],
            views,
            backbone=backbone,
            image_size=image_size,
            batch_size=images,
            device=passes.device,
        )
        for batch in batches:
            check()
            logits = torch.stack([passes.forward(pictures) for pictures in batch.values()])
            means = [logits[:count].mean(0) for count in counts]
            for count, mean in zip(counts, means, strict=True):
                parts[count].append(mean)
            done += logits.shape[1]

    with torch.inference_mode():
        fitting(fit, go_on)
    passes.model.train(was_training)
    return {count: torch.cat(means).cpu().numpy() for count, means in parts.items()}
