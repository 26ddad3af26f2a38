"""Augmented photos on their way into a network that learns from them: made side by side with its passes."""

from __future__ import annotations

import copy
import multiprocessing.queues
import os
import signal
import threading
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from automl_car.lifetime import end_with_parent
from automl_car.records import IntArray
from automl_car.training.ahead import ahead, for_each, side_by_side
from automl_car.training.augment import augment, sample_seed
from automl_car.training.device import cores
from automl_car.training.photos import Pick, Picture

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
        pictures = self.empty(key)
        for place, row in enumerate(rows.tolist()):
            pictures[place] = self.picture(epoch, row, self.transforms)
        return self.batch(pictures, rows)

    def picture(self, epoch: int, row: int, transforms: Mapping[int, Any]) -> Picture:
        """The picture of a photo in an epoch, made by one of the transforms, which two threads must not share."""
        transform = transforms[self.sides[epoch - 1]]
        return augment(transform, self.pick(row), seed=sample_seed(self.seed, epoch, row))

    def empty(self, key: Key) -> Picture:
        """Room for the pictures of a batch."""
        side = self.sides[key[0] - 1]
        return np.empty((len(key[1]), side, side, 3), np.uint8)

    def batch(self, pictures: Picture, rows: IntArray) -> Batch:
        """What the network gets of pictures and the rows that they show."""
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
        workers: processes that make batches; 0 makes them in threads of this process.
        pin: whether batches lie in memory that a GPU can copy from by itself.
    """
    if not workers:
        return _InThreads(photos, batches, torch.get_num_threads())
    return DataLoader(
        photos,
        sampler=batches,
        batch_size=None,  # the photos come as batches
        num_workers=workers,
        persistent_workers=True,
        pin_memory=pin,
        worker_init_fn=_begin_loader,
        # Without one of its own it draws from torch's generator, and a fold that goes on would draw once more.
        generator=torch.Generator(),
    )


def pick_workers(configured: int | None, device: torch.device) -> int:
    """Loader processes: none on a CPU, where they would take the network's cores; else one per core, at most 16.

    Of the cores that are this process's: where several train side by side, each has its share of them.
    """
    if configured is not None:
        return configured
    return 0 if device.type == "cpu" else min(16, cores())


class _InThreads:
    """Makes one batch in advance, its pictures side by side."""

    def __init__(self, photos: TrainingPhotos, batches: EpochBatches, threads: int) -> None:
        self.photos = photos
        self.batches = batches
        self.threads = threads

    def __iter__(self) -> Iterator[Batch]:
        _one_thread(0)
        own = threading.local()

        def picture(epoch: int, row: int) -> Picture:
            if not hasattr(own, "transforms"):
                own.transforms = copy.deepcopy(self.photos.transforms)
            return self.photos.picture(epoch, row, own.transforms)

        with side_by_side(self.threads) as pool:

            def batch(key: Key) -> Batch:
                epoch, rows = key
                pictures = self.photos.empty(key)

                def fill(place: int) -> None:
                    pictures[place] = picture(epoch, int(rows[place]))

                for_each(pool, fill, len(rows))
                return self.photos.batch(pictures, rows)

            yield from ahead(map(batch, iter(self.batches)))


def _begin_loader(worker: int) -> None:
    end_with_parent()
    # Python drops what cannot be sent, as on full shared memory, and the network would wait for it for ever.
    multiprocessing.queues.Queue._on_queue_feeder_error = staticmethod(_end_loader)  # type: ignore[attr-defined]
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the training process has a handler of its own, which is copied
    _one_thread(worker)


def _end_loader(error: Exception, batch: object) -> None:
    traceback.print_exception(error)
    os._exit(1)


def _one_thread(worker: int) -> None:
    """Keep OpenCV from starting a thread per core for every picture: the cores have better things to do."""
    import cv2

    cv2.setNumThreads(1)
