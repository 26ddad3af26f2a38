"""One image file in, one RGB array out, or a DataError with the reason: nothing is ever filled with grey.

| file | what is done |
| --- | --- |
| any extension | ignored; the first bytes decide |
| EXIF orientation | applied: all 8 variants give the upright picture |
| EXIF that cannot be read, or an orientation that does not exist | the picture is taken as upright |
| CMYK, palette, 1-bit, 8-bit grey | converted to RGB; colour profiles are not applied |
| 16-bit grey | divided by 257, so that 65535 becomes 255 |
| 16-bit colours | the high byte |
| 32-bit grey, whole numbers or fractions | scaled by the range of its values, see `_deep_grey` |
| transparency (alpha, or a transparent colour) | laid on white |
| CMYK in a JPEG | taken as stored inverted, as browsers do; YCCK where Adobe's marker says so |
| animation, pages, stereo pairs | the first picture |
| truncated, empty, HTML, not an image, unknown format | DataError |
| HEIC, and AVIF where this build of Pillow has none | DataError that names the format |
| more than 100 million pixels | DataError from the header, before any pixel is decoded |
| a JPEG of so many scans that it would take minutes | DataError, before any pixel is decoded |
| texts of more than 4 MB in a PNG | DataError |
| more than 500 million bytes | DataError, before they are read |
| folder, pipe, device, dangling link, loop of links | DataError, without waiting |
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, PngImagePlugin, UnidentifiedImageError

from automl_car.data.ordinary import read_bytes
from automl_car.errors import DataError

MAX_PIXELS = 100_000_000
# Each scan of a progressive JPEG goes over all its pixels: 1 ns a pixel, measured. Cameras write one scan, editors ten.
MAX_SCANNED = 4_000_000_000

# What is decoded takes up to 16 bytes a pixel for a moment; photos above this many pixels wait for each other.
_LARGE = 50_000_000
_one_at_a_time = threading.Lock()

# `open_photo` checks MAX_PIXELS itself, from the header. Pillow's own limit is lower and warns once per process, which
# is neither an answer nor thread-safe to silence.
Image.MAX_IMAGE_PIXELS = None
# Texts of a PNG unpack to a thousand times their size; 1 MB each is Pillow's limit, and this one is for all of them.
PngImagePlugin.MAX_TEXT_MEMORY = 4 * 2**20

# Formats of photos only: Pillow would also start Ghostscript for a file that claims to be EPS.
_PHOTO_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000")
Image.init()  # loads all formats; some builds of Pillow lack AVIF or WebP
_FORMATS = tuple(name for name in _PHOTO_FORMATS if name in Image.OPEN)

# The first 12 bytes of such a file are a length, `ftyp` and one of these (ISO/IEC 14496-12).
_BOXED = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "HEIC"),
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
}
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, eq=False)
class DecodedImage:
    """A decoded file.

    Attributes:
        pixels: uint8 (H, W, 3), RGB, upright.
        size: width and height in the file, before rotation and reduction.
        mode: Pillow's name of the colour mode in the file, such as "CMYK".
    """

    pixels: NDArray[np.uint8]
    size: tuple[int, int]
    mode: str


def read_image(path: Path, *, short_side: int | None = None) -> NDArray[np.uint8]:
    """Read an image file as RGB.

    Args:
        path: of a JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or JPEG 2000 file.
        short_side: a larger image is reduced until its short side has this many pixels; None keeps the size.

    Returns:
        uint8 (H, W, 3).

    Raises:
        DataError: the file cannot be read or decoded; the message names it and says why.
    """
    try:
        return decode_image(read_bytes(path), short_side=short_side).pixels
    except DataError as error:
        raise DataError(f"The image `{path}` cannot be used: {error.message}.") from error


def decode_image(data: bytes, *, short_side: int | None = None) -> DecodedImage:
    """Decode the bytes of an image file; see `read_image`.

    Raises:
        DataError: with the bare reason, without a file name.
    """
    if not data:
        raise DataError("it is empty (0 bytes)")
    try:
        with open_photo(BytesIO(data)) as image, _in_turn(image):
            _refuse_many_scans(image, data)
            _refuse_without_end(image, data)
            size, mode = image.size, image.mode
            return DecodedImage(np.array(_decode(image, short_side)), size, mode)
    except (DataError, MemoryError):
        raise
    except Exception as error:  # Pillow raises a dozen kinds for damaged files: SyntaxError, struct.error, EOFError …
        raise DataError(f"it cannot be decoded ({error})") from error


def reduce_image(image: Image.Image, *, short_side: int | None = None) -> NDArray[np.uint8]:
    """The same for an image that Pillow has opened: upright, RGB, reduced.

    Raises:
        DataError: with the bare reason.
    """
    try:
        return np.array(_decode(image, short_side))
    except (DataError, MemoryError):
        raise
    except Exception as error:  # an image that Pillow opens lazily is decoded only now
        raise DataError(f"it cannot be decoded ({error})") from error


def open_photo(file: BinaryIO) -> Image.Image:
    """Read the header of a photo; no pixel is decoded yet.

    Raises:
        DataError: with the bare reason; damaged headers raise other errors of Pillow's as well.
    """
    try:
        image = Image.open(file, formats=_FORMATS)
    except UnidentifiedImageError as error:
        file.seek(0)
        raise DataError(_unknown(file.read(12))) from error
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise DataError(f"it has {width} x {height} pixels, more than {MAX_PIXELS // 1_000_000} million")
    return image


def _unknown(start: bytes) -> str:
    """What a file is that Pillow does not know, by its first 12 bytes."""
    if start[4:8] == b"ftyp" and start[8:12] in _BOXED:
        return f"it is of the format {_BOXED[start[8:12]]}, which is not decoded here; save it as JPEG or PNG"
    return f"it is not an image of a known format; it begins with {start.decode('ascii', 'replace')!a}"


def _in_turn(image: Image.Image) -> AbstractContextManager[object]:
    return _one_at_a_time if image.width * image.height > _LARGE else nullcontext()


def _refuse_many_scans(image: Image.Image, data: bytes) -> None:
    """Refuse a JPEG of 300 kB that takes minutes: one whose scans go over all of a large picture a thousand times.

    The two bytes that begin a scan also stand in thumbnails, and by chance in profiles: a few more than there are.
    """
    if image.format not in ("JPEG", "MPO"):
        return
    scans = data.count(b"\xff\xda")
    if scans * image.width * image.height > MAX_SCANNED:
        raise DataError(f"it has {scans} scans of {image.width} x {image.height} pixels, which would take minutes")


def _refuse_without_end(image: Image.Image, data: bytes) -> None:
    """Refuse a JPEG 2000 that lacks its last two bytes: where it ends between two tiles, Pillow fills up with black.

    They stand nowhere else behind the four that begin its pixels (ISO/IEC 15444-1, A.4.4).
    """
    if image.format == "JPEG2000" and b"\xff\xd9" not in data[data.find(b"\xff\x4f\xff\x51") :]:
        raise DataError("it is truncated: a JPEG 2000 without its end")


@contextmanager
def without_pillow_warnings() -> Iterator[None]:
    """Pillow warns about damaged EXIF without naming the file; the picture itself is fine.

    Not for threads: what Python warns about is set for all of them.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
        yield


def _decode(image: Image.Image, short_side: int | None) -> Image.Image:
    target = reduced_size(image.size, short_side)
    if target != image.size and short_side:
        # A JPEG decodes at 1/2, 1/4 or 1/8 of its size for a fraction of the time; never below the target.
        image.draft(None, (short_side, short_side))
    image.load()
    turn = _turn(image)  # after loading: Pillow turns a TIFF by itself
    rgb = _to_rgb(image)
    if target != rgb.size:
        rgb = rgb.resize(target, Image.Resampling.BICUBIC)  # Pillow's filter widens with the reduction: no aliasing
    return rgb if turn is None else rgb.transpose(turn)


def _turn(image: Image.Image) -> Image.Transpose | None:
    """How the picture becomes upright; None if it is, or if its EXIF block is damaged."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # SyntaxError, struct.error, ValueError …: notes about the picture, not the picture
        return None
    return _UPRIGHT.get(orientation) if isinstance(orientation, int) else None


def reduced_size(size: tuple[int, int], short_side: int | None) -> tuple[int, int]:
    """Width and height with the same aspect ratio and the given short side; never larger than before.

    Example:
        >>> reduced_size((1200, 800), 400), reduced_size((300, 200), 400)
        ((600, 400), (300, 200))
    """
    short = min(size)
    if short_side is None or short <= short_side:
        return size
    width, height = (max(short_side, round(side * short_side / short)) for side in size)
    return width, height


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        grey = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((grey + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        return Image.fromarray(_deep_grey(np.asarray(image).astype(np.float64))).convert("RGB")
    if image.has_transparency_data:
        upper = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", upper.size, "white"), upper).convert("RGB")
    return image.convert("RGB")


def _deep_grey(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """32-bit grey to 8 bits: the range of the values tells what they mean.

    0 to 1 in fractions becomes 0 to 255, 0 to 255 stays, up to 65535 is divided by 257, and anything else is
    stretched from its smallest to its largest value.
    """
    if not np.isfinite(values).all():
        raise DataError("it has pixels that are not finite numbers")
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 65535:
        scaled = (values - low) * (255 / (high - low) if high > low else 0)
    elif high > 255:
        scaled = values / 257
    elif high <= 1 and (values % 1).any():
        scaled = values * 255
    else:
        scaled = values
    return np.rint(scaled).astype(np.uint8)
