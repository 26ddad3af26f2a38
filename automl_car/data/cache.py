"""Image files in, one memory-mapped cache of decoded pictures out, and the facts about each file for the audit.

    <directory>/<key>/pixels.bin, index.npz     the pictures, see `ragged`
                      facts.npz, problems.json  what decoding told about each file, see `facts`

The key is a hash of names, sizes and times of all files: changed, added and removed photos make another cache, equal
ones share it. A folder with a key for a name is complete, because it is renamed to that when everything is on the
disk. Every folder may be deleted at any time; it is built again when it is needed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from automl_car.data.duplicates import difference_hash
from automl_car.data.facts import NO_FACT, FileFact, Problem, read_facts, write_facts
from automl_car.data.images import decode_image, read_bytes
from automl_car.data.ragged import ImageCache, RaggedWriter
from automl_car.errors import DataError, StoreError
from automl_car.files import complete_folder
from automl_car.records import fingerprint

__all__ = ["ImageCache", "Problem", "build_cache"]

_VERSION = 1  # raise it when decoding, reduction or hashes change
_AHEAD = 4  # pictures per thread that may wait, decoded, to be written


def build_cache(
    root: Path,
    paths: Sequence[str],
    *,
    short_side: int,
    directory: Path,
    progress: Callable[[int, int], None] | None = None,
    workers: int | None = None,
) -> tuple[ImageCache, tuple[Problem, ...]]:
    """Decode each file once, or open the cache where that was done before.

    Args:
        root: folder that `paths` are relative to.
        paths: entry k of the cache is `paths[k]`.
        short_side: larger pictures are reduced until their short side has this many pixels.
        directory: folder of caches; the cache is a folder in it, named by its key.
        progress: called with (files done, files in all).
        workers: threads that decode; one per processor by default.

    Returns:
        The cache, and the files that cannot be decoded; their entries are empty.

    Raises:
        DataError: the cache cannot be written, as on a full disk; nothing half-done is left.
    """
    target = directory / _key(root, paths, short_side)
    try:
        return _open(target)
    except StoreError:  # missing or damaged: build it
        shutil.rmtree(target, ignore_errors=True)
    try:
        with complete_folder(target) as temporary, warnings.catch_warnings():
            # Pillow warns about damaged EXIF without naming the file; the picture itself is fine.
            warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
            decoded = _decode_all(root, paths, short_side, workers or _processors())
            _write(temporary, paths, decoded, progress or (lambda done, total: None))
    except OSError as error:
        raise DataError(
            f"The image cache in {directory} cannot be written: {error.strerror or error}.",
            hint="Free space on that disk, put the cache on another one, or search smaller images.",
        ) from error
    return _open(target)


# ---- the key --------------------------------------------------------------------------------------------------------


def _key(root: Path, paths: Sequence[str], short_side: int) -> str:
    files = [[path, *_size_and_time(root / path)] for path in paths]
    return fingerprint({"version": _VERSION, "short_side": short_side, "files": files})


def _size_and_time(path: Path) -> tuple[int, int]:
    if not os.access(path, os.R_OK):  # decoding will say why; here it only has to differ from a readable file
        return -1, -1
    status = path.stat()
    return status.st_size, status.st_mtime_ns


# ---- decoding -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Decoded:
    pixels: NDArray[np.uint8]
    fact: FileFact


def _decode_all(root: Path, paths: Sequence[str], short_side: int, workers: int) -> Iterator[_Decoded | DataError]:
    """Results in the order of `paths`; at most `_AHEAD` decoded pictures per thread are held at a time."""
    waiting: deque[Future[_Decoded | DataError]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")  # Pillow decodes without holding the GIL
    try:
        for path in paths:
            waiting.append(pool.submit(_decode_file, root / path, short_side))
            if len(waiting) >= _AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _decode_file(path: Path, short_side: int) -> _Decoded | DataError:
    try:
        data = read_bytes(path)
        image = decode_image(data, short_side=short_side)
    except DataError as error:
        return error
    sha1 = hashlib.sha1(data, usedforsecurity=False).hexdigest()
    return _Decoded(image.pixels, FileFact(sha1, difference_hash(image.pixels), image.size, image.mode))


def _processors() -> int:
    """Processors that this process may use, which in a container are fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# ---- the folder -----------------------------------------------------------------------------------------------------


def _write(
    directory: Path,
    paths: Sequence[str],
    results: Iterator[_Decoded | DataError],
    progress: Callable[[int, int], None],
) -> None:
    facts: list[FileFact] = []
    problems: list[Problem] = []
    with RaggedWriter(directory) as writer:
        for row, result in enumerate(results):
            if isinstance(result, DataError):
                writer.append(None)
                facts.append(NO_FACT)
                problems.append(Problem(row, paths[row], result.message))
            else:
                writer.append(result.pixels)
                facts.append(result.fact)
            progress(row + 1, len(paths))
    write_facts(directory, facts, problems)


def _open(directory: Path) -> tuple[ImageCache, tuple[Problem, ...]]:
    _, problems = read_facts(directory)
    return ImageCache.open(directory), problems
