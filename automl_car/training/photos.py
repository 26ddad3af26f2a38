"""Photos on their way into the network: picked from the cache, made square, batched, normalised on the device."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from automl_car.records import IntArray
from automl_car.training.augment import augment, sample_seed

Picture = NDArray[np.uint8]
Pick = Callable[[int], Picture]
_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


def evaluation_picture(image: Picture, image_size: int, interpolation: str) -> Picture:
    """The whole photo squeezed to a square, with antialiasing.

    A centre crop, as most ImageNet evaluations take, would cut off the front and rear of a car.

    Args:
        image: uint8 (H, W, 3).
        image_size: pixels.
        interpolation: "bicubic" or "bilinear".

    Returns:
        uint8 (image_size, image_size, 3).
    """
    if image.shape[:2] == (image_size, image_size):
        return image
    return np.asarray(Image.fromarray(image).resize((image_size, image_size), _FILTERS[interpolation]))


def normalise(batch: Tensor, mean: Sequence[float], std: Sequence[float], device: torch.device) -> Tensor:
    """uint8 (B, S, S, 3) on the host to float32 (B, 3, S, S), channels last, on the device.

    The bytes travel, and a quarter of what floats would weigh.
    """
    images = batch.to(device, non_blocking=True).permute(0, 3, 1, 2)  # (B, S, S, 3) -> (B, 3, S, S), strides stay
    scale = torch.tensor([1 / (255 * s) for s in std], device=device).view(1, 3, 1, 1)
    shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], device=device).view(1, 3, 1, 1)
    return torch.addcmul(shift, images.float(), scale)


def evaluation_batches(
    pick: Pick, rows: Sequence[int] | IntArray, image_size: int, interpolation: str, batch_size: int
) -> Iterator[Tensor]:
    """Batches uint8 (B, S, S, 3) of `rows` in their order, for validation, test and features."""
    for start in range(0, len(rows), batch_size):
        chosen = rows[start : start + batch_size]
        yield torch.from_numpy(
            np.stack([evaluation_picture(pick(int(row)), image_size, interpolation) for row in chosen])
        )


class TrainingPhotos(Dataset[tuple[Tensor, int]]):
    """Augmented photos by (epoch, row); the pair decides the picture, whichever process makes it."""

    def __init__(self, pick: Pick, labels: Sequence[int], transform: Any, seed: int) -> None:
        self.pick = pick
        self.labels = labels
        self.transform = transform
        self.seed = seed

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int]:
        epoch, row = key
        picture = augment(self.transform, self.pick(row), seed=sample_seed(self.seed, epoch, row))
        # A copy: a transform may hand on the cached photo itself, which torch must not write to, or a view of it.
        return torch.from_numpy(np.array(picture, order="C")), self.labels[row]


class EpochBatches:
    """Shuffled batches of (epoch, row). The epoch travels with each row, so persistent workers know it."""

    def __init__(self, rows: IntArray, batch_size: int, seed: int) -> None:
        self.rows = rows
        self.batch_size = min(batch_size, len(rows))
        self.seed = seed
        self.epoch = 0

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.rows)
        for batch in range(len(self)):  # the rest of an epoch is dropped: batch statistics and shapes stay the same
            chosen = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            yield [(self.epoch, int(row)) for row in chosen]

    def __len__(self) -> int:
        return len(self.rows) // self.batch_size


def training_loader(photos: TrainingPhotos, batches: EpochBatches, workers: int, *, pin: bool) -> DataLoader[Any]:
    """Batches of uint8 (B, S, S, 3) and labels int64 (B,)."""
    return DataLoader(
        photos,
        batch_sampler=batches,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=pin,
    )


def pick_workers(configured: int | None, device: torch.device) -> int:
    """Loader processes: none on a CPU, where they would take the network's cores; else one per core, at most 16."""
    if configured is not None:
        return configured
    return 0 if device.type == "cpu" else min(16, os.cpu_count() or 1)
