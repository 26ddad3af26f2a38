"""Features of a frozen backbone, computed once per (backbone, weights, size) and shared by all trials and processes.

    <cache>/features/<key>/train.npy   float16 (V, N, D): V views of each training photo
                           test.npy    float16 (V, T, D)
View 0 is the photo, view 1 its mirror image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from automl_car.catalog.records import Backbone, own_values
from automl_car.data.prepare import Prepared
from automl_car.errors import DivergedError
from automl_car.files import complete_folder, save_array
from automl_car.records import Recipe, fingerprint
from automl_car.training.device import autocast
from automl_car.training.model import build_model, feature_extractor
from automl_car.training.photos import evaluation_batches, normalise

_VERSION = 1  # raise it when the pictures or the views change
_BATCH = 32
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Features:
    """train: float16 (V, N, D), test: float16 (V, T, D), both memory-mapped and read-only."""

    train: NDArray[np.float16]
    test: NDArray[np.float16]


def frozen_features(
    backbone: Backbone, recipe: Recipe, prepared: Prepared, cache: Path, device: torch.device, progress: Progress
) -> Features:
    """Read the features of `recipe`'s backbone and size from the cache, or compute them.

    `progress(done, total)` is called per batch of photos; what it raises ends the computation.

    Raises:
        DivergedError: the backbone gives features that are not finite in half precision.
    """
    directory = cache / "features" / _key(backbone, recipe, prepared)
    if not directory.is_dir():
        _write_features(directory, backbone, recipe, prepared, device, progress)
    return Features(np.load(directory / "train.npy", mmap_mode="r"), np.load(directory / "test.npy", mmap_mode="r"))


def _key(backbone: Backbone, recipe: Recipe, prepared: Prepared) -> str:
    return fingerprint(
        {
            "version": _VERSION,
            "photos": prepared.photos_key,
            "backbone": backbone.name,
            "source": backbone.source,
            "params": own_values(backbone.name, dict(recipe.params)),
            "weights": recipe.weights_digest or recipe.weights,
            "size": recipe.image_size,
            "normalisation": [backbone.mean, backbone.std, backbone.interpolation],
            # Random weights depend on the seed; pretrained ones do not, and serve every seed.
            "seed": recipe.seed if recipe.weights == "random" else None,
        }
    )


def _write_features(
    directory: Path, backbone: Backbone, recipe: Recipe, prepared: Prepared, device: torch.device, progress: Progress
) -> None:
    torch.manual_seed(recipe.seed)
    num_classes = prepared.dataset.num_classes
    model = feature_extractor(build_model(backbone, recipe, num_classes), num_classes)
    model = model.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    train, test = len(prepared.dataset.train_paths), len(prepared.dataset.test_paths)
    done = 0

    def run(pick: Callable[[int], NDArray[np.uint8]], rows: int) -> NDArray[np.float16]:
        nonlocal done
        parts: list[NDArray[np.float16]] = []
        for batch in evaluation_batches(pick, range(rows), recipe.image_size, backbone.interpolation, _BATCH):
            images = normalise(batch, backbone.mean, backbone.std, device)
            views = torch.stack(list(_views(model, images, device))).half()  # (V, B, D)
            if not torch.isfinite(views).all():
                raise DivergedError(f"Features of `{backbone.name}` at {recipe.image_size} px are not finite numbers.")
            parts.append(views.cpu().numpy())
            done += len(batch)
            progress(done, train + test)
        return np.concatenate(parts, axis=1) if parts else np.zeros((2, 0, 1), np.float16)

    arrays = {"train.npy": run(prepared.train_image, train), "test.npy": run(prepared.test_image, test)}
    with complete_folder(directory) as temporary:
        for name, array in arrays.items():
            save_array(temporary / name, array)


def _views(model: nn.Module, images: Tensor, device: torch.device) -> Iterator[Tensor]:
    """Features float32 (B, D) of the photos and of their mirror images."""
    with torch.inference_mode(), autocast(device):
        yield model(images).float()
        yield model(images.flip(3)).float()
