"""The sides of training images grow with the epochs and end at the full size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automl_car.training.progressive import image_sides

SIZES, EPOCHS, STARTS = st.integers(16, 512), st.integers(1, 60), st.floats(0, 1)


@given(SIZES, EPOCHS, STARTS)
def test_there_is_a_side_for_each_epoch_and_the_last_is_the_full_size(size: int, epochs: int, start: float) -> None:
    sides = image_sides(size, epochs, start)
    assert (len(sides), sides[-1]) == (epochs, size)


@given(SIZES, EPOCHS, STARTS)
def test_sides_never_shrink(size: int, epochs: int, start: float) -> None:
    sides = image_sides(size, epochs, start)
    assert list(sides) == sorted(sides)


@given(SIZES, EPOCHS, STARTS)
def test_sides_are_multiples_of_32_or_the_full_size(size: int, epochs: int, start: float) -> None:
    assert all(side % 32 == 0 or side == size for side in image_sides(size, epochs, start))


@given(SIZES, EPOCHS)
def test_a_start_of_1_trains_at_the_full_size_throughout(size: int, epochs: int) -> None:
    assert set(image_sides(size, epochs, 1.0)) == {size}


@pytest.mark.parametrize(("epochs", "full"), [(10, 3), (3, 1), (1, 1)])
def test_the_last_third_or_so_is_at_the_full_size(epochs: int, full: int) -> None:
    assert image_sides(512, epochs, 0.25).count(512) == full


def test_a_start_of_a_half_begins_with_a_quarter_of_the_pixels() -> None:
    assert image_sides(256, 10, 0.5)[0] == 128
