"""From a bundle to one ONNX file that predicts without automl-car: a journey like those of `pipeline`."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from automl_car.catalog.records import PluginSources
from automl_car.data.sources import find_sources
from automl_car.ensemble.bundle import Bundle
from automl_car.errors import BundleError, ConfigError
from automl_car.files import open_atomically
from automl_car.predicting import Model, load_model

TOLERANCE = 1e-3
_MOST_PHOTOS = 8
_GENERATED = ((180, 240), (97, 61), (400, 300))  # heights and widths


@dataclass(frozen=True)
class ExportedFile:
    """What an export leaves.

    Attributes:
        output: the file.
        size: of it, in bytes.
        photos: that it was checked with.
        difference: the largest one of their probabilities to those of the bundle.
    """

    output: Path
    size: int
    photos: int
    difference: float


def export(bundle: Path, output: Path, *, sources: PluginSources, check: Sequence[Path] = ()) -> ExportedFile:
    """Write a bundle as an ONNX file, which replaces an old one when it has said what the bundle says.

    All preprocessing is in it but one step: `automl-car predict` first reduces a photo whose short side is longer than
    the bundle's. Of a larger photo the file makes the square in one step, and its probabilities differ by that.

    Args:
        bundle: its folder.
        output: ending in .onnx.
        sources: of plugins.
        check: photos, folders and CSV files whose first photos are predicted both ways; without them, three generated
            pictures are.

    Raises:
        ConfigError: another ending, no such folder, or a package is missing.
        BundleError: the bundle cannot be exported, or the file says something else than it.
        DataError: a photo of `check` cannot be used.
    """
    from automl_car.training.export import export as write
    from automl_car.training.export import require_onnx, run
    from automl_car.training.exported import Exported, Pooling

    _check_output(output)
    require_onnx()
    model = load_model(bundle, sources, on_cpu=True)
    photos = _photos(model, check)
    fitted, calibration = model.bundle.fitted, model.bundle.fitted.calibration
    pooling = Pooling(
        fitted.temperatures, fitted.weights, fitted.pool == "geometric", calibration.temperature, calibration.uniform
    )
    network = Exported(model.predictor, pooling)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=output.parent) as folder:
        file = Path(folder) / output.name
        write(network, file, metadata=_metadata(model.bundle), about=_about(model.bundle))
        difference = _compare(model, photos, run(file, photos))
        size = file.stat().st_size
        with file.open("rb") as source, open_atomically(output) as target:
            shutil.copyfileobj(source, target)
    return ExportedFile(output, size, len(photos), difference)


def _check_output(path: Path) -> None:
    if path.suffix != ".onnx":
        raise ConfigError(f"`{path}` does not end in .onnx.", hint="name a file such as model.onnx with --output.")
    if not path.parent.is_dir():
        raise ConfigError(f"There is no folder `{path.parent}` for `{path.name}`.")


# ---- the check ------------------------------------------------------------------------------------------------------


def _photos(model: Model, paths: Sequence[Path]) -> list[NDArray[np.uint8]]:
    if not paths:
        return [_picture(*size) for size in _GENERATED]
    return [model.read(photo.path) for photo in islice(find_sources(paths), _MOST_PHOTOS)]


def _picture(height: int, width: int) -> NDArray[np.uint8]:
    """Smooth blots with some noise on them, as photos have; the same ones each time."""
    random = np.random.default_rng(height)
    blots = Image.fromarray(random.integers(0, 256, (6, 8, 3), np.uint8)).resize((width, height))
    return np.clip(np.array(blots) + random.normal(0, 8, (height, width, 3)), 0, 255).astype(np.uint8)


def _compare(model: Model, photos: Sequence[NDArray[np.uint8]], exported: NDArray[np.float64]) -> float:
    """The largest difference.

    Raises:
        BundleError: it is too large, or there are NaNs.
    """
    ours = [row for _, row, _ in model.batches(iter(photos), lambda photo: photo, 1)]
    difference = float(np.abs(np.concatenate(ours) - exported).max())
    if not difference <= TOLERANCE:
        raise BundleError(
            f"The exported file differs from the bundle by {difference:.2g} in a probability, more than {TOLERANCE:g}; "
            "no file is kept.",
            hint="a layer may behave otherwise in ONNX; with other versions of torch, onnxscript or onnxruntime it may "
            "not.",
        )
    return difference


# ---- what the file says of itself -----------------------------------------------------------------------------------


def _metadata(bundle: Bundle) -> dict[str, str]:
    return {
        "class_names": json.dumps(bundle.class_names, ensure_ascii=False),
        "automl_car": bundle.versions.get("automl-car", ""),
        "study": bundle.study,
        "log_loss": repr(bundle.measured.log_loss),
        "log_loss_standard_error": repr(bundle.measured.standard_error),
        "short_side": str(bundle.short_side),
    }


def _about(bundle: Bundle) -> str:
    return (
        f"{len(bundle.class_names)} classes, from the study {bundle.study}. Input: photos uint8 (N, H, W, 3), RGB, "
        "upright. Output: probabilities (N, C); class_names in the metadata is a JSON list of the columns. Reduce a "
        f"photo whose short side is longer than {bundle.short_side} pixels to that first, with Pillow's bicubic "
        "filter, as in training: without it, its probabilities differ a little."
    )
