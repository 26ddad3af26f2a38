"""Photos to measure with: random textures, 1280 x 853 pixels, whose JPEGs take 230 kB as those of photos do."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 1280, 853
DIFFERENT = 20  # drawing takes longer than what is measured; the rest are copies of these


def write_textures(directory: Path, count: int) -> list[str]:
    """Write the photos and return their names."""
    names = [f"{number}.jpg" for number in range(count)]
    for number, name in enumerate(names):
        if number < DIFFERENT:
            texture(number).save(directory / name, quality=90)
        else:
            shutil.copy(directory / names[number % DIFFERENT], directory / name)
    return names


def texture(seed: int) -> Image.Image:
    """Noise in octaves that get weaker as they get finer, as in pictures of the world, and a camera's noise on top."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((HEIGHT, WIDTH, 3))
    for cells in (4, 8, 16, 32, 64, 128, 256, 512):
        noise = rng.integers(0, 256, (2 * cells // 3, cells, 3), dtype=np.uint8)
        layer = Image.fromarray(noise).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        picture += (np.asarray(layer) - 127.5) / cells**0.75
    picture = 120 + 55 * picture / picture.std() + rng.normal(0, 5, picture.shape)
    return Image.fromarray(picture.clip(0, 255).astype(np.uint8))
