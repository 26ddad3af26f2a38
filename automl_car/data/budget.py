"""Sizes of decoded pictures and a budget in; how many bytes each picture may take on the disk out.

A part of the cache that fits its budget is kept as pixels. Of one that does not fit, every picture is promised
a reserve, enough for a good JPEG, and what is left of the budget turns as many reserves as possible into whole
pictures. All of it is decided before the first picture is decoded: the promises add up to the budget at most, so no
order of threads can break it, and every thread can encode what it decoded at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from automl_car.errors import DataError
from automl_car.records import IntArray

# The tables of a JPEG take 623 bytes, whatever it shows: no picture is promised fewer bytes than this.
SMALLEST_PROMISE = 1024
# Of the bytes of the pixels, in thousandths. The pictures of benchmarks/textures.py, reduced to 160 to 448 pixels, take
# 90 to 120 at quality 95 and 20 to 35 at 50: the usual reserve leaves room for busier ones, the lowest keeps most
# photos at 65 or better.
_RESERVE, _LOWEST_RESERVE = 200, 50


@dataclass(frozen=True)
class Budgets:
    """Bytes on the disk that decoded photos may take.

    Attributes:
        train_bytes: of the training photos.
        eval_bytes: of the test photos.
    """

    train_bytes: int
    eval_bytes: int


@dataclass(frozen=True)
class Part:
    """Consecutive entries of the cache that share a budget.

    Attributes:
        photos: what they are, such as "training photos"; for messages.
        setting: that the budget comes from, in gigabytes; for messages.
        entries: how many.
        limit: the budget in bytes.
    """

    photos: str
    setting: str
    entries: int
    limit: int


def promise_bytes(sizes: IntArray, parts: Sequence[Part]) -> IntArray:
    """Share out the budgets.

    Args:
        sizes: int64 (N,): bytes of each picture as pixels; 0 for a file that is broken.
        parts: of the N entries, in order.

    Returns:
        int64 (N,): bytes that each entry may take. Where that is its size, the entry is kept as pixels, else as a JPEG
        of at most so many bytes. The sum over a part is at most its limit.

    Raises:
        DataError: a budget is too small even for JPEGs that are worth training on.
    """
    ends = np.cumsum([part.entries for part in parts])
    pieces = np.split(sizes, ends[:-1])
    return np.concatenate([_promise_part(piece, part) for piece, part in zip(pieces, parts, strict=True)])


def _promise_part(sizes: IntArray, part: Part) -> IntArray:
    if sizes.sum() <= part.limit:
        return sizes
    promises = _reserves(sizes, part)
    spare = part.limit - int(promises.sum())
    # Not the first ones: photos come class by class, and no class should be told by how its photos were kept.
    order = np.random.default_rng(0).permutation(len(sizes))
    whole = order[np.cumsum((sizes - promises)[order]) <= spare]
    promises[whole] = sizes[whole]
    return promises


def _reserves(sizes: IntArray, part: Part) -> IntArray:
    """A start that every JPEG needs, and the same share of the rest for all, as large as the budget allows."""
    starts = np.minimum(sizes, SMALLEST_PROMISE)
    rest = sizes - starts
    needed = int(starts.sum()) + -(-int(rest.sum()) * _LOWEST_RESERVE // 1000)
    if part.limit < needed:
        raise _too_small(part, int(sizes.sum()), needed)
    share = min(_RESERVE, (part.limit - int(starts.sum())) * 1000 // int(rest.sum()))  # whole numbers add up exactly
    return starts + rest * share // 1000


def _too_small(part: Part, whole: int, needed: int) -> DataError:
    return DataError(
        f"{part.setting}: {part.limit / 1e9:g} is too little for {part.entries} {part.photos}: at this image size they "
        f"take {whole / 1e9:.2f} GB as pixels, and {_round_up(needed)} GB as the smallest JPEGs worth training on.",
        hint=f"Set {part.setting} to at least {_round_up(needed)}, or search smaller images (space.image_size).",
    )


def _round_up(size: int) -> str:
    """Gigabytes with two decimals; a setting of that value is enough.

    Example:
        >>> _round_up(1_030_000_001)
        '1.04'
    """
    return f"{math.ceil(size / 10_000_000) / 100:.2f}"
