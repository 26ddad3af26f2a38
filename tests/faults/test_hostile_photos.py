"""Rows 17 to 20 of the fault matrix, as a person meets them: one of every hostile file among the photos of a search.

All are listed with their reasons, the search and its submission come out, and a bundle predicts the same files.
"""

from __future__ import annotations

import csv
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from fault_scene import Scene
from PIL import Image, ImageFilter

REFUSED = {
    "bomb.jpg": "it has 65535 x 65535 pixels, more than 100 million",
    "bomb.png": "it has 20000 x 10000 pixels, more than 100 million",
    "empty.jpg": "it is empty (0 bytes)",
    "endless.jpg": "it has more than 500 MB",
    "gone.jpg": "it is a link to a missing file",
    "half.jpg": "it cannot be decoded",
    "half.png": "it cannot be decoded",
    "half.webp": "it cannot be decoded",
    "loop.jpg": "it cannot be read (a link that leads to itself)",
    "page.jpg": "it is not an image of a known format; it begins with '<html>",
    "photo.heic": "it is of the format HEIC",
    "pipe.jpg": "it is a pipe or a device, not a file",
    "scans.jpg": "scans of 8000 x 8000 pixels, which would take minutes",
    "texts.png": "it cannot be decoded (Too much memory used in text chunks",
}
TAKEN = ("alpha.png", "bits.png", "cmyk.jpg", "deep.png", "moving.gif", "moving.webp", "really_png.jpg", "turned.jpg")


def _picture(seed: int) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return Image.fromarray(noise).filter(ImageFilter.GaussianBlur(1)).resize((48, 36), Image.Resampling.BICUBIC)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _png(width: int, height: int, *chunks: bytes) -> bytes:
    """A grey PNG; its pixels are there for the first line only."""
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    pixels = _chunk(b"IDAT", zlib.compress(bytes(width + 1)))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + pixels + _chunk(b"IEND", b"")


def _add_refused(folder: Path) -> None:
    for name in ("half.jpg", "half.png", "half.webp"):
        _picture(1).save(folder / name)
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: len(whole) // 2])
    _picture(1).save(folder / "scans.jpg", progressive=True)
    whole = (folder / "scans.jpg").read_bytes()
    size, last = whole.index(b"\xff\xc2") + 5, whole[whole.rindex(b"\xff\xda") : -2]
    many = whole[:-2] + last * 1000 + b"\xff\xd9"
    (folder / "scans.jpg").write_bytes(many[:size] + struct.pack(">HH", 8000, 8000) + many[size + 4 :])
    (folder / "bomb.jpg").write_bytes(whole[:size] + b"\xff" * 4 + whole[size + 4 :])
    (folder / "bomb.png").write_bytes(_png(20_000, 10_000))
    (folder / "texts.png").write_bytes(_png(8, 1, *[_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**20)))] * 60))
    (folder / "empty.jpg").touch()
    (folder / "page.jpg").write_text("<html>404</html>", encoding="utf-8")
    (folder / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    (folder / "gone.jpg").symlink_to("nowhere.jpg")
    (folder / "loop.jpg").symlink_to("loop.jpg")
    os.mkfifo(folder / "pipe.jpg")
    with (folder / "endless.jpg").open("wb") as file:
        file.truncate(10**12)


def _add_taken(folder: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    grey = np.asarray(_picture(2).convert("L")).astype(np.uint16)
    Image.fromarray(grey * 257).save(folder / "deep.png")
    _picture(3).convert("RGBA").save(folder / "alpha.png")
    _picture(4).convert("1").save(folder / "bits.png")
    _picture(5).convert("CMYK").save(folder / "cmyk.jpg")
    _picture(6).save(folder / "moving.gif", save_all=True, append_images=[_picture(7)])
    _picture(8).save(folder / "moving.webp", save_all=True, append_images=[_picture(9)])
    _picture(10).save(folder / "really_png.jpg", "PNG")
    _picture(11).save(folder / "turned.jpg", exif=exif)


def _rows(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.reader(file))


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="pipes and links of Unix")
def test_a_search_and_a_prediction_go_on_over_one_of_every_hostile_file(scene: Scene) -> None:
    data = scene.root / "data"
    train = data / "train" / "van"
    _add_refused(train)
    _add_taken(train)
    _add_refused(data / "test")
    _add_taken(data / "test")
    for name in ("gone.jpg", "loop.jpg"):  # what test.csv lists has to be there
        (data / "test" / name).unlink()
    tests = sorted(path.name for path in (data / "test").iterdir())
    lines = [f"{name},test/{name}" for name in tests]
    (data / "test.csv").write_text("\n".join(["ID,img_path", *lines, ""]), encoding="utf-8")
    rows = [f"{name},0,0,0" for name in tests]
    (data / "sample_submission.csv").write_text("\n".join(["ID,van,coupe,hatchback", *rows, ""]), encoding="utf-8")

    assert scene.run() == 0, scene.output
    assert "14 training photos cannot be decoded and are left out: " in scene.output
    assert "12 test photos cannot be decoded; their answer is the classes' shares: `test/bomb.jpg`" in scene.output
    header, *quarantined = _rows(scene.store / "quarantine.csv")
    assert header == ["path", "reason"]
    assert [row[0] for row in quarantined] == [f"train/van/{name}" for name in sorted(REFUSED)]
    assert all(REFUSED[Path(path).name] in reason for path, reason in quarantined), quarantined
    shares = np.array([20, 12, 12]) / 44  # of van, coupe and hatchback, in the sample's order
    broken = [tests.index(name) for name in REFUSED if name in tests]
    np.testing.assert_allclose(scene.probabilities()[broken], np.tile(shares, (len(broken), 1)), atol=1e-3)

    assert scene.run("bundle", "--output", str(scene.root / "bundle")) == 0, scene.output
    files = sorted(path for path in (data / "test").iterdir() if path.name not in ("gone.jpg", "loop.jpg"))
    output = scene.root / "predictions.csv"
    plugin = ["--plugin", str(scene.root / "toy_networks.py")]
    arguments = ["predict", *map(str, files), "--bundle", str(scene.root / "bundle"), "--output", str(output), *plugin]
    assert scene.run(*arguments) == 0, scene.output
    predicted = _rows(output)
    assert [row[0] for row in predicted[1:]] == [str(file) for file in files]
    found = np.array([row[1:] for row in predicted[1:]], dtype=float)
    np.testing.assert_allclose(found[broken], np.tile(shares, (len(broken), 1)), atol=1e-6)
    for name in REFUSED:
        if name in tests:
            assert f"{data / 'test' / name}` cannot be used: " in " ".join(scene.output.split()), name
    assert "Warning" not in scene.output
    assert "Traceback" not in scene.output
