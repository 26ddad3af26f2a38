"""Photos on their way into a network that judges them: made square, batched, normalised on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from automl_car.catalog.records import Backbone
from automl_car.records import IntArray
from automl_car.training.ahead import ahead, for_each, side_by_side

Picture = NDArray[np.uint8]
Pick = Callable[[int], Picture]


def evaluation_picture(image: Picture, image_size: int, interpolation: str) -> Picture:
    """The whole photo squeezed to a square, with antialiasing.

    A centre crop, as most ImageNet evaluations take, would cut off the front and rear of a car. The filter is Pillow's,
    as at pretraining, in torch's implementation, which is four times as fast and differs by 1 of 255 on photos.

    Args:
        image: uint8 (H, W, 3).
        image_size: pixels.
        interpolation: "bicubic" or "bilinear".

    Returns:
        uint8 (image_size, image_size, 3).
    """
    if image.shape[:2] == (image_size, image_size):
        return image
    pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)[None]  # the cache is read-only, and torch warns of that
    square = F.interpolate(pixels, (image_size, image_size), mode=interpolation, antialias=True, align_corners=False)
    return square[0].permute(1, 2, 0).numpy()


def evaluation_batches(
    pick: Pick,
    rows: Sequence[int] | IntArray,
    image_size: int,
    interpolation: str,
    batch_size: int,
    *,
    threads: int = 1,
) -> Iterator[Tensor]:
    """Batches uint8 (B, S, S, 3) of `rows` in their order, each made while the one before is used.

    Args:
        threads: that squeeze photos side by side.
    """
    with side_by_side(threads) as pool:

        def batch(start: int) -> Tensor:
            chosen = rows[start : start + batch_size]
            pictures = np.empty((len(chosen), image_size, image_size, 3), np.uint8)

            def fill(place: int) -> None:
                pictures[place] = evaluation_picture(pick(int(chosen[place])), image_size, interpolation)

            for_each(pool, fill, len(chosen))
            return torch.from_numpy(pictures)

        yield from ahead(map(batch, range(0, len(rows), batch_size)))


class Normaliser:
    """uint8 (B, S, S, 3) on the host to float32 (B, 3, S, S), channels last, on the device.

    The bytes travel, and a quarter of what floats would weigh.
    """

    def __init__(self, backbone: Backbone, device: torch.device) -> None:
        std = torch.tensor(backbone.std)
        self._scale = (1 / (255 * std)).view(1, 3, 1, 1).to(device)
        self._shift = (-torch.tensor(backbone.mean) / std).view(1, 3, 1, 1).to(device)
        self._device = device

    def __call__(self, batch: Tensor) -> Tensor:
        """Normalise one batch; the strides stay, so channels come last in memory."""
        images = batch.to(self._device, non_blocking=True).permute(0, 3, 1, 2)
        return torch.addcmul(self._shift, images.float(), self._scale)
