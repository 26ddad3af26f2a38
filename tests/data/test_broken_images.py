"""Rows 17, 18 and 20 of the fault matrix: what is broken or no file is refused with its reason, and nothing waits.

A file that ends too early is refused, or gives the whole picture: never one that is grey in part.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from photo_bytes import saved
from PIL import Image, ImageFilter, features

from automl_car.data.cache import build_cache
from automl_car.data.images import decode_image, read_image
from automl_car.errors import DataError


def _photo() -> Image.Image:
    noise = np.random.default_rng(5).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((56, 40), Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(1))


KINDS: dict[str, Callable[[], bytes]] = {
    "JPEG": lambda: saved(_photo(), "JPEG"),
    "progressive JPEG": lambda: saved(_photo(), "JPEG", progressive=True),
    "CMYK JPEG": lambda: saved(_photo().convert("CMYK"), "JPEG"),
    "MPO": lambda: saved(_photo(), "MPO", save_all=True, append_images=[_photo()]),
    "PNG": lambda: saved(_photo(), "PNG"),
    "palette PNG": lambda: saved(_photo().quantize(16), "PNG"),
    "GIF": lambda: saved(_photo().quantize(16), "GIF"),
    "BMP": lambda: saved(_photo(), "BMP"),
    "TIFF": lambda: saved(_photo(), "TIFF"),
    "LZW TIFF": lambda: saved(_photo(), "TIFF", compression="tiff_lzw"),
    "JPEG TIFF": lambda: saved(_photo(), "TIFF", compression="jpeg"),
    "fax TIFF": lambda: saved(_photo().convert("1"), "TIFF", compression="group4"),
    "WebP": lambda: saved(_photo(), "WEBP"),
    "lossless WebP": lambda: saved(_photo(), "WEBP", lossless=True),
    "animated WebP": lambda: saved(_photo(), "WEBP", save_all=True, append_images=[_photo().rotate(90)]),
}
if features.check("avif"):
    KINDS["AVIF"] = lambda: saved(_photo(), "AVIF", max_threads=1)
if features.check("jpg_2000"):
    KINDS["JPEG 2000"] = lambda: saved(_photo(), "JPEG2000")


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_cut_anywhere_is_refused_or_gives_the_whole_picture(kind: str) -> None:
    data = KINDS[kind]()
    whole = decode_image(data).pixels
    step = max(1, len(data) // 200)
    for end in sorted({*range(0, len(data), step), *range(max(0, len(data) - 40), len(data)), *range(180, 240)}):
        try:
            found = decode_image(data[:end]).pixels
        except DataError:
            continue
        np.testing.assert_array_equal(found, whole, f"the first {end} of {len(data)} bytes")


@pytest.mark.parametrize("kind", KINDS)
def test_half_of_a_file_is_refused(kind: str) -> None:
    data = KINDS[kind]()
    with pytest.raises(DataError):
        decode_image(data[: len(data) // 2 - 20])  # the two halves of an MPO are a picture each


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", r"empty \(0 bytes\)"),
        (bytes(5000), "not an image of a known format"),
        (b"<!DOCTYPE html><html><body>404 Not Found</body></html>", "<!DOCTYPE"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 132\n", "version http"),
        (b"\xff\xd8\xff", "."),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "<svg xmlns="),
        (b"%PDF-1.7", "%PDF-1.7"),
        (b"PK\x03\x04" + bytes(100), "PK"),
    ],
)
def test_what_is_no_image_is_refused_with_its_first_bytes(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(DataError, match=reason):
        read_image(path)


def _loop(path: Path) -> None:
    path.symlink_to(path.with_name("b.jpg"))
    path.with_name("b.jpg").symlink_to(path)


NO_FILES: dict[str, tuple[Callable[[Path], None], str]] = {
    "a folder": (lambda path: path.mkdir(), "it is a folder"),
    "a pipe": (os.mkfifo, "it is a pipe or a device"),
    "a device that never ends": (lambda path: path.symlink_to("/dev/zero"), "it is a pipe or a device"),
    "a terminal": (lambda path: path.symlink_to("/dev/tty"), "it is a pipe or a device"),
    "a dangling link": (lambda path: path.symlink_to("nowhere"), "a link to a missing file"),
    "a link to itself": (lambda path: path.symlink_to(path), "a link that leads to itself"),
    "two links to each other": (_loop, "a link that leads to itself"),
    "a link to a folder": (lambda path: path.symlink_to("."), "it is a folder"),
}


if Path("/proc/uptime").exists():  # it has 0 bytes, but something to read; others there never end
    NO_FILES["a file of the system"] = lambda path: path.symlink_to("/proc/uptime"), "it is empty"


@pytest.mark.skipif(os.name == "nt", reason="pipes and devices of Unix")
@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    make, reason = NO_FILES[kind]
    make(tmp_path / "a.jpg")
    began = time.monotonic()
    with pytest.raises(DataError, match=reason):
        read_image(tmp_path / "a.jpg")
    assert time.monotonic() - began < 2


@pytest.mark.skipif(os.name == "nt", reason="pipes and devices of Unix")
def test_the_image_cache_lists_each_of_them_with_its_reason(tmp_path: Path) -> None:
    names = []
    for number, (make, _) in enumerate(NO_FILES.values()):
        (tmp_path / str(number)).mkdir()
        make(tmp_path / str(number) / "a.jpg")
        names.append(f"{number}/a.jpg")
    _photo().save(tmp_path / "good.jpg")
    cache, problems = build_cache(
        tmp_path, [*names, "good.jpg"], short_side=16, directory=tmp_path / "cache", workers=1
    )
    assert [problem.path for problem in problems] == names
    assert all(reason in problem.reason for problem, (_, reason) in zip(problems, NO_FILES.values(), strict=True)), (
        problems
    )
    assert cache.image(len(names)).shape == (16, 22, 3)
