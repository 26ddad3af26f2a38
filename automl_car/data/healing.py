"""Makes a damaged picture of the image cache again from its photo, in its place."""

from __future__ import annotations

import logging
import os
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from automl_car.data.budget import SMALLEST_PROMISE
from automl_car.data.images import read_image
from automl_car.data.ragged import ImageCache
from automl_car.data.stored import store_within
from automl_car.errors import DataError, StoreError
from automl_car.system_errors import naming

logger = logging.getLogger("automl_car")


def heal(images: ImageCache, entry: int, photo: Path, short_side: int) -> NDArray[np.uint8]:
    """The picture of a damaged entry, which is whole afterwards for all processes.

    Its bytes are those that were there: decoding is the same every time, and of the qualities that a JPEG is tried at,
    the first one that fits into the entry is the one that it was made with.

    Raises:
        StoreError: the photo does not give these bytes any more.
    """
    begin, end = int(images.offsets[entry]), int(images.offsets[entry + 1])
    limit = max(end - begin, SMALLEST_PROMISE) if images.is_jpeg[entry] else end - begin
    try:
        data = bytes(store_within(read_image(photo, short_side=short_side), limit).data)
    except DataError as error:
        raise _lost(images, entry, error.message) from error
    if len(data) != end - begin or zlib.crc32(data) != images.checksums[entry]:
        raise _lost(images, entry, f"{photo} is not what it was")
    pixels = images.directory / "pixels.bin"
    descriptor = os.open(pixels, os.O_WRONLY)
    try:
        with naming(pixels):
            os.pwrite(descriptor, data, begin)
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    logger.warning(
        "picture %d of the image cache %s was damaged, and made again from %s", entry, images.directory, photo
    )
    return images.image(entry)


def _lost(images: ImageCache, entry: int, why: str) -> StoreError:
    return StoreError(
        f"Picture {entry} of the image cache {images.directory} is damaged, and cannot be made again: {why}.",
        hint="delete that folder; `automl-car search` makes it anew.",
    )
