"""A glance at some of the photos: how large they are, and how long reading all of them will take."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from automl_car.data.images import DecodedImage, decode_image
from automl_car.data.ordinary import read_bytes
from automl_car.data.parallel import in_order, processors
from automl_car.errors import DataError

_LOOKED_AT = 64  # photos, spread evenly over all


@dataclass(frozen=True)
class Survey:
    """What a sample of the photos says about all of them.

    Attributes:
        short_side: median of the photos' smaller sides in pixels; 0 when none could be read.
        seconds: to decode all photos once.
        bytes: that they take as pixels, reduced.
    """

    short_side: int
    seconds: float
    bytes: int


def survey_photos(root: Path, paths: Sequence[str], *, short_side: int) -> Survey:
    """Decode some photos as the image cache does, and scale up.

    Args:
        root: folder that `paths` are relative to.
        short_side: that larger photos are reduced to.
    """
    some = [root / paths[place] for place in range(0, len(paths), max(1, len(paths) // _LOOKED_AT))]
    began = time.perf_counter()
    decoded = list(in_order(partial(_decode, short_side), some, processors()))
    seconds = time.perf_counter() - began
    images = [image for image in decoded if image is not None]
    if not images:
        return Survey(0, 0.0, 0)
    factor = len(paths) / len(images)
    return Survey(
        int(statistics.median(min(image.size) for image in images)),
        seconds * factor,
        round(sum(image.pixels.nbytes for image in images) * factor),
    )


def _decode(short_side: int, path: Path) -> DecodedImage | None:
    try:
        return decode_image(read_bytes(path), short_side=short_side)
    except DataError:  # the search itself will name it
        return None
