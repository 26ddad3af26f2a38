"""From a bundle and photos to probabilities: for a person's file, and for a program that imports automl_car.

A journey like those of `pipeline`, and beside them: where a bundle is used, nothing of a search has to be loaded.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from automl_car.bundle_records import BundleNetwork
from automl_car.catalog.manager import Catalog, load_catalog
from automl_car.catalog.records import PluginSources
from automl_car.data.images import read_image, reduce_image, without_pillow_warnings
from automl_car.data.sources import find_sources
from automl_car.ensemble.bundle import Bundle, BundlePlugin
from automl_car.ensemble.bundle_files import read_bundle
from automl_car.ensemble.fitting import predict as pool_members
from automl_car.ensemble.prediction_file import check_output, prediction_file
from automl_car.errors import BundleError, DataError, PluginError
from automl_car.records import FloatArray

if TYPE_CHECKING:
    from automl_car.training.predictor import Predictor

T = TypeVar("T")
Photo = str | os.PathLike[str] | Image.Image | NDArray[np.uint8]
BATCH_SIZE = 32


class Model:
    """A bundle, ready to predict; `automl_car.load` makes it."""

    def __init__(self, bundle: Bundle, predictor: Predictor) -> None:
        self.bundle = bundle
        self.predictor = predictor

    @property
    def class_names(self) -> tuple[str, ...]:
        """Of the columns of all probabilities, in their order."""
        return self.bundle.class_names

    def predict(self, images: Iterable[Photo], *, batch_size: int = BATCH_SIZE) -> FloatArray:
        """Probabilities float64 (N, C); each row sums to 1.

        Args:
            images: paths, Pillow images, or arrays uint8 (H, W, 3) in RGB, of any size and in any mixture. They are
                read as they are needed, so a generator will do.
            batch_size: images that go through a network at a time.

        Raises:
            DataError: an image cannot be used; the message says which and why.
        """
        rows = [np.zeros((0, len(self.class_names)))]
        with without_pillow_warnings():
            for _, probabilities, broken in self.batches(enumerate(images), self._open, batch_size):
                if broken:
                    raise DataError(broken[min(broken)])
                rows.append(probabilities)
        return np.concatenate(rows)

    def batches(
        self, items: Iterator[T], open_photo: Callable[[T], NDArray[np.uint8]], batch_size: int
    ) -> Iterator[tuple[list[T], FloatArray, Mapping[int, str]]]:
        """The items, `batch_size` at a time, in memory that does not grow with their number.

        Args:
            open_photo: returns uint8 (H, W, 3), or raises a DataError; called in threads.

        Yields:
            Items, probabilities (b, C), and by place in them why a photo is broken; its row is the classes' shares.
        """
        from automl_car.training.device import helper_threads
        from automl_car.training.squares import square_batches

        predictor = self.predictor
        threads = helper_threads(predictor.device)
        for batch in square_batches(items, open_photo, predictor.squares, batch_size, threads=threads):
            probabilities = pool_members(self.bundle.fitted, predictor.logits(batch.pixels))
            probabilities[list(batch.broken)] = self.bundle.class_shares
            yield batch.items, probabilities, batch.broken

    def read(self, path: str | os.PathLike[str]) -> NDArray[np.uint8]:
        """The photo as it was in training: upright, RGB, reduced; uint8 (H, W, 3)."""
        return read_image(Path(path), short_side=self.bundle.short_side)

    def _open(self, numbered: tuple[int, Photo]) -> NDArray[np.uint8]:
        number, photo = numbered
        if isinstance(photo, str | os.PathLike):
            return self.read(photo)
        try:
            return reduce_image(_as_image(photo), short_side=self.bundle.short_side)
        except DataError as error:
            raise DataError(f"Image {number}, counted from 0, cannot be used: {error.message}.") from error


def _as_image(photo: Any) -> Image.Image:
    """A Pillow image of what `Model.predict` was given; DataError with the bare reason where it is none."""
    if isinstance(photo, Image.Image):
        return photo
    if not isinstance(photo, np.ndarray):
        raise DataError(f"it is a {type(photo).__name__}, and neither a path, a Pillow image nor an array")
    if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3 or not photo.size:
        raise DataError(f"it is an array {photo.dtype} {photo.shape}, and not uint8 (height, width, 3)")
    return Image.fromarray(photo)


def load_model(
    directory: Path,
    sources: PluginSources,
    *,
    on_cpu: bool = False,
    announce: Callable[[str], None] = lambda text: None,
) -> Model:
    """Read a bundle, check every file of it, and build its networks.

    Args:
        directory: the bundle.
        sources: plugins that are loaded besides the bundled and the installed ones.
        on_cpu: also where there is a GPU, which computes in fewer digits.
        announce: is told of each plugin that does not come with automl-car before its code runs.

    Raises:
        BundleError: it is not there, damaged, or of another format.
        PluginError: the plugin of a network is missing or another one.
    """
    from automl_car.training.device import pick_device, prepare
    from automl_car.training.predictor import Predictor
    from automl_car.training.rows import CPU

    bundle, files = read_bundle(directory)
    catalog = load_catalog(sources, announce=announce)
    for plugin in bundle.plugins:
        _require(plugin, catalog, directory)
    for member in bundle.members:
        for network in member.networks:
            _refuse_undeclared(network, catalog, directory)
    device = CPU if on_cpu else pick_device()
    prepare(device)
    return Model(bundle, Predictor(bundle.members, len(bundle.class_names), files.read, catalog, device))


def _require(plugin: BundlePlugin, catalog: Catalog, directory: Path) -> None:
    hint = f"install `{plugin.location}` {plugin.version}."
    if plugin.file:
        copy = directory / plugin.file
        hint = f"the bundle has a copy: read `{copy}`, and if you trust it, pass `--plugin {copy}`."
    elif plugin.origin == "bundled":
        hint = "it came with the version of automl-car that made the bundle; bundle.json names it."
    for name in plugin.backbones:
        what = f"The bundle `{directory}` needs the backbone `{name}` of the plugin `{plugin.name}` ({plugin.origin}"
        what += f", version {plugin.version})" if plugin.version else ")"
        if name not in catalog.backbones:
            broken = [row for row in catalog.plugins if row.name == plugin.name and row.error]
            why = f"which cannot be loaded: {broken[0].error}" if broken else "which is not loaded."
            raise PluginError(f"{what}, {why}", hint=hint)
        found = catalog.version_of(name)
        if plugin.origin != "bundled" and found != plugin.version:
            raise PluginError(f"{what}, and the one that is loaded has version {found or 'of automl-car'}.", hint=hint)


def _refuse_undeclared(network: BundleNetwork, catalog: Catalog, directory: Path) -> None:
    """A stranger's bundle sets what the plugin offers to be set, and no other argument of its `build`."""
    known = {param.name for param in catalog.backbone(network.backbone).params}
    for name, value in network.params:
        if name not in known or not isinstance(value, bool | int | float | str):
            raise BundleError(
                f"The bundle `{directory}` sets `{name}` of `{network.backbone}` to {value!r}, and its plugin declares "
                f"no such parameter.",
                hint="bundle.json names the versions that the bundle was made with; install those.",
            )


# ---- the journey ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Predicted:
    """What a prediction leaves: the file, how many photos are in it, and how many of those could not be decoded."""

    output: Path
    photos: int
    broken: int


def predict(
    bundle: Path,
    paths: Sequence[Path],
    output: Path,
    *,
    sources: PluginSources,
    batch_size: int = BATCH_SIZE,
    progress: Callable[[int, int], None],
    warn: Callable[[str], None],
    announce: Callable[[str], None] = lambda text: None,
) -> Predicted:
    """Predict photos into a file, which replaces an old one when it is complete.

    Args:
        bundle: its folder.
        paths: photos, folders and CSV files; see `data.sources`.
        output: .csv or .parquet.
        sources: of plugins.
        batch_size: photos that go through a network at a time.
        progress: called with (photos done, photos in all) after each batch.
        warn: called with a sentence for each photo that cannot be decoded.
        announce: called with a sentence for each plugin that does not come with automl-car, before its code runs.

    Raises:
        AutomlCarError: the bundle, a plugin or the input is wrong; nothing was written.
    """
    check_output(output)
    total = sum(1 for _ in find_sources(paths))
    if not total:
        raise DataError(f"There are no rows in {', '.join(str(path) for path in paths)}.")
    model = load_model(bundle, sources, announce=announce)
    done = broken = 0
    with prediction_file(output, model.bundle.form) as write, without_pillow_warnings():
        for photos, probabilities, reasons in model.batches(
            find_sources(paths), lambda photo: model.read(photo.path), batch_size
        ):
            write([photo.id for photo in photos], probabilities)
            for place in sorted(reasons):
                warn(f"{reasons[place].removesuffix('.')}; its row holds the classes' shares.")
            done, broken = done + len(photos), broken + len(reasons)
            progress(done, max(total, done))
    return Predicted(output, done, broken)
