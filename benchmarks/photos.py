"""Generated photos in contest layout, for benchmarks that need many: smooth textures, saved as JPEG."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from PIL import Image


def write_photos(
    root: Path, *, train: int, test: int, classes: int = 10, size: tuple[int, int] = (400, 267), quality: int = 90
) -> None:
    """Write train/<class>/*.jpg, test/*.jpg, test.csv and sample_submission.csv under `root`.

    Args:
        train, test: photos of each part.
        classes: which the training photos are dealt to in turn.
        size: width and height in pixels.
    """
    names = [f"class_{number:03d}" for number in range(classes)]
    random = np.random.default_rng(0)
    for number in range(train):
        name = names[number % classes]
        _write(root / "train" / name / f"{number:06d}.jpg", random, size, quality, hue=number % classes / classes)
    ids = [f"test_{number:06d}" for number in range(test)]
    for name in ids:
        _write(root / "test" / f"{name}.jpg", random, size, quality, hue=random.random())
    _write_csv(root / "test.csv", ["ID", "img_path"], [[name, f"./test/{name}.jpg"] for name in ids])
    share = [f"{1 / classes:.6f}"] * classes
    _write_csv(root / "sample_submission.csv", ["ID", *names], [[name, *share] for name in ids])


def _write(path: Path, random: np.random.Generator, size: tuple[int, int], quality: int, hue: float) -> None:
    """A texture whose mean colour tells its class, so that there is something to learn."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = 128 + 60 * np.cos(2 * np.pi * (hue + np.arange(3) / 3))
    coarse = np.clip(random.normal(colour, 40, (size[1] // 16, size[0] // 16, 3)), 0, 255).astype(np.uint8)
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(path, quality=quality)


def _write_csv(path: Path, header: list[str], rows: list[list[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
