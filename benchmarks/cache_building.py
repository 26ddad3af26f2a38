"""How fast the image cache is built: all of it, on all cores, over a plain loop of Pillow on one, one ratio.

python benchmarks/cache_building.py [--photos 200] [--short-side 224]
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from textures import write_textures

from automl_car.data.cache import build_cache
from automl_car.data.parallel import processors

ROUNDS = 3


def main() -> None:
    """Measure both ways in turn over the same files, and print the ratio of the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument("--short-side", type=int, default=224)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        names = write_textures(root, options.photos)
        times: dict[str, list[float]] = {"loop": [], "cache": []}
        for _ in range(ROUNDS):
            times["loop"].append(loop(root, names, options.short_side))
            times["cache"].append(build(root, names, options.short_side))
    plain, built = (1000 * statistics.median(measured) / options.photos for measured in times.values())
    print(f"{options.photos} photos of 1280 x 853 pixels to {options.short_side}, milliseconds a photo:")
    print(
        f"a loop of Pillow {plain:.1f}, the cache on {processors()} cores {built:.1f}: {plain / built:.1f} times faster"
    )


def loop(root: Path, names: list[str], short_side: int) -> float:
    """Seconds to open, convert and reduce each photo, as one would write it first."""
    began = time.perf_counter()
    for name in names:
        with Image.open(root / name) as image:
            scale = short_side / min(image.size)
            size = round(image.width * scale), round(image.height * scale)
            np.asarray(image.convert("RGB").resize(size, Image.Resampling.BICUBIC))
    return time.perf_counter() - began


def build(root: Path, names: list[str], short_side: int) -> float:
    """Seconds until a new cache is on the disk, with hashes, facts and checks."""
    began = time.perf_counter()
    build_cache(root, names, short_side=short_side, directory=root / "cache")
    seconds = time.perf_counter() - began
    shutil.rmtree(root / "cache")
    return seconds


if __name__ == "__main__":
    main()
