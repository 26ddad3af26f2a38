"""Features of a frozen backbone, computed once per (backbone, weights, size, view) for all trials and processes.

    <cache>/features/<key>/<view>/train.npy   float16 (N, D)
                                  test.npy    float16 (T, D)
                                  sha256.txt  their checksums, which each process compares once
                            unfinished/       what an interrupted computation has left, see `parts`
`views` says which views there are; one that is asked for later costs itself and no other. A view's folder is complete,
because it gets its name when everything is on the disk; what is damaged is computed again. Of several processes that
need the same features at once, one computes them. Comparing the checksums of 33,000 photos' features (85 MB a view)
takes 0.06 s once a process.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from automl_car.catalog.params import own_values
from automl_car.catalog.records import Backbone
from automl_car.data.prepare import Prepared
from automl_car.data.sealed import check_seal, seal
from automl_car.errors import DivergedError, StoreError
from automl_car.files import complete_folder
from automl_car.pulse import pulse
from automl_car.records import Recipe, fingerprint
from automl_car.training.choose_step import key_of
from automl_car.training.folding import inference_passes
from automl_car.training.mapped import append_rows, wait_for_disk, write_header
from automl_car.training.model import build_model, classifier, feature_extractor
from automl_car.training.parts import Parting, Parts
from automl_car.training.photos import Pick
from automl_car.training.room import Room, free_memory
from automl_car.training.rows import FeatureArray
from automl_car.training.step import Passes
from automl_car.training.viewing import view_batches
from automl_car.training.views import View
from automl_car.turns import one_at_a_time

logger = logging.getLogger("automl_car")

_VERSION = 3  # raise it when the pictures or the views change
_BATCH = 32
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Features:
    """By view: train float16 (N, D) and test float16 (T, D), memory-mapped and read-only; see also `side_by_side`."""

    train: tuple[FeatureArray, ...]
    test: tuple[FeatureArray, ...]


def frozen_features(
    backbone: Backbone,
    recipe: Recipe,
    views: Sequence[View],
    prepared: Prepared,
    cache: Path,
    device: torch.device,
    progress: Progress,
    waiting: Callable[[], None] = pulse,
) -> Features:
    """Read the features of `recipe`'s backbone and size from the cache, and compute those that are missing.

    Args:
        views: of each photo; see `views.choose_views`.
        progress: called with (photos done, photos to do) per batch; what it raises ends the computation, and the next
            one goes on where this one had its last part.
        waiting: called every second while another process computes them; what it raises ends the waiting.

    Raises:
        DivergedError: the backbone gives features that are not finite in half precision.
        MachineError: the disk is full.
    """
    directory = cache / "features" / features_key(backbone, recipe, prepared)
    if _missing(directory, views):
        with one_at_a_time(cache / "locks" / f"{directory.name}.lock", waiting):
            if missing := _missing(directory, views):  # still, after others had their turn
                network = _network(backbone, recipe, prepared.dataset.num_classes, device, cache)
                _write_views(directory, missing, network, prepared, progress)
    return Features(*(tuple(_mapped(directory / view.name / file) for view in views) for file in _FILES))


_FILES = ("train.npy", "test.npy")
_checked: set[Path] = set()  # folders whose files this process has compared with their checksums


def _missing(directory: Path, views: Sequence[View]) -> list[View]:
    return [view for view in views if not _is_whole(directory / view.name)]


def _is_whole(view: Path) -> bool:
    """Whether a view is there; a damaged one is removed."""
    if not view.is_dir() or view in _checked:
        return view.is_dir()
    try:
        for file in _FILES:
            check_seal(view / file)
    except (OSError, ValueError) as error:
        logger.warning("the features in %s are damaged, and computed again: %s", view, error)
        shutil.rmtree(view)
        return False
    _checked.add(view)
    return True


def _mapped(path: Path) -> NDArray[np.float16]:
    try:
        array: NDArray[np.float16] = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise StoreError(
            f"`{path}` holds no features: {error}.", hint=f"remove `{path.parent}`; it is computed again."
        ) from error
    return array


def features_key(backbone: Backbone, recipe: Recipe, prepared: Prepared) -> str:
    """Names the folder of a recipe's features in the cache."""
    return fingerprint(
        {
            "version": _VERSION,
            "photos": prepared.photos_key,
            "backbone": backbone.name,
            "source": backbone.source,
            "params": own_values(backbone.name, dict(recipe.params)),
            "weights": recipe.weights_digest or recipe.weights,
            **({"plugin": recipe.backbone_version} if recipe.backbone_version else {}),
            "size": recipe.image_size,
            "normalisation": [backbone.mean, backbone.std, backbone.interpolation],
            # Random weights depend on the seed; pretrained ones do not, and serve every seed.
            "seed": recipe.seed if recipe.weights == "random" else None,
        }
    )


# ---- the network ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Network:
    """The frozen backbone and what its pictures have to be; features have `width` numbers."""

    backbone: Backbone
    image_size: int
    width: int
    passes: Passes
    room: Room


def _network(backbone: Backbone, recipe: Recipe, num_classes: int, device: torch.device, cache: Path) -> _Network:
    torch.manual_seed(recipe.seed)
    model = build_model(backbone, recipe, num_classes)
    width = classifier(model, num_classes).in_features
    network = inference_passes(feature_extractor(model, num_classes), recipe.image_size, device)
    room = Room.of(cache, key_of(backbone, recipe, device))
    return _Network(backbone, recipe.image_size, width, network, room)


# ---- all photos -----------------------------------------------------------------------------------------------------


def _write_views(
    directory: Path, views: Sequence[View], network: _Network, prepared: Prepared, progress: Progress
) -> None:
    """Compute some views in one pass over the photos, each into a folder of its own."""
    files = {
        "train": (len(prepared.dataset.train_paths), prepared.train_image),
        "test": (len(prepared.dataset.test_paths), prepared.test_image),
    }
    parts = Parts(directory / "unfinished", views, network.width)
    kept = {name: parts.kept(name, count) for name, (count, _) in files.items()}
    left, done = sum(count - kept[name].rows for name, (count, _) in files.items()), 0
    with ExitStack() as folders:
        paths = {view: folders.enter_context(complete_folder(directory / view.name)) for view in views}
        for name, (count, pick) in files.items():
            targets = {view: path / f"{name}.npy" for view, path in paths.items()}
            for target in targets.values():
                write_header(target, (count, network.width))
            parts.take(kept[name], targets)
            rows = range(kept[name].rows, count)
            for added in _append(network, pick, rows, targets, Parting(parts, name, rows.start, targets)):
                done += added
                progress(done, left)
            for target in targets.values():
                wait_for_disk(target)
        for path in paths.values():
            seal(path, *_FILES)
    parts.drop()


def _append(
    network: _Network, pick: Pick, rows: range, targets: Mapping[View, Path], parting: Parting
) -> Iterator[int]:
    """Add the features of some photos to the file of each view; yields the number of photos of each batch."""
    done = rows.start
    for features in _features(network, tuple(targets), pick, rows):
        for view, batch in features.items():
            append_rows(targets[view], batch)
        count = len(next(iter(features.values())))
        done += count
        parting.added(done)
        yield count


def _features(
    network: _Network, views: Sequence[View], pick: Pick, rows: range
) -> Iterator[Mapping[View, NDArray[np.float16]]]:
    """For each batch of photos, the features float16 (b, D) of every view; smaller batches where memory runs out."""
    fit, done = network.room.fit("features", max(1, _BATCH // len(views))), rows.start
    while done < rows.stop:
        try:
            for features in _in_batches(network, views, pick, range(done, rows.stop), fit.images):
                done += len(features[views[0]])
                yield features
        except Exception as error:
            fit.halve_after(error)
        free_memory()


def _in_batches(
    network: _Network, views: Sequence[View], pick: Pick, rows: range, batch_size: int
) -> Iterator[Mapping[View, NDArray[np.float16]]]:
    batches = view_batches(
        pick,
        rows,
        views,
        backbone=network.backbone,
        image_size=network.image_size,
        batch_size=batch_size,
        device=network.passes.device,
    )
    for batch in batches:
        features = _forward(network, torch.cat(list(batch.values())))  # (V b, D)
        yield dict(zip(views, np.split(features, len(views)), strict=True))


def _forward(network: _Network, images: Tensor) -> NDArray[np.float16]:
    with torch.inference_mode():
        features = network.passes.forward(images).half()
    if not torch.isfinite(features).all():
        name = network.backbone.name
        raise DivergedError(f"Features of `{name}` at {network.image_size} px are not finite numbers.")
    array: NDArray[np.float16] = features.cpu().numpy()
    return array
