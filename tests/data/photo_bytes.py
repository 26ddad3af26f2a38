"""Image files written byte by byte, so that what a test expects does not come from the library that decodes them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6  # PNG's colour types
Chunk = tuple[bytes, bytes]


def png(
    size: tuple[int, int],
    bits: int,
    colour: int,
    data: bytes,
    *,
    chunks: Sequence[Chunk] = (),
    late: Sequence[Chunk] = (),
) -> bytes:
    """A PNG file (ISO/IEC 15948).

    Args:
        size: width and height that the header tells.
        bits: of a sample.
        colour: type of colour.
        data: rows of packed samples, each after a filter byte: see `rows`.
        chunks: before the pixels.
        late: after them.
    """
    header = struct.pack(">IIBBBBB", *size, bits, colour, 0, 0, 0)
    every = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(data, 9)), *late, (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in every)


def chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def rows(samples: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    """Rows of 8 or 16-bit samples (H, …) for `png`."""
    return b"".join(b"\0" + row.astype(row.dtype.newbyteorder(">")).tobytes() for row in samples)


def bit_rows(samples: NDArray[np.uint8], bits: int) -> bytes:
    """Rows of 1, 2 or 4-bit samples (H, W) for `png`."""
    out = []
    for row in samples:
        spread = (row[:, None] >> np.arange(bits - 1, -1, -1)) & 1
        out.append(b"\0" + np.packbits(spread).tobytes())
    return b"".join(out)


TAGS = {"width": 256, "height": 257, "bits": 258, "compression": 259, "photometric": 262, "offsets": 273,
        "orientation": 274, "samples": 277, "rows": 278, "counts": 279, "planar": 284}  # fmt: skip


def tiff(strips: Sequence[bytes], order: str = "<", **tags: int | Sequence[int]) -> bytes:
    """An uncompressed TIFF file (TIFF 6.0) of one page, whose tags are those of `TAGS`, all written as LONG."""
    place, offsets = 8, []
    for strip in strips:
        offsets.append(place)
        place += len(strip)
    values = {"compression": 1, **tags, "offsets": offsets, "counts": [len(strip) for strip in strips]}
    entries, extra = b"", b""
    after = place + 2 + 12 * len(values) + 4
    for name in sorted(values, key=TAGS.__getitem__):
        value = values[name]
        numbers = [value] if isinstance(value, int) else list(value)
        packed = struct.pack(f"{order}{len(numbers)}I", *numbers)
        if len(numbers) > 1:
            entries += struct.pack(f"{order}HHII", TAGS[name], 4, len(numbers), after + len(extra))
            extra += packed
        else:
            entries += struct.pack(f"{order}HHI", TAGS[name], 4, 1) + packed
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", place)
    return head + b"".join(strips) + struct.pack(f"{order}H", len(values)) + entries + bytes(4) + extra


def saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    """What Pillow writes."""
    file = BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def segments(jpeg: bytes) -> list[tuple[int, bytes]]:
    """Markers and whole segments of a JPEG up to its first scan, which comes last with all that follows."""
    found, place = [(0xD8, jpeg[:2])], 2
    while jpeg[place + 1] != 0xDA:
        length = 2 + struct.unpack(">H", jpeg[place + 2 : place + 4])[0]
        found.append((jpeg[place + 1], jpeg[place : place + length]))
        place += length
    return [*found, (0xDA, jpeg[place:])]


def segment(marker: int, data: bytes) -> bytes:
    """A segment of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data
