"""Logits of a network for photos, in their order and with their mirror images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from automl_car.catalog.records import Backbone
from automl_car.training.inference import predict_by_views, predict_logits
from automl_car.training.photos import Normaliser, evaluation_picture
from automl_car.training.step import Step, passes
from automl_car.training.views import choose_views, cut

CPU = torch.device("cpu")
BACKBONE = Backbone("toy", lambda classes: None, image_size=16)


class LeftRedRightBlue(nn.Module):
    """Two logits: mean red of the left half, mean blue of the right half; with dropout that training would apply."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        half = images.shape[3] // 2
        return self.dropout(torch.stack([images[:, 0, :, :half].mean((1, 2)), images[:, 2, :, half:].mean((1, 2))], 1))


def pick(row: int) -> NDArray[np.uint8]:
    return np.random.default_rng(row).integers(0, 256, (20, 24, 3), dtype=np.uint8)


def _predict(
    rows: list[int], *, flip: bool, batch_size: int = 3, model: nn.Module | None = None
) -> NDArray[np.float32]:
    return predict_logits(
        passes(model or LeftRedRightBlue(), Step(), CPU),
        pick,
        rows,
        backbone=BACKBONE,
        image_size=16,
        batch_size=batch_size,
        views=choose_views(2 if flip else 1, flip=True),
    )


def _by_hand(row: int, *, mirrored: bool, side: float = 1.0) -> list[float]:
    picture = torch.from_numpy(evaluation_picture(cut(pick(row), side), 16, "bicubic")[None].copy())
    image = Normaliser(BACKBONE, CPU)(picture)[0].numpy()
    image = image[:, :, ::-1] if mirrored else image
    return [float(image[0, :, :8].mean()), float(image[2, :, 8:].mean())]


def test_logits_come_in_the_order_of_the_rows() -> None:
    expected = [_by_hand(row, mirrored=False) for row in [5, 1, 4, 0]]
    np.testing.assert_allclose(_predict([5, 1, 4, 0], flip=False), expected, atol=1e-5)


def test_with_flip_they_are_the_mean_of_photo_and_mirror_image() -> None:
    expected = [(np.array(_by_hand(row, mirrored=False)) + _by_hand(row, mirrored=True)) / 2 for row in range(4)]
    np.testing.assert_allclose(_predict(list(range(4)), flip=True), expected, atol=1e-5)


def test_closer_views_join_the_mean() -> None:
    views = choose_views(4, flip=True)  # the photo, its mirror image, a closer one, a mirrored and still closer one
    sides, mirrored = (1.0, 1.0, 0.85, 0.7), (False, True, False, True)
    expected = [
        np.mean([_by_hand(row, mirrored=m, side=s) for s, m in zip(sides, mirrored, strict=True)], axis=0)
        for row in (2, 0, 1)
    ]
    plain = passes(LeftRedRightBlue(), Step(), CPU)
    found = predict_logits(plain, pick, [2, 0, 1], backbone=BACKBONE, image_size=16, batch_size=2, views=views)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("batch_size", [2, 100])
def test_the_first_views_alone_give_what_fewer_views_give(batch_size: int) -> None:
    plain = passes(LeftRedRightBlue(), Step(), CPU)
    options = {"backbone": BACKBONE, "image_size": 16, "batch_size": batch_size}
    views = choose_views(4, flip=True)
    found = predict_by_views(plain, pick, [2, 0, 1], views=views, counts=(1, 2, 4), **options)
    assert sorted(found) == [1, 2, 4]
    for count, logits in found.items():
        expected = predict_logits(plain, pick, [2, 0, 1], views=views[:count], **options)
        np.testing.assert_allclose(logits, expected, atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 2, 7, 100])
def test_the_batch_size_changes_nothing(batch_size: int) -> None:
    np.testing.assert_allclose(
        _predict(list(range(7)), flip=True, batch_size=batch_size), _predict(list(range(7)), flip=True), atol=1e-6
    )


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_in_the_mode_that_it_was_in(training: bool) -> None:
    model = LeftRedRightBlue().train(training)
    _predict([0], flip=False, model=model)
    assert model.training is training


def test_logits_are_32_bit_floats() -> None:
    assert _predict([0, 1], flip=True).dtype == np.float32


def test_the_check_is_called_before_each_batch_and_can_end_the_prediction() -> None:
    calls = []

    def check() -> None:
        calls.append(len(calls))
        if len(calls) == 3:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        predict_logits(
            passes(LeftRedRightBlue(), Step(), CPU),
            pick,
            range(10),
            backbone=BACKBONE,
            image_size=16,
            batch_size=2,
            views=choose_views(1, flip=True),
            check=check,
        )
    assert calls == [0, 1, 2]
