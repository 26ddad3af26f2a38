"""What an augmentation makes of a few photos, by the road that training takes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from automl_car.catalog.params import default_values
from automl_car.catalog.records import Augmentation
from automl_car.errors import PluginError
from automl_car.training.augment import augment, build_transform, sample_seed

Picture = NDArray[np.uint8]


def augmented(
    augmentation: Augmentation, photos: Sequence[Picture], *, side: int, count: int
) -> tuple[tuple[Picture, ...], ...]:
    """For each photo, the pictures of the first `count` epochs of a training with seed 0.

    Args:
        augmentation: with its parameters at their defaults.
        photos: uint8 (H, W, 3).
        side: of the pictures in pixels.

    Raises:
        PluginError: the augmentation raises.
    """
    try:
        transform = build_transform(augmentation, side, default_values(augmentation.params))
        return tuple(
            tuple(augment(transform, photo, seed=sample_seed(0, epoch, row)) for epoch in range(count))
            for row, photo in enumerate(photos)
        )
    except Exception as error:
        raise PluginError(
            f"`{augmentation.name}` raised {type(error).__name__}: {error}",
            hint="`automl-car plugins check` tells which rule its plugin breaks.",
        ) from error
