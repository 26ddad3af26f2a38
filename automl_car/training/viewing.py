"""Photos in, batches of each of their views out: normalised, on the device, made while the network is busy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

import torch
from torch import Tensor

from automl_car.catalog.records import Backbone
from automl_car.pulse import pulse
from automl_car.records import IntArray
from automl_car.training.device import helper_threads
from automl_car.training.photos import Normaliser, Pick, Picture, evaluation_batches
from automl_car.training.views import View, cut


def view_batches(
    pick: Pick,
    rows: Sequence[int] | IntArray,
    views: Sequence[View],
    *,
    backbone: Backbone,
    image_size: int,
    batch_size: int,
    device: torch.device,
) -> Iterator[Mapping[View, Tensor]]:
    """For each batch of rows, in their order, the images float32 (b, 3, S, S) of every view.

    Args:
        pick: returns the photo of a row as uint8 (H, W, 3).
        batch_size: b, photos.
    """
    normalise = Normaliser(backbone, device)
    sides = sorted({view.side for view in views}, reverse=True)
    pictures = evaluation_batches(
        _pick_cut(pick, rows, sides),
        range(len(rows) * len(sides)),
        image_size,
        backbone.interpolation,
        batch_size * len(sides),
        threads=helper_threads(device),
    )
    for batch in pictures:
        pulse()
        images = normalise(batch)
        cuts = {side: images[place :: len(sides)] for place, side in enumerate(sides)}
        yield {view: cuts[view.side].flip(3) if view.mirrored else cuts[view.side] for view in views}


def _pick_cut(pick: Pick, rows: Sequence[int] | IntArray, sides: Sequence[float]) -> Pick:
    """Pick the cuts of the first row's photo, then those of the second's, and so on.

    The last few photos are kept for their other cuts: the cache may have to decode them.
    """
    photo = lru_cache(maxsize=8)(pick)

    def pick_cut(number: int) -> Picture:
        place, side = divmod(number, len(sides))
        return cut(photo(int(rows[place])), sides[side])

    return pick_cut
