"""Photos on their way to the networks of a bundle."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from automl_car.errors import DataError
from automl_car.training.photos import Picture, evaluation_picture
from automl_car.training.squares import Square, Squares, square_batches
from automl_car.training.views import cut

WHOLE, MIDDLE = Square(16, "bicubic", 1.0), Square(24, "bilinear", 0.7)


def photo(number: int) -> Picture:
    return np.random.default_rng(number).integers(0, 256, (20 + number, 40, 3), np.uint8)


def batches(count: int, size: int, broken: tuple[int, ...] = ()) -> Iterator[Squares[int]]:
    def open_photo(number: int) -> Picture:
        if number in broken:
            raise DataError(f"photo {number} is empty")
        return photo(number)

    return square_batches(iter(range(count)), open_photo, (WHOLE, MIDDLE), size, threads=2)


def test_each_photo_is_squeezed_as_it_is_for_training() -> None:
    (batch,) = batches(3, 4)
    for place, number in enumerate(batch.items):
        for square, pixels in batch.pixels.items():
            expected = evaluation_picture(cut(photo(number), square.side), square.image_size, square.interpolation)
            np.testing.assert_array_equal(pixels[place].numpy(), expected)


def test_the_items_come_in_their_order_and_the_last_batch_is_what_is_left() -> None:
    assert [batch.items for batch in batches(5, 2)] == [[0, 1], [2, 3], [4]]


def test_a_broken_photo_disturbs_no_other_and_says_why() -> None:
    (batch,) = batches(3, 4, broken=(1,))
    assert batch.broken == {1: "photo 1 is empty"}
    assert not batch.pixels[WHOLE][1].any()
    assert batch.pixels[WHOLE][2].any()


def test_photos_are_opened_no_further_ahead_than_the_next_batches() -> None:
    opened: list[int] = []

    def open_photo(number: int) -> Picture:
        opened.append(number)
        return photo(number)

    coming = square_batches(iter(range(1000)), open_photo, (WHOLE,), 2, threads=2)
    next(coming)
    coming.close()  # type: ignore[attr-defined]
    assert max(opened) < 6


def test_other_errors_are_not_swallowed() -> None:
    def open_photo(number: int) -> Picture:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        next(square_batches(iter([0]), open_photo, (WHOLE,), 2, threads=1))
