"""A decoded picture and the bytes it may take in, what is written of it out: its pixels if they fit, else a JPEG.

JPEGs are written with colours at half the resolution (4:2:0), as in most photos: against 4:4:4 they take two thirds of
the bytes and of the time to decode (measured on benchmarks/textures.py at 224 pixels), and brightness, in which the
details are, is not touched.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from automl_car.data.budget import SMALLEST_PROMISE
from automl_car.errors import DataError

QUALITIES = (95, 90, 80, 65, 50, 35)
_LONGEST_SIDE = 65_500  # of a JPEG, by libjpeg


@dataclass(frozen=True, eq=False)
class Stored:
    """One entry of the cache as it lies on the disk.

    Attributes:
        data: the pixels, row by row, or the bytes of a JPEG file.
        shape: height and width of the picture.
        is_jpeg: which of the two it is.
    """

    data: memoryview | bytes
    shape: tuple[int, int]
    is_jpeg: bool


def store_within(pixels: NDArray[np.uint8], limit: int) -> Stored:
    """The best that can be kept of a picture in so many bytes.

    Args:
        pixels: uint8 (H, W, 3).
        limit: in bytes; at least `SMALLEST_PROMISE` if it is less than the picture takes.

    Returns:
        The pixels; or a JPEG of the highest of `QUALITIES` that fits; or, where the lowest does not fit, because the
        picture is like noise, a JPEG of half the size, a quarter and so on.

    Raises:
        DataError: the picture is larger than its file's header told when the limits were made.
    """
    if pixels.nbytes <= limit:
        return Stored(np.ascontiguousarray(pixels).data, (pixels.shape[0], pixels.shape[1]), is_jpeg=False)
    if limit < SMALLEST_PROMISE:
        raise DataError("it is larger than its header says, or changed while it was being read")
    image = Image.fromarray(pixels)
    while True:
        for quality in QUALITIES if max(image.size) <= _LONGEST_SIDE else ():
            data = _encode(image, quality)
            if len(data) <= limit:
                return Stored(data, (image.height, image.width), is_jpeg=True)
        image = image.reduce(2)


def load_jpeg(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Decode the bytes of a JPEG that `store_within` made.

    Args:
        data: uint8 (bytes,).

    Returns:
        uint8 (H, W, 3), read-only.
    """
    return np.asarray(Image.open(BytesIO(data.tobytes()), formats=("JPEG",)))


def _encode(image: Image.Image, quality: int) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    return buffer.getvalue()
