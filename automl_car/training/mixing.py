"""Mirror images, mixup (Zhang et al., 2017, arXiv:1710.09412) and CutMix (Yun et al., 2019, arXiv:1905.04899)."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

# Contestants' best settings in the Hecto AI challenge: weak mixup, uniform cutmix.
MIXUP_ALPHA = 0.2
CUTMIX_ALPHA = 1.0


def mix(
    images: Tensor, targets: Tensor, *, mixup: float, cutmix: float, random: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Mix a batch with its own permutation by one of the two methods, or return it as it is.

    Args:
        images: float (B, 3, H, W).
        targets: float (B, C), rows sum to 1.
        mixup, cutmix: probability of each; the batch stays plain with what is left of 1.
        random: decides everything.

    Returns:
        Images and targets of the same shapes.
    """
    draw = random.random()
    if draw >= mixup + cutmix:
        return images, targets
    order = torch.from_numpy(random.permutation(len(images))).to(images.device)
    if draw < mixup:
        share = float(random.beta(MIXUP_ALPHA, MIXUP_ALPHA))
        mixed = images * share + images[order] * (1 - share)
    else:
        top, bottom, left, right = _box(images.shape[2], images.shape[3], random)
        mixed = images.clone()
        mixed[:, :, top:bottom, left:right] = images[order, :, top:bottom, left:right]
        share = 1 - (bottom - top) * (right - left) / (images.shape[2] * images.shape[3])
    return mixed, targets * share + targets[order] * (1 - share)


def mirror(pictures: Tensor, random: np.random.Generator) -> Tensor:
    """Mirror each picture with probability 1/2: (B, H, W, C) of any type, changed in place and returned.

    The order of a batch is random, so the first ones are as good as any, and are one block of memory.
    """
    count = int(random.binomial(len(pictures), 0.5))
    pictures[:count] = pictures[:count].flip(2)
    return pictures


def _box(height: int, width: int, random: np.random.Generator) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of a random box with a Beta-distributed area, cut off at the borders."""
    side = math.sqrt(1 - float(random.beta(CUTMIX_ALPHA, CUTMIX_ALPHA)))
    row, column = random.integers(height), random.integers(width)
    half_height, half_width = side * height / 2, side * width / 2
    top, bottom = max(0, round(row - half_height)), min(height, round(row + half_height))
    left, right = max(0, round(column - half_width)), min(width, round(column + half_width))
    return top, bottom, left, right
