from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from automl_car.data.budget import SMALLEST_PROMISE
from automl_car.data.stored import load_jpeg, store_within
from automl_car.errors import DataError


def _noise(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def _smooth(height: int, width: int) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(_noise(4, 4)).resize((width, height), Image.Resampling.BICUBIC))


def test_pixels_that_just_fit_are_kept_as_they_are() -> None:
    pixels = _noise(5, 7)
    stored = store_within(pixels, pixels.nbytes)
    assert not stored.is_jpeg
    assert bytes(stored.data) == pixels.tobytes()


def test_a_picture_that_does_not_fit_is_a_jpeg_of_the_same_size_that_looks_the_same() -> None:
    pixels = _smooth(100, 150)
    stored = store_within(pixels, pixels.nbytes // 5)
    assert stored.is_jpeg
    assert stored.shape == (100, 150)
    decoded = load_jpeg(np.frombuffer(stored.data, dtype=np.uint8))
    assert np.abs(decoded.astype(int) - pixels).mean() < 2


def test_more_space_is_used_for_quality() -> None:
    pixels = np.clip(_smooth(100, 150).astype(int) + _noise(100, 150) // 8, 0, 255).astype(np.uint8)
    errors = []
    for limit in (pixels.nbytes // 4, pixels.nbytes // 12):
        data = store_within(pixels, limit).data
        assert len(data) <= limit
        errors.append(np.abs(load_jpeg(np.frombuffer(data, dtype=np.uint8)).astype(int) - pixels).mean())
    assert errors[0] < errors[1]


@given(st.integers(1, 80), st.integers(1, 80), st.integers(0, 4000))
def test_no_limit_is_ever_passed_even_by_noise(height: int, width: int, above: int) -> None:
    limit = SMALLEST_PROMISE + above
    assert len(BytesIO(store_within(_noise(height, width), limit).data).read()) <= limit


def test_a_picture_that_is_too_long_for_a_jpeg_is_halved() -> None:
    stored = store_within(_smooth(2, 70_000), 20_000)
    assert stored.shape == (1, 35_000)


def test_a_picture_that_no_header_announced_is_an_error() -> None:
    with pytest.raises(DataError, match="larger than its header says"):
        store_within(_noise(10, 10), 0)
