"""Mutated image files, each made from its seed alone, and a process that decodes them: see `test_fuzz_photos`.

    python fuzz_photos.py FIRST COUNT

decodes the files of the seeds FIRST … FIRST + COUNT - 1 and prints what came of it as JSON. The seed in hand is on
stderr before it is decoded, so that a crash or a hang in a codec names the file that caused it.
"""

from __future__ import annotations

import faulthandler
import json
import random
import re
import struct
import sys
import time
import warnings
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter, features

from automl_car.data.duplicates import difference_hash
from automl_car.data.images import decode_image
from automl_car.errors import DataError

HANGS_AFTER = 20  # seconds
INTERESTING = (0, 1, 2, 3, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def valid_files() -> dict[str, bytes]:
    """A small photo in every format and coding that Pillow here can write; the same bytes in every run."""
    noise = np.random.default_rng(5).integers(0, 256, (12, 16, 4), dtype=np.uint8)
    rgba = Image.fromarray(noise).resize((56, 40), Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(1))
    rgb, grey = rgba.convert("RGB"), rgba.convert("L")
    exif = Image.Exif()
    exif[0x0112], exif[0x010E], exif[0x8769] = 6, "a photo", {0x9003: "2024:01:01 00:00:00"}
    kinds: dict[str, tuple[Image.Image, str, dict[str, object]]] = {
        "jpeg": (rgb, "JPEG", {"exif": exif, "icc_profile": bytes(500)}),
        "progressive": (rgb, "JPEG", {"progressive": True}),
        "grey jpeg": (grey, "JPEG", {"restart_marker_rows": 1}),
        "cmyk jpeg": (rgb.convert("CMYK"), "JPEG", {}),
        "mpo": (rgb, "MPO", {"save_all": True, "append_images": [rgb]}),
        "png": (rgb, "PNG", {"exif": exif}),
        "rgba png": (rgba, "PNG", {}),
        "palette png": (rgb.quantize(16), "PNG", {"transparency": 3}),
        "16-bit png": (Image.fromarray(np.asarray(grey).astype(np.uint16) * 257), "PNG", {}),
        "1-bit png": (grey.convert("1"), "PNG", {}),
        "apng": (rgb, "PNG", {"save_all": True, "append_images": [rgb.rotate(90)]}),
        "gif": (rgb.quantize(64), "GIF", {"save_all": True, "append_images": [grey], "comment": b"a photo"}),
        "bmp": (rgb, "BMP", {}),
        "palette bmp": (rgb.quantize(16), "BMP", {}),
        "tiff": (rgb, "TIFF", {"tiffinfo": {0x0112: 6}}),
        "lzw tiff": (rgba, "TIFF", {"compression": "tiff_lzw"}),
        "jpeg tiff": (rgb, "TIFF", {"compression": "jpeg"}),
        "deflate tiff": (grey, "TIFF", {"compression": "tiff_adobe_deflate"}),
        "fax tiff": (grey.convert("1"), "TIFF", {"compression": "group4"}),
        "webp": (rgb, "WEBP", {"exif": exif}),
        "lossless webp": (rgba, "WEBP", {"lossless": True}),
        "animated webp": (rgb, "WEBP", {"save_all": True, "append_images": [rgb.rotate(90)]}),
    }
    if features.check("avif"):
        kinds["avif"] = rgb, "AVIF", {"exif": exif, "max_threads": 1}
    if features.check("jpg_2000"):
        kinds["jpeg 2000"] = rgb, "JPEG2000", {}
    return {name: _saved(*kind) for name, kind in kinds.items()}


def _saved(picture: Image.Image, kind: str, options: dict[str, object]) -> bytes:
    file = BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


# ---- mutations ------------------------------------------------------------------------------------------------------


def mutated(seed: int, files: dict[str, bytes]) -> tuple[str, bytes]:
    """The name of the file that seed `seed` begins with, and its bytes after one to four mutations."""
    dice = random.Random(seed)
    name = sorted(files)[seed % len(files)]
    data = bytearray(files[name])
    for _ in range(dice.choice((1, 1, 2, 4))):
        dice.choice(MUTATIONS)(data, dice, files)
    return name, bytes(data)


def _flip(data: bytearray, dice: random.Random, files: dict[str, bytes]) -> None:
    for _ in range(dice.choice((1, 2, 8, 32))):
        if data:
            data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)


def _cut(data: bytearray, dice: random.Random, files: dict[str, bytes]) -> None:
    del data[dice.randrange(len(data) + 1) :]


def _lose(data: bytearray, dice: random.Random, files: dict[str, bytes]) -> None:
    start = dice.randrange(len(data) + 1)
    del data[start : start + dice.randrange(1, 64)]


def _splice(data: bytearray, dice: random.Random, files: dict[str, bytes]) -> None:
    """A piece of any file over, or between, what was there."""
    other = files[dice.choice(sorted(files))]
    start, length, place = dice.randrange(len(other)), dice.randrange(1, 200), dice.randrange(len(data) + 1)
    data[place : place + length * dice.randrange(2)] = other[start : start + length]


def _number(data: bytearray, dice: random.Random, files: dict[str, bytes]) -> None:
    """A number of the header becomes one of those that sizes and counts overflow at."""
    code = dice.choice(("B", ">H", "<H", ">I", "<I"))
    size = struct.calcsize(code)
    if len(data) > size:
        place = dice.randrange(min(len(data) - size, 200))
        struct.pack_into(code, data, place, dice.choice(INTERESTING) & (256**size - 1))


def _repeat(data: bytearray, dice: random.Random, files: dict[str, bytes]) -> None:
    """A chunk, from one marker to the next, many times."""
    marks = [found.start() for found in re.finditer(rb"\xff[\xc0-\xfe]|[A-Za-z]{4}|\x21[\xf9\xfe\xff]", data)]
    if len(marks) > 1:
        at = dice.randrange(len(marks) - 1)
        data[marks[at] : marks[at]] = data[marks[at] : marks[at + 1]] * dice.choice((1, 2, 50))


Mutation = Callable[[bytearray, random.Random, "dict[str, bytes]"], None]
MUTATIONS: tuple[Mutation, ...] = (_flip, _flip, _cut, _lose, _splice, _number, _number, _repeat)


# ---- the process ----------------------------------------------------------------------------------------------------


def main(first: int, count: int) -> None:
    """Decode the files and print the counts."""
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # as where photos are prepared
    files = valid_files()
    for data in files.values():
        decode_image(data)
    came = {"decoded": 0, "refused": 0}
    slowest, before = (0.0, -1), None
    for seed in range(first, first + count):
        if seed == first + min(count // 4, 1000):  # codecs have made their tables by now, the heap has its shape
            before = _memory("VmRSS")
        name, data = mutated(seed, files)
        print(f"\rseed {seed}, of {name}", end="", file=sys.stderr, flush=True)
        faulthandler.dump_traceback_later(HANGS_AFTER, exit=True)
        began = time.perf_counter()
        try:
            image = decode_image(data, short_side=32 if seed % 2 else None)
            assert image.pixels.dtype == np.uint8
            assert image.pixels.ndim == 3
            assert image.pixels.shape[2] == 3
            difference_hash(image.pixels)
            came["decoded"] += 1
        except DataError:
            came["refused"] += 1
        slowest = max(slowest, (time.perf_counter() - began, seed))
    faulthandler.cancel_dump_traceback_later()
    assert before is not None
    growth, peak = _memory("VmRSS") - before, _memory("VmHWM") - before
    seconds, seed = slowest
    print(json.dumps({**came, "slowest": seconds, "slowest_seed": seed, "growth_mb": growth, "peak_mb": peak}))


def _memory(field: str) -> float:
    """Megabytes of this process, by a line of /proc/self/status."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) / 1000


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
