"""Training pictures on their way into the network: their order, and that workers do not change them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from automl_car.catalog.manager import load_catalog
from automl_car.training.augment import build_transform
from automl_car.training.loader import EpochBatches, TrainingPhotos, pick_workers, training_loader

CPU = torch.device("cpu")
LABELS = [row % 3 for row in range(17)]
Epochs = list[list[tuple[bytes, tuple[int, ...]]]]


def pick(row: int) -> NDArray[np.uint8]:
    """A photo of its own for each row; a function of the module, so that loader processes can have it."""
    return np.random.default_rng(row).integers(0, 256, (20 + row, 30, 3), dtype=np.uint8)


def photos(seed: int = 0, labels: list[int] = LABELS, sides: tuple[int, ...] = (16, 16, 16)) -> TrainingPhotos:
    heavy = load_catalog().augmentation("heavy")
    transforms = {side: build_transform(heavy, side, {"border": 0.15}) for side in sides}
    return TrainingPhotos(pick, labels, transforms, sides, seed)


def _epochs(workers: int, seed: int, epochs: int = 2) -> Epochs:
    """For each epoch its batches, as bytes and labels; as `fine_tune` makes them."""
    batches = EpochBatches(np.arange(17), 4, seed)
    loader = training_loader(photos(seed), batches, workers, pin=False)
    result = []
    for epoch in range(1, epochs + 1):
        batches.epoch = epoch
        result.append([(pictures.numpy().tobytes(), tuple(labels.tolist())) for pictures, labels in loader])
    return result


# ---- the repeated-augmentation trap ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def without_workers() -> Epochs:
    return _epochs(0, seed=5)


def test_two_loader_processes_make_the_same_pictures_as_none(without_workers: list[object]) -> None:
    assert _epochs(2, seed=5) == without_workers


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes")
def test_four_loader_processes_make_the_same_pictures_as_none(without_workers: list[object]) -> None:
    assert _epochs(4, seed=5) == without_workers


def test_the_same_seed_makes_the_same_epochs_again(without_workers: list[object]) -> None:
    assert _epochs(0, seed=5) == without_workers


def test_another_seed_makes_other_pictures(without_workers: Epochs) -> None:
    theirs = {batch for epoch in _epochs(0, seed=6) for batch, _ in epoch}
    assert theirs.isdisjoint(batch for epoch in without_workers for batch, _ in epoch)


@pytest.mark.parametrize("workers", [0, 2])
def test_no_photo_looks_the_same_in_two_epochs(workers: int) -> None:
    batches = EpochBatches(np.arange(17), 1, seed=0)
    loader = training_loader(photos(labels=list(range(17))), batches, workers, pin=False)
    seen: set[tuple[int, bytes]] = set()
    for batches.epoch in (1, 2, 3):
        seen |= {(int(labels), pictures.numpy().tobytes()) for pictures, labels in loader}
    assert len(seen) == 3 * 17


# ---- batches --------------------------------------------------------------------------------------------------------


def test_an_epoch_shows_each_row_at_most_once_and_drops_less_than_a_batch() -> None:
    rows = np.array([3, 5, 8, 9, 11, 20, 21])
    shown = [row for _, batch in EpochBatches(rows, 3, seed=0) for row in batch.tolist()]
    assert len(shown) == len(set(shown)) == 6
    assert set(shown) <= set(rows.tolist())


def test_all_batches_have_one_size() -> None:
    batches = EpochBatches(np.arange(10), 4, seed=0)
    assert [len(batch) for _, batch in batches] == [4] * len(batches) == [4, 4]


def test_fewer_rows_than_a_batch_make_one_smaller_batch() -> None:
    assert [len(batch) for _, batch in EpochBatches(np.arange(5), 64, seed=0)] == [5]


def test_epochs_are_shuffled_differently() -> None:
    batches = EpochBatches(np.arange(50), 50, seed=0)
    orders = []
    for batches.epoch in (1, 2):
        orders.append([row for _, batch in batches for row in batch.tolist()])
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1])


def test_labels_travel_with_their_photos() -> None:
    made = photos()
    batches = EpochBatches(np.arange(17), 4, seed=0)
    batches.epoch = 1
    of_picture = {made[1, np.array([row])][0].numpy().tobytes(): LABELS[row] for row in range(17)}
    loader = training_loader(made, batches, 0, pin=False)
    pairs = [(picture, label) for pictures, labels in loader for picture, label in zip(pictures, labels, strict=True)]
    assert all(of_picture[picture.numpy().tobytes()] == int(label) for picture, label in pairs)


def test_a_cached_photo_that_no_transform_touched_is_not_shared_with_the_network() -> None:
    photo = np.zeros((16, 16, 3), np.uint8)
    photo.flags.writeable = False  # as the image cache gives them
    resize = build_transform(load_catalog().augmentation("none"), 16, {})
    pictures, _ = TrainingPhotos(lambda row: photo, [0], {16: resize}, [16], seed=0)[1, np.array([0])]
    pictures.fill_(255)
    assert photo.max() == 0


def test_each_epoch_has_pictures_of_its_own_size() -> None:
    batches = EpochBatches(np.arange(17), 4, seed=0)
    loader = training_loader(photos(sides=(16, 24, 32)), batches, 0, pin=False)
    sides = []
    for batches.epoch in (1, 2, 3):
        sides.append({tuple(pictures.shape) for pictures, _ in loader})
    assert sides == [{(4, 16, 16, 3)}, {(4, 24, 24, 3)}, {(4, 32, 32, 3)}]


def test_an_error_in_a_photo_reaches_the_one_who_trains() -> None:
    def missing(row: int) -> NDArray[np.uint8]:
        raise IndexError("entry 3")

    resize = build_transform(load_catalog().augmentation("none"), 16, {})
    batches = EpochBatches(np.arange(17), 4, seed=0)
    batches.epoch = 1
    with pytest.raises(IndexError, match="entry 3"):
        list(training_loader(TrainingPhotos(missing, LABELS, {16: resize}, [16], 0), batches, 0, pin=False))


# ---- workers --------------------------------------------------------------------------------------------------------


def test_on_a_cpu_no_loader_process_takes_the_networks_cores() -> None:
    assert pick_workers(None, CPU) == 0


def test_on_a_gpu_there_are_loader_processes_but_at_most_sixteen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 128)
    assert pick_workers(None, torch.device("cuda", 0)) == 16


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_configured_workers_are_taken_as_they_are(device: str) -> None:
    assert pick_workers(3, torch.device(device)) == 3
