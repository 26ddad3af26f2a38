"""Random pictures that depend on a seed alone: the same for any number of workers, others in every epoch.

albumentations 2.0.8 keeps a random state per process, which repeats the same augmentation in every epoch when
DataLoader workers are started anew. Seeding each sample makes that state irrelevant.
"""

from __future__ import annotations

import hashlib
import os
import random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from automl_car.catalog.params import ParamValue
from automl_car.catalog.records import Augmentation

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # the library would ask the network when it is imported


def build_transform(augmentation: Augmentation, image_size: int, params: dict[str, ParamValue]) -> Any:
    """The augmentation's transform as an `albumentations.Compose`, which is what can be seeded."""
    import albumentations

    transform = augmentation.build(image_size, **params)
    return transform if isinstance(transform, albumentations.Compose) else albumentations.Compose([transform])


def sample_seed(seed: int, epoch: int, row: int) -> int:
    """A 32-bit seed for one photo in one epoch; the same in every process and Python version."""
    digest = hashlib.blake2b(f"{seed}/{epoch}/{row}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little")


def augment(transform: Any, image: NDArray[np.uint8], *, seed: int) -> NDArray[np.uint8]:
    """Apply `transform` to uint8 (H, W, 3) RGB with the randomness of `seed`."""
    # One stream of numbers for all steps of the transform. `set_random_seed` would give each step a stream of its own
    # from the same seed: what is done with probability 0.5 would be done together or not at all.
    transform.set_random_state(np.random.default_rng(seed), random.Random(seed))
    picture: NDArray[np.uint8] = transform(image=image)["image"]
    return picture
