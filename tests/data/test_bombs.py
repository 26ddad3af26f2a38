"""Row 19 of the fault matrix: small files that would take much memory or time are refused from their headers.

Each file lies about its size, or holds what unpacks to a thousand times its bytes. Refusing may take 50 ms of a
processor and 50 MB; it takes less than 1 ms for all but the texts of PNGs.
"""

from __future__ import annotations

import re
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from photo_bytes import GREY, RGB, chunk, png, rows, saved, segment, segments, tiff
from PIL import Image, features

from automl_car.data.headers import picture_sizes
from automl_car.data.images import decode_image, read_image
from automl_car.data.ordinary import MAX_BYTES
from automl_car.errors import DataError

SMALL = np.zeros((16, 16, 3), dtype=np.uint8)


def _memory(field: str) -> float:
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))
    assert found
    return int(found[1]) / 1000


def _patched(data: bytes, mark: bytes, after: int, new: bytes) -> bytes:
    """`new` written over what begins `after` bytes behind the start of `mark`."""
    place = data.index(mark) + after
    return data[:place] + new + data[place + len(new) :]


def _picture(kind: str, **options: object) -> bytes:
    return saved(Image.fromarray(SMALL), kind, **options)


def _gif(screen: tuple[int, int], frame: tuple[int, int], before: bytes = b"", frames: int = 1) -> bytes:
    """A black and white GIF (GIF89a) whose frames all hold the code for two pixels."""
    head = b"GIF89a" + struct.pack("<HHBBB", *screen, 0x80, 0, 0) + bytes((0, 0, 0, 255, 255, 255))
    one = b"\x21\xf9\x04\0\x0a\0\0\0\x2c" + struct.pack("<HHHHB", 0, 0, *frame, 0) + b"\x02\x02\x44\x0a\0"
    return head + before + one * frames + b";"


def _animated_webp() -> bytes:
    return _picture("WEBP", save_all=True, append_images=[Image.new("RGB", (16, 16), "red")])


HUGE: dict[str, Callable[[], bytes]] = {
    "PNG of 200 million pixels": lambda: png((20_000, 10_000), 8, RGB, bytes(20_000 * 3 * 100)),
    "JPEG of 65535 x 65535": lambda: _patched(_picture("JPEG"), b"\xff\xc0", 5, b"\xff" * 4),
    "progressive JPEG": lambda: _patched(_picture("JPEG", progressive=True), b"\xff\xc2", 5, b"\xff" * 4),
    "GIF by its screen": lambda: _gif((65535, 65535), (2, 1)),
    "GIF by its first picture": lambda: _gif((2, 1), (65535, 65535)),
    "WebP, lossy": lambda: _patched(_picture("WEBP"), b"\x9d\x01\x2a", 3, struct.pack("<HH", 16383, 16383)),
    "WebP, lossless": lambda: _patched(
        _picture("WEBP", lossless=True), b"VP8L", 9, struct.pack("<I", 16383 | 16383 << 14)
    ),
    "WebP, animated": lambda: _patched(_animated_webp(), b"VP8X", 12, b"\x4f\xc3\0\x4f\xc3\0"),
    "TIFF": lambda: tiff([b""], width=2**31 - 1, height=2**31 - 1, bits=8, photometric=1, samples=1, rows=2**31 - 1),
    "BMP": lambda: _patched(_picture("BMP"), b"BM", 18, struct.pack("<ii", 60_000, 60_000)),
}
if features.check("avif"):
    HUGE["AVIF"] = lambda: _patched(_picture("AVIF"), b"ispe", 8, struct.pack(">II", 16_000, 16_000))
if features.check("jpg_2000"):
    HUGE["JPEG 2000"] = lambda: _patched(_picture("JPEG2000"), b"ihdr", 4, struct.pack(">II", 60_000, 60_000))


def _text(name: bytes, packed: bytes) -> bytes:
    return name + b"\0\0" + packed if name != b"i" else b"i\0\1\0\0\0" + packed


MEGABYTE = zlib.compress(bytes(2**20), 9)
UNPACKING: dict[str, Callable[[], bytes]] = {
    "PNG, 60 texts of 1 MB": lambda: png((2, 2), 8, RGB, bytes(14), chunks=[(b"zTXt", _text(b"z", MEGABYTE))] * 60),
    "PNG, 60 texts behind the pixels": lambda: png(
        (2, 2), 8, RGB, bytes(14), late=[(b"zTXt", _text(b"z", MEGABYTE))] * 60
    ),
    "PNG, 60 international texts": lambda: png(
        (2, 2), 8, RGB, bytes(14), chunks=[(b"iTXt", _text(b"i", MEGABYTE))] * 60
    ),
    "PNG, a text of 20 MB": lambda: png(
        (2, 2), 8, RGB, bytes(14), chunks=[(b"zTXt", _text(b"z", zlib.compress(bytes(20 * 2**20))))]
    ),
    "PNG, a profile of 20 MB": lambda: png(
        (2, 2), 8, RGB, bytes(14), chunks=[(b"iCCP", _text(b"p", zlib.compress(bytes(20 * 2**20))))]
    ),
    "JPEG of 1,000 scans": lambda: _many_scans(1000),
}


def _many_scans(more: int) -> bytes:
    """A progressive JPEG whose last scan comes so many times again, with a size that makes each of them long."""
    data = _picture("JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return _patched(data[:-2] + last * more + b"\xff\xd9", b"\xff\xc2", 5, struct.pack(">HH", 8000, 8000))


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is measured as Linux tells it")
@pytest.mark.parametrize("kind", [*HUGE, *UNPACKING])
def test_a_bomb_is_refused_in_50_ms_and_50_mb(kind: str) -> None:
    data = (HUGE | UNPACKING)[kind]()
    times, growth = [], 0.0
    for _ in range(3):
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the peak starts anew
        before, began = _memory("VmRSS"), time.process_time()
        with pytest.raises(DataError):
            decode_image(data)
        times.append(time.process_time() - began)
        growth = max(growth, _memory("VmHWM") - before)
    assert min(times) < 0.05
    assert growth < 50


@pytest.mark.parametrize("kind", HUGE)
def test_the_pixels_of_a_bomb_are_counted_before_any_is_decoded(kind: str) -> None:
    with pytest.raises(DataError, match=r"it has \d+ x \d+ pixels, more than 100 million"):
        decode_image(HUGE[kind]())


def test_a_jpeg_of_many_scans_is_refused_before_it_takes_minutes() -> None:
    with pytest.raises(DataError, match=r"it has 10\d\d scans of 8000 x 8000 pixels, which would take minutes"):
        decode_image(_many_scans(1000))


def test_a_small_jpeg_may_have_many_scans() -> None:
    data = _patched(_many_scans(200), b"\xff\xc2", 5, struct.pack(">HH", 16, 16))
    assert decode_image(data).pixels.shape == (16, 16, 3)


def test_a_bomb_takes_no_room_in_the_image_cache(tmp_path: Path) -> None:
    for name, make in HUGE.items():
        (tmp_path / name).write_bytes(make())
    sizes = picture_sizes(tmp_path, list(HUGE), short_side=32, kept=tmp_path / "sizes.npy", workers=1)
    assert not sizes.any()


@pytest.mark.parametrize("size", [MAX_BYTES + 1, 10**13])
def test_a_file_without_end_is_refused_before_it_is_read(tmp_path: Path, size: int) -> None:
    with (tmp_path / "a.jpg").open("wb") as file:
        file.truncate(size)  # a sparse file: it takes no room on the disk
    began = time.process_time()
    with pytest.raises(DataError, match="more than 500 MB"):
        read_image(tmp_path / "a.jpg")
    assert time.process_time() - began < 0.05


# ---- what is large and harmless -------------------------------------------------------------------------------------


def _pages(count: int) -> bytes:
    one = Image.new("L", (4, 4), 7)
    return saved(one, "TIFF", save_all=True, append_images=[one] * (count - 1))


ONE_OF_MANY = [(b"acTL", struct.pack(">II", 100_000, 0)), (b"fcTL", struct.pack(">5I2H2B", 0, 2, 1, 0, 0, 1, 1, 0, 0))]
COMMENT = b"\x21\xfe" + (b"\xff" + bytes(255)) * 40_000 + b"\0"

HARMLESS: dict[str, Callable[[], bytes]] = {
    "GIF of 100,000 pictures": lambda: _gif((2, 1), (2, 1), frames=100_000),
    "GIF with a comment of 10 MB": lambda: _gif((2, 1), (2, 1), COMMENT),
    "TIFF of 200 pages": lambda: _pages(200),
    "APNG that tells of 100,000 pictures": lambda: png((2, 1), 8, GREY, bytes(3), chunks=ONE_OF_MANY),
    "PNG whose pixels unpack to 60 MB more": lambda: png((2, 1), 8, GREY, bytes(60 * 2**20)),
    "JPEG with 18 MB of profiles": lambda: _with(segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(60_000)), 300),
    "JPEG whose EXIF tells the same bytes 2,700 times": lambda: _with(segment(0xE1, b"Exif\0\0" + _tags(2700, 65_000))),
    "JPEG whose index of pictures does": lambda: _with(segment(0xE2, b"MPF\0" + _tags(2700, 65_000))),
    "PNG whose EXIF does": lambda: png((2, 1), 8, GREY, bytes(3), chunks=[(b"eXIf", _tags(20_000, 500_000))]),
}


def _with(part: bytes, times: int = 1) -> bytes:
    """A JPEG with a segment many times."""
    first, *others = segments(_picture("JPEG"))
    return first[1] + part * times + b"".join(data for _, data in others)


def _tags(count: int, length: int) -> bytes:
    """A block of EXIF whose tags all claim the same half of it."""
    entries = b"".join(struct.pack("<HHII", 1000 + tag, 7, length // 2, 8) for tag in range(count))
    block = b"II*\0" + struct.pack("<IH", 8, count) + entries + bytes(4)
    return block + bytes(length - len(block))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is measured as Linux tells it")
@pytest.mark.parametrize("kind", HARMLESS)
def test_what_surrounds_a_picture_costs_neither_time_nor_memory(kind: str) -> None:
    data = HARMLESS[kind]()
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    before, began = _memory("VmRSS"), time.process_time()
    assert decode_image(data).pixels.shape[2] == 3
    assert time.process_time() - began < 2
    assert _memory("VmHWM") - before < 50


def test_a_directory_of_pages_that_leads_to_itself_ends() -> None:
    grey = np.arange(16, dtype=np.uint8).reshape(4, 4)
    data = tiff([grey.tobytes()], width=4, height=4, bits=8, photometric=1, samples=1, rows=4)
    directory = struct.unpack("<I", data[4:8])[0]
    looped = data[:-4] + struct.pack("<I", directory)  # where the place of the next page stands
    np.testing.assert_array_equal(decode_image(looped).pixels[:, :, 0], grey)


def test_an_unknown_chunk_is_passed_over() -> None:
    data = png((16, 16), 8, RGB, rows(SMALL), chunks=[(b"prVt", bytes(1000))] * 100)
    assert chunk(b"prVt", bytes(1000)) in data
    np.testing.assert_array_equal(decode_image(data).pixels, SMALL)
