"""Augmented photos on their way into a network that learns from them: made side by side with its passes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from automl_car.records import IntArray
from automl_car.training.ahead import ahead
from automl_car.training.augment import augment, sample_seed
from automl_car.training.photos import Pick

Key = tuple[int, IntArray]  # an epoch, and the rows of one batch
Batch = tuple[Tensor, Tensor]


class TrainingPhotos(Dataset[Batch]):
    """Augmented photos in batches; (seed, epoch, row) decides a picture, whichever process makes it.

    Args:
        pick: returns the photo of a row as uint8 (H, W, 3).
        labels: of all rows.
        transforms: by the side in pixels of the pictures that they make.
        sides: side of the pictures of each epoch.
        seed: of the recipe.
    """

    def __init__(
        self, pick: Pick, labels: Sequence[int], transforms: Mapping[int, Any], sides: Sequence[int], seed: int
    ) -> None:
        self.pick = pick
        self.labels = np.asarray(labels, dtype=np.int64)
        self.transforms = transforms
        self.sides = sides
        self.seed = seed

    def __getitem__(self, key: Key) -> Batch:
        """Pictures uint8 (B, S, S, 3) and labels int64 (B,) of the rows in an epoch, which counts from 1."""
        epoch, rows = key
        side = self.sides[epoch - 1]
        pictures = np.empty((len(rows), side, side, 3), np.uint8)
        for place, row in enumerate(rows.tolist()):
            seed = sample_seed(self.seed, epoch, row)
            pictures[place] = augment(self.transforms[side], self.pick(row), seed=seed)
        return torch.from_numpy(pictures), torch.from_numpy(self.labels[rows])


class EpochBatches:
    """Shuffled batches of rows. The epoch travels with each of them, so persistent workers know it."""

    def __init__(self, rows: IntArray, batch_size: int, seed: int) -> None:
        self.rows = rows
        self.batch_size = min(batch_size, len(rows))
        self.seed = seed
        self.epoch = 0

    def __iter__(self) -> Iterator[Key]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.rows)
        for batch in range(len(self)):  # the rest of an epoch is dropped: batch statistics and shapes stay the same
            yield self.epoch, order[batch * self.batch_size : (batch + 1) * self.batch_size]

    def __len__(self) -> int:
        return len(self.rows) // self.batch_size


def training_loader(photos: TrainingPhotos, batches: EpochBatches, workers: int, *, pin: bool) -> Iterable[Batch]:
    """Batches of pictures uint8 (B, S, S, 3) and labels int64 (B,), an epoch each time it is walked through.

    Args:
        workers: processes that make batches; 0 makes them in a thread of this process.
        pin: whether batches lie in memory that a GPU can copy from by itself.
    """
    if not workers:
        return _InThread(photos, batches)
    return DataLoader(
        photos,
        sampler=batches,
        batch_size=None,  # the photos come as batches
        num_workers=workers,
        persistent_workers=True,
        pin_memory=pin,
        worker_init_fn=_one_thread,
    )


def pick_workers(configured: int | None, device: torch.device) -> int:
    """Loader processes: none on a CPU, where they would take the network's cores; else one per core, at most 16."""
    if configured is not None:
        return configured
    return 0 if device.type == "cpu" else min(16, os.cpu_count() or 1)


class _InThread:
    def __init__(self, photos: TrainingPhotos, batches: EpochBatches) -> None:
        self.photos = photos
        self.batches = batches

    def __iter__(self) -> Iterator[Batch]:
        _one_thread(0)
        return ahead(map(self.photos.__getitem__, iter(self.batches)))


def _one_thread(worker: int) -> None:
    """Keep OpenCV from starting a thread per core for every picture: the cores have better things to do."""
    import cv2

    cv2.setNumThreads(1)
