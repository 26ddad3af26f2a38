"""Photos on their way into a network that judges them: the pictures, their order, their numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from automl_car.catalog.records import Backbone
from automl_car.training.photos import Normaliser, evaluation_batches, evaluation_picture

CPU = torch.device("cpu")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NORMALISE = Normaliser(Backbone("toy", lambda classes: None, mean=MEAN, std=STD), CPU)


def pick(row: int) -> NDArray[np.uint8]:
    """A photo of its own for each row."""
    return np.random.default_rng(row).integers(0, 256, (20 + row, 30, 3), dtype=np.uint8)


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


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("shape", [(40, 70), (64, 33), (17, 19)])
def test_the_evaluation_picture_is_pillows_but_for_rounding(interpolation: str, shape: tuple[int, int]) -> None:
    coarse = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    photo = np.asarray(Image.fromarray(coarse).resize(shape[::-1], Image.Resampling.BICUBIC))
    filters = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
    expected = np.asarray(Image.fromarray(photo).resize((32, 32), filters[interpolation]))
    assert abs(evaluation_picture(photo, 32, interpolation).astype(int) - expected).max() <= 1


def test_a_photo_of_the_right_size_stays_as_it_is() -> None:
    photo = pick(10)[:24, :24]
    np.testing.assert_array_equal(evaluation_picture(photo, 24, "bicubic"), photo)


@pytest.mark.parametrize("threads", [1, 3])
def test_evaluation_batches_hold_every_row_once_and_in_order(threads: int) -> None:
    rows = np.array([9, 2, 5, 7, 0])
    batches = list(evaluation_batches(pick, rows, 16, "bicubic", 2, threads=threads))
    assert [len(batch) for batch in batches] == [2, 2, 1]
    expected = [evaluation_picture(pick(int(row)), 16, "bicubic") for row in rows]
    np.testing.assert_array_equal(torch.cat(batches).numpy(), np.stack(expected))


def test_normalising_equals_torchvisions_formula() -> None:
    from torchvision.transforms.v2 import functional

    batch = torch.from_numpy(np.stack([pick(10)[:24, :24], pick(11)[:24, :24]]))
    expected = functional.normalize(batch.permute(0, 3, 1, 2).float() / 255, list(MEAN), list(STD))
    torch.testing.assert_close(NORMALISE(batch), expected, rtol=1e-5, atol=1e-6)


def test_normalised_images_lie_channels_last_in_memory() -> None:
    images = NORMALISE(torch.zeros(2, 8, 8, 3, dtype=torch.uint8))
    assert images.shape == (2, 3, 8, 8)
    assert images.is_contiguous(memory_format=torch.channels_last)
