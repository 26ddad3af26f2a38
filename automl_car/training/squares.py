"""Photos in, the squares that networks look at out: a batch is decoded and squeezed while the one before is judged.

Each photo is decoded once, whatever sizes, crops and filters the networks ask for. No more than two batches are in
memory, however many photos come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

import torch
from torch import Tensor

from automl_car.errors import DataError
from automl_car.training.ahead import ahead, for_each, side_by_side
from automl_car.training.photos import Picture, evaluation_picture
from automl_car.training.views import cut

T = TypeVar("T")


@dataclass(frozen=True)
class Square:
    """One way to make a photo square.

    Attributes:
        image_size: pixels.
        interpolation: "bicubic" or "bilinear".
        side: share of height and width that is kept, around the middle.
    """

    image_size: int
    interpolation: str
    side: float


@dataclass(frozen=True, eq=False)
class Squares(Generic[T]):
    """A batch.

    Attributes:
        items: what the photos came from.
        pixels: by square, uint8 (b, S, S, 3); black where a photo is broken.
        broken: why, by place in the batch.
    """

    items: list[T]
    pixels: Mapping[Square, Tensor]
    broken: Mapping[int, str]


def square_batches(
    items: Iterator[T],
    open_photo: Callable[[T], Picture],
    squares: tuple[Square, ...],
    batch_size: int,
    *,
    threads: int,
) -> Iterator[Squares[T]]:
    """The items in their order, `batch_size` at a time.

    Args:
        open_photo: returns uint8 (H, W, 3), or raises a DataError that says why it cannot.
        threads: that work on photos side by side.
    """
    with side_by_side(threads) as pool:

        def make(chosen: list[T]) -> Squares[T]:
            shapes = {square: (len(chosen), square.image_size, square.image_size, 3) for square in squares}
            pixels = {square: torch.zeros(shape, dtype=torch.uint8) for square, shape in shapes.items()}
            broken: dict[int, str] = {}

            def fill(place: int) -> None:
                try:
                    photo = open_photo(chosen[place])
                except DataError as error:
                    broken[place] = error.message
                    return
                for square, batch in pixels.items():
                    picture = evaluation_picture(cut(photo, square.side), square.image_size, square.interpolation)
                    batch[place] = torch.from_numpy(picture)

            for_each(pool, fill, len(chosen))
            return Squares(chosen, pixels, broken)

        yield from ahead(map(make, _batches(items, batch_size)))


def _batches(items: Iterator[T], size: int) -> Iterator[list[T]]:
    while chosen := list(islice(items, size)):
        yield chosen
