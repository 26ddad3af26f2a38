"""Photos on their way into the network: the pictures, their order, and that workers do not change them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from automl_car.catalog.manager import load_catalog
from automl_car.training.augment import build_transform
from automl_car.training.photos import (
    EpochBatches,
    TrainingPhotos,
    evaluation_batches,
    evaluation_picture,
    normalise,
    pick_workers,
    training_loader,
)

CPU = torch.device("cpu")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LABELS = [row % 3 for row in range(17)]


def pick(row: int) -> NDArray[np.uint8]:
    """A photo of its own for each row; a function of the module, so that loader processes can have it."""
    return np.random.default_rng(row).integers(0, 256, (20 + row, 30, 3), dtype=np.uint8)


def _epochs(workers: int, seed: int, epochs: int = 2) -> list[list[tuple[bytes, tuple[int, ...]]]]:
    """For each epoch its batches, as bytes and labels; as `fine_tune` makes them."""
    transform = build_transform(load_catalog().augmentation("heavy"), 16, {"border": 0.15})
    batches = EpochBatches(np.arange(17), 4, seed)
    loader = training_loader(TrainingPhotos(pick, LABELS, transform, seed), batches, workers, pin=False)
    result = []
    for epoch in range(1, epochs + 1):
        batches.epoch = epoch
        result.append([(pictures.numpy().tobytes(), tuple(labels.tolist())) for pictures, labels in loader])
    return result


# ---- the repeated-augmentation trap ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def without_workers() -> list[list[tuple[bytes, tuple[int, ...]]]]:
    return _epochs(0, seed=5)


def test_two_loader_processes_make_the_same_pictures_as_none(without_workers: list[object]) -> None:
    assert _epochs(2, seed=5) == without_workers


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes")
def test_four_loader_processes_make_the_same_pictures_as_none(without_workers: list[object]) -> None:
    assert _epochs(4, seed=5) == without_workers


def test_the_same_seed_makes_the_same_epochs_again(without_workers: list[object]) -> None:
    assert _epochs(0, seed=5) == without_workers


def test_another_seed_makes_other_pictures(without_workers: list[list[tuple[bytes, tuple[int, ...]]]]) -> None:
    theirs = {batch for epoch in _epochs(0, seed=6) for batch, _ in epoch}
    assert theirs.isdisjoint(batch for epoch in without_workers for batch, _ in epoch)


@pytest.mark.parametrize("workers", [0, 2])
def test_no_photo_looks_the_same_in_two_epochs(workers: int) -> None:
    transform = build_transform(load_catalog().augmentation("heavy"), 16, {"border": 0.15})
    batches = EpochBatches(np.arange(17), 1, seed=0)
    loader = training_loader(TrainingPhotos(pick, list(range(17)), transform, 0), batches, workers, pin=False)
    seen: set[tuple[int, bytes]] = set()
    for batches.epoch in (1, 2, 3):
        seen |= {(int(labels), pictures.numpy().tobytes()) for pictures, labels in loader}
    assert len(seen) == 3 * 17


# ---- batches --------------------------------------------------------------------------------------------------------


def test_an_epoch_shows_each_row_at_most_once_and_drops_less_than_a_batch() -> None:
    rows = np.array([3, 5, 8, 9, 11, 20, 21])
    keys = [key for batch in EpochBatches(rows, 3, seed=0) for key in batch]
    shown = [row for _, row in keys]
    assert len(shown) == len(set(shown)) == 6
    assert set(shown) <= set(rows.tolist())


def test_all_batches_have_one_size() -> None:
    batches = EpochBatches(np.arange(10), 4, seed=0)
    assert [len(batch) for batch in batches] == [4] * len(batches) == [4, 4]


def test_fewer_rows_than_a_batch_make_one_smaller_batch() -> None:
    assert [len(batch) for batch in EpochBatches(np.arange(5), 64, seed=0)] == [5]


def test_epochs_are_shuffled_differently() -> None:
    batches = EpochBatches(np.arange(50), 50, seed=0)
    orders = []
    for batches.epoch in (1, 2):
        orders.append([row for batch in batches for _, row in batch])
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1])


def test_labels_travel_with_their_photos() -> None:
    resize = build_transform(load_catalog().augmentation("none"), 16, {})
    photos = TrainingPhotos(pick, LABELS, resize, seed=0)
    loader = training_loader(photos, EpochBatches(np.arange(17), 4, seed=0), 0, pin=False)
    of_picture = {photos[(0, row)][0].numpy().tobytes(): LABELS[row] for row in range(17)}
    pairs = [(picture, label) for pictures, labels in loader for picture, label in zip(pictures, labels, strict=True)]
    assert all(of_picture[picture.numpy().tobytes()] == int(label) for picture, label in pairs)


def test_a_cached_photo_that_no_transform_touched_is_not_shared_with_the_network() -> None:
    photo = np.zeros((16, 16, 3), np.uint8)
    photo.flags.writeable = False  # as the image cache gives them
    resize = build_transform(load_catalog().augmentation("none"), 16, {})
    picture, _ = TrainingPhotos(lambda row: photo, [0], resize, seed=0)[(1, 0)]
    picture.fill_(255)
    assert photo.max() == 0


# ---- evaluation -----------------------------------------------------------------------------------------------------


def test_the_evaluation_picture_shows_the_whole_photo() -> None:
    photo = np.zeros((64, 128, 3), np.uint8)
    photo[:, :16], photo[:, -16:] = 200, 100  # what a centre crop would cut off
    picture = evaluation_picture(photo, 32, "bilinear")
    assert picture.shape == (32, 32, 3)
    assert (picture[:, 0].min(), picture[:, -1].min()) == (200, 100)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_the_evaluation_picture_is_antialiased(interpolation: str) -> None:
    stripes = np.zeros((128, 128, 3), np.uint8)
    stripes[:, ::2] = 255  # thinner than a pixel of the picture: all that may remain is their mean
    picture = evaluation_picture(stripes, 16, interpolation)
    assert abs(picture.astype(int) - 127.5).max() <= 5


def test_a_photo_of_the_right_size_stays_as_it_is() -> None:
    photo = pick(10)[:24, :24]
    np.testing.assert_array_equal(evaluation_picture(photo, 24, "bicubic"), photo)


def test_evaluation_batches_hold_every_row_once_and_in_order() -> None:
    rows = np.array([9, 2, 5, 7, 0])
    batches = list(evaluation_batches(pick, rows, 16, "bicubic", 2))
    assert [len(batch) for batch in batches] == [2, 2, 1]
    expected = [evaluation_picture(pick(int(row)), 16, "bicubic") for row in rows]
    np.testing.assert_array_equal(torch.cat(batches).numpy(), np.stack(expected))


def test_normalising_equals_torchvisions_formula() -> None:
    from torchvision.transforms.v2 import functional

    batch = torch.from_numpy(np.stack([pick(10)[:24, :24], pick(11)[:24, :24]]))
    expected = functional.normalize(batch.permute(0, 3, 1, 2).float() / 255, list(MEAN), list(STD))
    torch.testing.assert_close(normalise(batch, MEAN, STD, CPU), expected, rtol=1e-5, atol=1e-6)


def test_normalised_images_lie_channels_last_in_memory() -> None:
    images = normalise(torch.zeros(2, 8, 8, 3, dtype=torch.uint8), MEAN, STD, CPU)
    assert images.shape == (2, 3, 8, 8)
    assert images.is_contiguous(memory_format=torch.channels_last)


# ---- workers --------------------------------------------------------------------------------------------------------


def test_on_a_cpu_no_loader_process_takes_the_networks_cores() -> None:
    assert pick_workers(None, CPU) == 0


def test_on_a_gpu_there_are_loader_processes_but_at_most_sixteen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 128)
    assert pick_workers(None, torch.device("cuda", 0)) == 16


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_configured_workers_are_taken_as_they_are(device: str) -> None:
    assert pick_workers(3, torch.device(device)) == 3
