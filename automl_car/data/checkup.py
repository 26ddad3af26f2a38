"""A look at the photos before a long run: broken files, copies, sizes; most of it on some photos only, to be quick."""

from __future__ import annotations

import hashlib
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from automl_car.data.images import decode_image
from automl_car.data.ordinary import read_bytes
from automl_car.data.parallel import in_order, processors
from automl_car.errors import DataError
from automl_car.records import Dataset

_LEAST_LOOKED_AT = 32  # whatever the time
_STRIDE = 1009  # a prime: photos of all classes come first


@dataclass(frozen=True)
class Checkup:
    """What a look at the photos found.

    Attributes:
        photos: train and test.
        decoded: of them, those that were decoded in the time there was.
        broken: (path, reason) of those that could not be.
        sides: smallest, median and largest short side in pixels of the decoded ones; zeros without any.
        bytes: that all photos take as pixels, reduced; estimated from the decoded ones.
        repeated: groups of training photos that are the same byte for byte.
        conflicts: those of them whose labels differ.
        shared: (training photo, test photo) that are the same byte for byte.
    """

    photos: int
    decoded: int
    broken: tuple[tuple[str, str], ...]
    sides: tuple[int, int, int]
    bytes: int
    repeated: tuple[tuple[str, ...], ...]
    conflicts: tuple[tuple[str, ...], ...]
    shared: tuple[tuple[str, str], ...]


def check_photos(dataset: Dataset, *, short_side: int, seconds: float) -> Checkup:
    """Compare all files, and decode as many photos, spread over all, as fit into the time.

    Args:
        short_side: that photos are reduced to.
        seconds: for decoding; 32 photos are decoded in any case.
    """
    paths = (*dataset.train_paths, *dataset.test_paths)
    looks = _decode_some(dataset.root, _spread(paths), short_side, seconds)
    good = [look for look in looks if not look.reason]
    sides = sorted(look.short_side for look in good)
    groups = _same_files(dataset.root, paths)
    labels = dict(zip(dataset.train_paths, dataset.labels, strict=True))
    repeated = [tuple(path for path in group if path in labels) for group in groups]
    repeated = [group for group in repeated if len(group) > 1]
    return Checkup(
        photos=len(paths),
        decoded=len(looks),
        broken=tuple((look.path, look.reason) for look in looks if look.reason),
        sides=(sides[0], sides[len(sides) // 2], sides[-1]) if sides else (0, 0, 0),
        bytes=round(np.mean([look.bytes for look in good]) * len(paths)) if good else 0,
        repeated=tuple(repeated),
        conflicts=tuple(group for group in repeated if len({labels[path] for path in group}) > 1),
        shared=tuple(pair for group in groups if (pair := _shared(group, labels)) is not None),
    )


@dataclass(frozen=True)
class _Look:
    path: str
    reason: str = ""
    short_side: int = 0
    bytes: int = 0


def _spread(paths: Sequence[str]) -> list[str]:
    """All paths, in an order whose beginning is spread over all of them."""
    count = len(paths)
    step = next(step for step in range(_STRIDE, _STRIDE + count + 2) if np.gcd(step, max(count, 1)) == 1)
    return [paths[place * step % count] for place in range(count)]


def _decode_some(root: Path, paths: Sequence[str], short_side: int, seconds: float) -> list[_Look]:
    until = time.monotonic() + seconds
    looks: list[_Look] = []
    for look in in_order(partial(_decode, root, short_side), paths, processors()):
        looks.append(look)
        if time.monotonic() > until and len(looks) >= _LEAST_LOOKED_AT:
            break
    return looks


def _decode(root: Path, short_side: int, path: str) -> _Look:
    try:
        image = decode_image(read_bytes(root / path), short_side=short_side)
    except DataError as error:
        return _Look(path, error.message)
    return _Look(path, short_side=min(image.size), bytes=image.pixels.nbytes)


def _same_files(root: Path, paths: Sequence[str]) -> list[tuple[str, ...]]:
    """Groups of files with the same bytes; only files of one size are read."""
    sizes = defaultdict(list)
    for path in paths:
        try:
            sizes[(root / path).stat().st_size].append(path)
        except OSError:  # decoding says so
            continue
    groups: dict[tuple[int, bytes], list[str]] = defaultdict(list)
    for size, alike in sizes.items():
        if size and len(alike) > 1:
            for path in alike:
                groups[size, _digest(root / path)].append(path)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def _digest(path: Path) -> bytes:
    try:
        return hashlib.sha1(read_bytes(path), usedforsecurity=False).digest()
    except DataError as error:
        return f"{path}: {error.message}".encode()  # the same as no other


def _shared(group: Sequence[str], labels: dict[str, int]) -> tuple[str, str] | None:
    known = Counter(path in labels for path in group)
    if not (known[True] and known[False]):
        return None
    return next(path for path in group if path in labels), next(path for path in group if path not in labels)
