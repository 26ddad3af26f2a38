"""Image files in, one memory-mapped cache of decoded pictures out, and the facts about each file for the audit.

    <directory>/<key of the files>.npz          bytes of each picture as pixels, see `headers`
                <key>/pixels.bin, index.npz     the pictures, see `ragged`
                      facts.npy, problems.json  what decoding told about each file, see `facts`
                      sha256.txt                checksums of all of these but pixels.bin, see `sealed`

The key is a hash of names, sizes and times of all files, and of the bytes that each picture may take: changed, added
and removed photos make another cache, and so does a budget that keeps other photos as JPEG; all else shares it. A
folder with a key for a name is complete, because it is renamed to that when everything is on the disk. Every file and
folder may be deleted at any time; it is made again when it is needed.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from automl_car.data.budget import Part, promise_bytes
from automl_car.data.duplicates import difference_hash
from automl_car.data.facts import NO_FACT, FactsWriter, FileFact, Problem, read_problems, write_problems
from automl_car.data.headers import picture_sizes
from automl_car.data.images import decode_image, without_pillow_warnings
from automl_car.data.ordinary import read_bytes
from automl_car.data.parallel import in_order, processors
from automl_car.data.ragged import ImageCache, RaggedWriter
from automl_car.data.sealed import check_seal, seal
from automl_car.data.stored import Stored, store_within
from automl_car.errors import DataError, StoreError
from automl_car.files import complete_folder
from automl_car.records import IntArray

__all__ = ["ImageCache", "Problem", "build_cache"]

logger = logging.getLogger("automl_car")

_SEALED = ("index.npz", "facts.npy", "problems.json")  # pixels.bin has a checksum for each picture
_VERSION = 3  # raise it when decoding, reduction, hashes or the format change


def build_cache(
    root: Path,
    paths: Sequence[str],
    *,
    short_side: int,
    directory: Path,
    parts: Sequence[Part] = (),
    progress: Callable[[int, int], None] | None = None,
    workers: int | None = None,
) -> tuple[ImageCache, tuple[Problem, ...]]:
    """Decode each file once, or open the cache where that was done before.

    Args:
        root: folder that `paths` are relative to.
        paths: entry k of the cache is `paths[k]`.
        short_side: larger pictures are reduced until their short side has this many pixels.
        directory: folder of caches; the cache is a folder in it, named by its key.
        parts: of the entries, in order, with the bytes that each part may take; without any, all are kept as pixels.
        progress: called with (files done, files in all).
        workers: threads that decode; one per processor by default.

    Returns:
        The cache, and the files that cannot be decoded; their entries are empty.

    Raises:
        DataError: a part cannot be made to fit, or the cache cannot be written, as on a full disk; no half of a cache
            is left.
    """
    workers = workers or processors()
    files = _key_of_files(root, paths, short_side)
    with _explained(directory), without_pillow_warnings():
        sizes = picture_sizes(root, paths, short_side=short_side, kept=directory / f"{files}.npz", workers=workers)
    limits = promise_bytes(sizes, parts) if parts else sizes
    target = directory / _key(files, limits)
    try:
        return _open(target)
    except StoreError as error:  # missing or damaged: build it
        if target.exists():
            logger.warning("%s It is made again.", error.message)
        shutil.rmtree(target, ignore_errors=True)
    with _explained(directory, int(limits.sum())), complete_folder(target) as temporary, without_pillow_warnings():
        # Paths are made in this thread: Python 3.11 enters their parts in a table of its own, and where that grows in
        # another thread, the memory is never given back.
        photos = (_Photo(root / path, int(limit)) for path, limit in zip(paths, limits, strict=True))
        results = in_order(partial(_decode, short_side), photos, workers)
        _write(temporary, paths, results, int(limits.sum()), progress or (lambda done, total: None))
    return _open(target)


@contextmanager
def _explained(directory: Path, needed: int = 0) -> Iterator[None]:
    """Turns what the system says about the disk into what the user can do about it."""
    try:
        yield
    except OSError as error:
        space = f" It needs {needed / 1e9:.2f} GB, and {_free_gigabytes(directory):.2f} GB are free." if needed else ""
        raise DataError(
            f"The image cache in {directory} cannot be written: {error.strerror or error}.{space}",
            hint="Free space on that disk, put the cache on another one, lower cache.train_gb and cache.eval_gb, or "
            "search smaller images.",
        ) from error


def _free_gigabytes(directory: Path) -> float:
    there = next(folder for folder in (directory, *directory.parents) if folder.exists())
    return shutil.disk_usage(there).free / 1e9


# ---- the key --------------------------------------------------------------------------------------------------------


def _key_of_files(root: Path, paths: Sequence[str], short_side: int) -> str:
    digest = hashlib.sha256(b"%d %d" % (_VERSION, short_side))
    for path in paths:  # one by one: the list of all of them as text would take tens of megabytes
        digest.update(b"\0%b\0%d %d" % (os.fsencode(path), *_size_and_time(f"{root}/{path}")))
    return digest.hexdigest()[:16]


def _size_and_time(path: str) -> tuple[int, int]:
    if not os.access(path, os.R_OK):  # decoding will say why; here it only has to differ from a readable file
        return -1, -1
    status = os.stat(path)  # noqa: PTH116 - a million texts are asked for sooner than as many paths
    return status.st_size, status.st_mtime_ns


def _key(files: str, limits: IntArray) -> str:
    return hashlib.sha256(files.encode() + limits.astype("<i8").tobytes()).hexdigest()[:16]


# ---- decoding -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Decoded:
    picture: Stored
    fact: FileFact


@dataclass(frozen=True)
class _Photo:
    """A file, and how many bytes its picture may take."""

    path: Path
    limit: int


def _decode(short_side: int, photo: _Photo) -> _Decoded | DataError:
    """Decodes a photo, and encodes it if it has to be kept as JPEG; Pillow does both without holding the GIL."""
    try:
        data = read_bytes(photo.path)
        image = decode_image(data, short_side=short_side)
        picture = store_within(image.pixels, photo.limit)
    except DataError as error:
        return error
    sha1 = hashlib.sha1(data, usedforsecurity=False).digest()
    return _Decoded(picture, FileFact(sha1, difference_hash(image.pixels), image.size, image.mode))


# ---- the folder -----------------------------------------------------------------------------------------------------


def _write(
    directory: Path,
    paths: Sequence[str],
    results: Iterator[_Decoded | DataError],
    space: int,
    progress: Callable[[int, int], None],
) -> None:
    problems: list[Problem] = []
    count = len(paths)
    with RaggedWriter(directory, entries=count, space=space) as pictures, FactsWriter(directory, count) as facts:
        for row, result in enumerate(results):
            if isinstance(result, DataError):
                pictures.append(None)
                facts.append(NO_FACT)
                problems.append(Problem(row, paths[row], result.message))
            else:
                pictures.append(result.picture)
                facts.append(result.fact)
            progress(row + 1, count)
    write_problems(directory, problems)
    seal(directory, *_SEALED)


def _open(directory: Path) -> tuple[ImageCache, tuple[Problem, ...]]:
    try:
        for name in _SEALED:
            check_seal(directory / name)
    except (OSError, ValueError) as error:
        raise StoreError(f"The image cache {directory} is damaged or incomplete: {error}.") from error
    return ImageCache.open(directory), read_problems(directory)
