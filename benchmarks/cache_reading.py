"""What it is worth to read photos from the image cache: an epoch from it and one that decodes each JPEG, one ratio.

python benchmarks/cache_reading.py [--photos 200] [--short-side 224]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from textures import write_textures

from automl_car.data.cache import build_cache

ROUNDS = 3


def main() -> None:
    """Read the same photos in the same random order both ways in turn, and print the ratio of the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument("--short-side", type=int, default=224)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        names = write_textures(root, options.photos)
        cache, _ = build_cache(root, names, short_side=options.short_side, directory=root / "cache")
        times: dict[str, list[float]] = {"decoded": [], "cached": []}
        for number in range(ROUNDS):
            order = np.random.default_rng(number).permutation(options.photos).tolist()
            times["decoded"].append(epoch(lambda row: decode(root / names[row]), order))
            times["cached"].append(epoch(lambda row: cache.image(row).copy(), order))  # a copy touches every pixel
    decoded, cached = (1000 * statistics.median(measured) for measured in times.values())
    print(f"an epoch over {options.photos} photos of 1280 x 853 pixels, milliseconds a photo:")
    print(
        f"decoding each {decoded:.2f}, from the cache at {options.short_side} pixels {cached:.3f}: "
        f"{decoded / cached:.0f} times faster"
    )


def decode(path: Path) -> NDArray[np.uint8]:
    """The photo as Pillow gives it."""
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))


def epoch(read: Callable[[int], NDArray[np.uint8]], order: list[int]) -> float:
    """Seconds a photo."""
    began = time.perf_counter()
    for row in order:
        read(row)
    return (time.perf_counter() - began) / len(order)


if __name__ == "__main__":
    main()
