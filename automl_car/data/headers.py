"""Headers of image files in, the bytes that each decoded picture will take out: known before any pixel is decoded.

Reading a header takes a hundredth of the time of decoding the photo. The result is kept in a file, so that an
existing cache is found without opening a photo.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from io import BytesIO
from math import prod
from pathlib import Path

import numpy as np

from automl_car.data.images import open_photo, reduced_size
from automl_car.data.ordinary import check_ordinary
from automl_car.data.parallel import in_order
from automl_car.files import load_arrays, write_atomically
from automl_car.records import IntArray

_CHUNK = 64  # headers that a thread reads at a time; handing over single ones would cost more than reading them


def picture_sizes(root: Path, paths: Sequence[str], *, short_side: int, kept: Path, workers: int) -> IntArray:
    """Bytes of each picture, decoded and reduced.

    Args:
        root: folder that `paths` are relative to.
        short_side: as `images.read_image` takes it.
        kept: file of the result; read if it is there, else written. Its name must tell photos and `short_side`.
        workers: threads.

    Returns:
        int64 (N,): height x width x 3; 0 for a file whose header cannot be read.

    Raises:
        OSError: the result cannot be written.
    """
    sizes = _read(kept, len(paths))
    if sizes is None:
        sizes = _scan(root, paths, short_side, workers)
        _write(kept, sizes)
    return sizes


def _scan(root: Path, paths: Sequence[str], short_side: int, workers: int) -> IntArray:
    sizes = np.zeros(len(paths), dtype=np.int64)
    starts = range(0, len(paths), _CHUNK)
    # Paths are made in this thread, for the sake of memory: see `build_cache`.
    chunks = ([root / path for path in paths[start : start + _CHUNK]] for start in starts)
    for start, found in zip(starts, in_order(partial(_chunk, short_side), chunks, workers), strict=True):
        sizes[start : start + len(found)] = found
    return sizes


def _chunk(short_side: int, paths: Sequence[Path]) -> list[int]:
    return [_picture_size(path, short_side) for path in paths]


def _picture_size(path: Path, short_side: int) -> int:
    try:
        check_ordinary(path)
        with path.open("rb") as file, open_photo(file) as image:
            return 3 * prod(reduced_size(image.size, short_side))
    except Exception:  # a DataError, or one of a dozen kinds of Pillow's; decoding meets it again and reports it
        return 0


def _read(path: Path, count: int) -> IntArray | None:
    try:
        sizes: IntArray = load_arrays(path)["sizes"]
    except (OSError, ValueError, KeyError):  # missing or damaged: the headers are read again
        return None
    return sizes if sizes.shape == (count,) and sizes.dtype == np.int64 else None


def _write(path: Path, sizes: IntArray) -> None:
    buffer = BytesIO()
    np.savez(buffer, sizes=sizes)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, buffer.getvalue())
