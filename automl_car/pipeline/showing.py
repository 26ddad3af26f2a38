"""A sheet of what an augmentation does to real photos: those of the workspace, or generated ones."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from automl_car.catalog.params import default_values
from automl_car.catalog.records import Augmentation
from automl_car.config import Config
from automl_car.data.images import read_image
from automl_car.data.sample import write_sample
from automl_car.errors import DataError
from automl_car.pipeline.reading import workspace_photos
from automl_car.records import Dataset
from automl_car.report.fonts import choose_lettering
from automl_car.report.picture_rows import picture_rows
from automl_car.training.examples import augmented
from automl_car.workspace import Workspace

PHOTOS, SEEDS, SIDE = 6, 6, 224  # rows, pictures of each, and their side in pixels
Picture = NDArray[np.uint8]


def augmentation_sheet(
    workspace: Workspace, config: Config, augmentation: Augmentation, note: Callable[[str], None]
) -> bytes:
    """A JPEG with a row for each of six photos of different classes: the photo, and what six seeds make of it.

    Args:
        note: is told when the photos are not the workspace's.

    Raises:
        PluginError: the augmentation raises.
    """
    photos = _photos(workspace, config, note)
    made = augmented(augmentation, photos, side=SIDE, count=SEEDS)
    values = ", ".join(f"{name} {value}" for name, value in default_values(augmentation.params).items())
    title = f"{augmentation.name}{f' ({values})' if values else ''} at {SIDE} px"
    columns = ("photo", *(f"seed {number}" for number in range(1, SEEDS + 1)))
    return picture_rows(title, photos, made, choose_lettering((title,)).font, columns=columns)


def _photos(workspace: Workspace, config: Config, note: Callable[[str], None]) -> tuple[Picture, ...]:
    """As the image cache has them: upright RGB, the short side at most `SIDE`."""
    try:
        found = tuple(_some(workspace_photos(workspace, config)))
        if found:
            return found
        reason = "none of its photos can be decoded"
    except DataError as error:
        reason = error.message
    note(f"photos of fictional cars, as the workspace has none to show: {reason}")
    return _generated()


def _some(dataset: Dataset) -> Iterator[Picture]:
    """The first photo that can be decoded of each of some classes, which are spread over all."""
    wanted = np.unique(np.linspace(0, dataset.num_classes - 1, PHOTOS).astype(int))
    for label in wanted:
        paths = (path for path, own in zip(dataset.train_paths, dataset.labels, strict=True) if own == label)
        picture = next((picture for path in paths if (picture := _decoded(dataset.root / path)) is not None), None)
        if picture is not None:
            yield picture


def _decoded(path: Path) -> Picture | None:
    try:
        return read_image(path, short_side=SIDE)
    except DataError:  # a broken photo; `automl-car check` tells of those
        return None


def _generated() -> tuple[Picture, ...]:
    with tempfile.TemporaryDirectory(prefix="automl-car-") as folder:
        write_sample(Path(folder) / "sample", train_per_class=1, test_per_class=1, image_size=SIDE)
        paths = sorted(Path(folder).glob("sample/train/*/*.jpg"))
        return tuple(read_image(path, short_side=SIDE) for path in paths[:: max(1, len(paths) // PHOTOS)][:PHOTOS])
