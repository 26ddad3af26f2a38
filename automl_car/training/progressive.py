"""Smaller images at the start of training, as in EfficientNetV2 (Tan & Le, 2021, arXiv:2104.00298).

A pass costs as much as the image has pixels, and what is learned first needs few of them.
"""

from __future__ import annotations

import math

_MULTIPLE = 32  # networks halve the side five times
_FULL_SHARE = 0.3  # of the epochs, at the end, at the full size: the size at which the network will be used


def image_sides(image_size: int, epochs: int, start: float) -> tuple[int, ...]:
    """The side in pixels of the training images of each epoch, growing in equal steps and never above `image_size`.

    Args:
        image_size: of the last epochs, and of validation throughout.
        epochs: of the schedule.
        start: share of `image_size` in the first epoch; 1 trains at the full size throughout.

    Example:
        >>> image_sides(224, 10, 0.5)
        (128, 128, 160, 160, 192, 192, 224, 224, 224, 224)
    """
    growing = epochs - math.ceil(_FULL_SHARE * epochs)
    shares = [start + (1 - start) * epoch / growing for epoch in range(growing)] + [1.0] * (epochs - growing)
    return tuple(_side(image_size, share) for share in shares)


def _side(image_size: int, share: float) -> int:
    multiples = math.ceil(share * image_size / _MULTIPLE - 1e-9)  # 0.5 * 128 / 32 may come out a hair above 2
    return min(image_size, max(1, multiples) * _MULTIPLE)
