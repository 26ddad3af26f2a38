"""Features of a frozen backbone: what they are, and that they are computed once."""

from __future__ import annotations

import logging
import os
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from automl_car.catalog.records import Backbone
from automl_car.data.prepare import Prepared
from automl_car.errors import DivergedError
from automl_car.records import Recipe
from automl_car.training.features import Features, frozen_features
from automl_car.training.photos import Normaliser, evaluation_picture
from automl_car.training.views import View, choose_views

CPU = torch.device("cpu")
RECIPE = Recipe("counting", tuning="head", image_size=16, weights="random")


class Counting(nn.Module):
    """Six features, the mean colours of the left and the right half; counts the photos that it sees."""

    photos = 0

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(6, classes)

    def forward(self, images: Tensor) -> Tensor:
        Counting.photos += len(images)
        half = images.shape[3] // 2
        halves = torch.cat([images[..., :half].mean((2, 3)), images[..., half:].mean((2, 3))], 1)
        return self.head(self.dropout(halves))


BACKBONE = Backbone("counting", lambda classes, *, pretrained=True, **params: Counting(classes), image_size=16)


@pytest.fixture(autouse=True)
def _count_from_zero() -> None:
    Counting.photos = 0


def _compute(
    prepared: Prepared,
    cache: Path,
    recipe: Recipe = RECIPE,
    backbone: Backbone = BACKBONE,
    progress: Callable[[int, int], None] = lambda done, total: None,
    views: int | Sequence[View] = 2,
) -> Features:
    chosen = choose_views(views, flip=True) if isinstance(views, int) else views
    return frozen_features(backbone, recipe, chosen, prepared, cache, CPU, progress)


def _by_hand(photo: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    picture = torch.from_numpy(evaluation_picture(photo, 16, "bicubic")[None].copy())
    image = Normaliser(BACKBONE, CPU)(picture)[0].numpy()
    return np.concatenate([image[:, :, :8].mean((1, 2)), image[:, :, 8:].mean((1, 2))])


def test_the_first_view_is_the_photo(tiny_prepared: Prepared, tmp_path: Path) -> None:
    features = _compute(tiny_prepared, tmp_path)
    expected = np.stack([_by_hand(tiny_prepared.train_image(row)) for row in range(36)])
    np.testing.assert_allclose(features.train[0], expected, rtol=2e-3, atol=2e-3)


def test_the_second_view_is_the_mirror_image(tiny_prepared: Prepared, tmp_path: Path) -> None:
    train = _compute(tiny_prepared, tmp_path).train
    np.testing.assert_allclose(train[1][:, :3], train[0][:, 3:], rtol=2e-3, atol=2e-3)
    assert not np.allclose(train[1], train[0], atol=1e-2)


def test_test_photos_have_features_too(tiny_prepared: Prepared, tmp_path: Path) -> None:
    features = _compute(tiny_prepared, tmp_path)
    expected = np.stack([_by_hand(tiny_prepared.test_image(row)) for row in range(5)])
    np.testing.assert_allclose(features.test[0], expected, rtol=2e-3, atol=2e-3)


def test_they_are_half_precision_and_read_only(tiny_prepared: Prepared, tmp_path: Path) -> None:
    features = _compute(tiny_prepared, tmp_path)
    for train, test in zip(features.train, features.test, strict=True):
        assert (train.dtype, train.shape, test.shape) == (np.float16, (36, 6), (5, 6))
        assert isinstance(train, np.memmap)
        assert not train.flags.writeable


def test_the_backbone_sees_each_photo_and_mirror_image_once(tiny_prepared: Prepared, tmp_path: Path) -> None:
    _compute(tiny_prepared, tmp_path)
    assert Counting.photos == 2 * (36 + 5)


def test_two_that_need_the_same_features_at_once_compute_them_once(tiny_prepared: Prepared, tmp_path: Path) -> None:
    found: list[Features] = []
    workers = [threading.Thread(target=lambda: found.append(_compute(tiny_prepared, tmp_path))) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 3
    assert Counting.photos == 2 * (36 + 5)


def test_closer_views_are_the_middle_of_the_photo(tiny_prepared: Prepared, tmp_path: Path) -> None:
    half = (View("half", 0.5), View("half-mirror", 0.5, mirrored=True))
    features = _compute(tiny_prepared, tmp_path, views=half)
    photos = [tiny_prepared.train_image(row) for row in range(36)]
    middles = [np.asarray(Image.fromarray(photo).crop(_middle(photo.shape[1], photo.shape[0]))) for photo in photos]
    expected = np.stack([_by_hand(middle) for middle in middles])
    np.testing.assert_allclose(features.train[0], expected, rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(features.train[1][:, :3], expected[:, 3:], rtol=2e-3, atol=2e-3)


def _middle(width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the middle half of each side."""
    left, top = (width - round(width / 2)) // 2, (height - round(height / 2)) // 2
    return left, top, left + round(width / 2), top + round(height / 2)


def test_a_view_that_is_added_later_costs_only_itself(tiny_prepared: Prepared, tmp_path: Path) -> None:
    first = _compute(tiny_prepared, tmp_path, views=2)
    Counting.photos = 0
    more = _compute(tiny_prepared, tmp_path, views=3)
    assert Counting.photos == 36 + 5
    np.testing.assert_array_equal(more.train[1], first.train[1])


def test_views_computed_one_by_one_are_those_computed_together(tiny_prepared: Prepared, tmp_path: Path) -> None:
    for views in (1, 2, 3, 4):
        apart = _compute(tiny_prepared, tmp_path / "apart", views=views)
    together = _compute(tiny_prepared, tmp_path / "together", views=4)
    for one, other in zip(apart.train + apart.test, together.train + together.test, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)


def test_each_photo_is_fetched_once_for_all_its_views(tiny_prepared: Prepared, tmp_path: Path) -> None:
    rows: list[int] = []

    class Watched(Prepared):
        def train_image(self, row: int) -> np.ndarray[Any, Any]:
            rows.append(row)
            return super().train_image(row)

    values = {field.name: getattr(tiny_prepared, field.name) for field in fields(tiny_prepared)}
    _compute(Watched(**values), tmp_path, views=4)
    assert rows == list(range(36))


def test_a_second_call_reads_them_from_the_cache(tiny_prepared: Prepared, tmp_path: Path) -> None:
    first = _compute(tiny_prepared, tmp_path)
    Counting.photos = 0
    second = _compute(tiny_prepared, tmp_path)
    assert Counting.photos == 0
    np.testing.assert_array_equal(first.train[1], second.train[1])


@pytest.mark.parametrize(
    "changes", [{"learning_rate": 0.5}, {"shrinkage": 0.1}, {"power": 1.0}, {"epochs": 3}, {"augmentation": "light"}]
)
def test_recipes_that_differ_in_what_comes_after_share_them(
    tiny_prepared: Prepared, tmp_path: Path, changes: dict[str, Any]
) -> None:
    _compute(tiny_prepared, tmp_path)
    Counting.photos = 0
    _compute(tiny_prepared, tmp_path, replace(RECIPE, **changes))
    assert Counting.photos == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"image_size": 24},
        {"seed": 1},
        {"weights": "pretrained"},
        {"params": (("counting.width", 2),)},
        {"backbone_version": "12ab34cd"},
    ],
)
def test_recipes_that_differ_in_the_frozen_network_do_not_share_them(
    tiny_prepared: Prepared, tmp_path: Path, changes: dict[str, Any]
) -> None:
    _compute(tiny_prepared, tmp_path)
    Counting.photos = 0
    _compute(tiny_prepared, tmp_path, replace(RECIPE, **changes))
    assert Counting.photos > 0


@pytest.mark.parametrize("changes", [{"mean": (0.5, 0.5, 0.5)}, {"interpolation": "bilinear"}, {"source": "v2"}])
def test_another_preprocessing_or_source_of_the_backbone_computes_them_anew(
    tiny_prepared: Prepared, tmp_path: Path, changes: dict[str, Any]
) -> None:
    _compute(tiny_prepared, tmp_path)
    Counting.photos = 0
    _compute(tiny_prepared, tmp_path, backbone=replace(BACKBONE, **changes))
    assert Counting.photos > 0


def test_pretrained_features_serve_every_seed(tiny_prepared: Prepared, tmp_path: Path) -> None:
    _compute(tiny_prepared, tmp_path, replace(RECIPE, weights="pretrained"))
    Counting.photos = 0
    _compute(tiny_prepared, tmp_path, replace(RECIPE, weights="pretrained", seed=3))
    assert Counting.photos == 0


def test_progress_rises_to_the_number_of_photos(tiny_prepared: Prepared, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    _compute(tiny_prepared, tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (41, 41)
    assert seen == sorted(seen)


def test_what_progress_raises_ends_the_computation_and_leaves_nothing(tiny_prepared: Prepared, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        _compute(tiny_prepared, tmp_path, progress=stop)
    assert list(tmp_path.rglob("*.npy")) == []
    assert not list(tmp_path.rglob("*.partial-*"))


def test_what_a_killed_process_left_behind_hinders_nobody(tiny_prepared: Prepared, tmp_path: Path) -> None:
    _compute(tiny_prepared, tmp_path)
    (whole,) = (tmp_path / "features").glob("*/photo")
    for number in (os.getpid(), 1):  # in a container the process that goes on may have the number of the killed one
        shutil.copytree(whole, whole.with_name(f"{whole.name}.tmp-{number}"))
        shutil.copytree(whole, whole.with_name(f"{whole.name}.partial-{number}"))
    shutil.rmtree(whole)
    assert _compute(tiny_prepared, tmp_path).train[0].shape == (36, 6)


def test_when_another_process_was_faster_its_features_are_used(tiny_prepared: Prepared, tmp_path: Path) -> None:
    def other(done: int, total: int) -> None:
        if done == total and not list((tmp_path / "other").glob("features/*")):
            _compute(tiny_prepared, tmp_path / "other")
            shutil.copytree(tmp_path / "other" / "features", tmp_path / "features", dirs_exist_ok=True)

    ours = _compute(tiny_prepared, tmp_path, progress=other)
    np.testing.assert_array_equal(ours.train[0], _compute(tiny_prepared, tmp_path / "other").train[0])
    assert sorted(path.name for path in tmp_path.glob("features/*/*")) == ["mirror", "photo"]


def test_without_a_test_set_there_are_no_test_features(tiny_prepared: Prepared, tmp_path: Path) -> None:
    dataset = replace(tiny_prepared.dataset, test_paths=(), test_ids=(), submission=None)
    prepared = replace(tiny_prepared, dataset=dataset, test_entries=np.zeros(0, np.int64))
    assert _compute(prepared, tmp_path).test[0].shape == (0, 6)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e6])
def test_features_that_half_precision_cannot_hold_are_refused(
    tiny_prepared: Prepared, tmp_path: Path, value: float
) -> None:
    class Large(Counting):
        def forward(self, images: Tensor) -> Tensor:
            return self.head(torch.full((len(images), 6), value))

    with pytest.raises(DivergedError, match="`counting` at 16 px"):
        _compute(tiny_prepared, tmp_path, backbone=replace(BACKBONE, build=lambda classes, **params: Large(classes)))


def test_damaged_features_are_computed_again_and_named_in_the_log(
    tiny_prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("automl_car.training.features._checked", set())
    monkeypatch.setattr(logging.getLogger("automl_car"), "propagate", True)
    before = [np.array(array) for array in _compute(tiny_prepared, tmp_path).train]
    path = sorted(tmp_path.rglob("train.npy"))[0]
    data = bytearray(path.read_bytes())
    data[-3] ^= 4
    path.write_bytes(data)
    monkeypatch.setattr("automl_car.training.features._checked", set())  # as in another process
    after = _compute(tiny_prepared, tmp_path).train
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)
    assert str(path.parent) in caplog.text
