"""The frozen values that pass between the stages: data, and what a trial trains. Nothing here does any work."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from automl_car.catalog.params import ParamValue

Tuning = Literal["head", "full"]
GainPer = Literal["second", "trial"]
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def fingerprint(value: Any) -> str:
    """The first 16 hex digits of the sha256 of `value` as canonical JSON."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


# ---- data -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SubmissionFormat:
    """How the contest wants its file: the sample submission's own header and its ids, in order.

    Attributes:
        header: the first line as it stands there, without BOM and line end.
        columns: the class columns of that line, as written there.
        column_classes: for each column, the index of its class in `Dataset.class_names`. Two columns share an
            index where `class_aliases` says that the contest counts them as one class.
        ids: the ids, in the order of the rows.
        bom: whether the file begins with a UTF-8 byte order mark.
        newline: "\\n" or "\\r\\n".
    """

    header: str
    columns: tuple[str, ...]
    column_classes: tuple[int, ...]
    ids: tuple[str, ...]
    bom: bool = False
    newline: str = "\n"


@dataclass(frozen=True)
class Dataset:
    """The photos and labels of one problem.

    Attributes:
        root: folder that all paths are relative to.
        class_names: NFC names in the order of the logits' columns.
        train_paths: photo of each training row.
        labels: class index of each training row.
        test_ids, test_paths: id and photo of each test row; both empty when there is no test set.
        submission: the contest's form, or None when there is no test set.
    """

    root: Path
    class_names: tuple[str, ...]
    train_paths: tuple[str, ...]
    labels: tuple[int, ...]
    test_ids: tuple[str, ...] = ()
    test_paths: tuple[str, ...] = ()
    submission: SubmissionFormat | None = None

    @property
    def num_classes(self) -> int:
        return len(self.class_names)


@dataclass(frozen=True)
class Folds:
    """K stratified, duplicate-grouped splits of the training rows.

    Attributes:
        assignment: int64 (N,): the fold that each training row is validated in.
        count: K.
        fingerprint: hash of photos, labels and assignment; trials of one study share it.
        groups: int64 (N,): copies of one photo share a number; None where each photo is its own.
    """

    assignment: IntArray
    count: int
    fingerprint: str
    groups: IntArray | None = None

    def validation_rows(self, fold: int) -> IntArray:
        """Rows of `fold`, ascending."""
        return np.flatnonzero(self.assignment == fold)

    def training_rows(self, *left_out: int) -> IntArray:
        """Rows of all other folds, ascending."""
        return np.flatnonzero(~np.isin(self.assignment, left_out))


# ---- recipe ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recipe:
    """One choice of everything that a trial trains with.

    Attributes:
        backbone, augmentation: names in the catalog.
        tuning: "full" fine-tunes the whole network; "head" trains a linear head on features of the frozen backbone.
        image_size: side of the square input, in pixels.
        progressive: share of `image_size` that training images begin with; they grow with the epochs. 1: no growth.
        learning_rate: at the peak, of the last layers; the backbone's default rate times `lr_multiplier`.
        epochs, batch_size: of the schedule; a step sees `batch_size` images.
        patience: epochs without a better log loss after which a fold stops and the best epoch is kept; 0 trains to the
            end and keeps the last epoch, whose log loss nobody chose.
        warmup: share of all steps during which the rate rises from 0.
        weight_decay: of AdamW.
        layer_decay: the rate of each group of layers is this times that of the group above it.
        head_multiplier: the new last layer learns this many times faster than the network.
        freeze_norm: whether batch normalisation keeps the statistics of pretraining.
        label_smoothing: share of the target spread over all classes.
        mixup, cutmix: probability that a batch is mixed in this way.
        plain_epochs: share of epochs at the end without mixing.
        ema: half-life, in epochs, of the running mean of the weights that is validated and kept; 0 switches it off.
        clip_norm: largest norm of a gradient; 0 switches clipping off.
        flip: whether mirror images join, at validation and test and among the views.
        views: how many views of each photo predictions are averaged over at most, and a head is trained on: the photo,
            its mirror image, then closer ones (`training/views.py`).
        shrinkage: of the covariance of frozen features, in [0, 1], where a linear head is fitted to them.
        power: that frozen features are raised to before (tuning: head).
        weights: "pretrained", "random", or a file.
        weights_digest: sha256 of that file, so that another file under the same name is another recipe; else empty.
        seed: of everything random in training.
        params: values of the plugins' own parameters, by `<plugin>.<param>`, sorted.
        backbone_version, augmentation_version: of the plugins that offer them; empty for bundled ones.
    """

    backbone: str
    augmentation: str = "none"
    tuning: Tuning = "full"
    image_size: int = 224
    progressive: float = 1.0
    learning_rate: float = 5e-4
    epochs: int = 30
    batch_size: int = 64
    patience: int = 5
    warmup: float = 0.1
    weight_decay: float = 0.05
    layer_decay: float = 0.9
    head_multiplier: float = 10.0
    freeze_norm: bool = True
    label_smoothing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    plain_epochs: float = 0.15
    ema: float = 0.5
    clip_norm: float = 1.0
    flip: bool = True
    views: int = 2
    shrinkage: float = 0.3
    power: float = 0.5
    weights: str = "pretrained"
    weights_digest: str = ""
    seed: int = 0
    params: tuple[tuple[str, ParamValue], ...] = ()
    backbone_version: str = ""
    augmentation_version: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `Recipe.from_json` reads them back. Versions that are empty are left out."""
        values = {**dataclasses.asdict(self), "params": dict(self.params)}
        unversioned = {name for name in ("backbone_version", "augmentation_version") if not values[name]}
        return {name: value for name, value in values.items() if name not in unversioned}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Recipe:
        """The recipe that `to_json` wrote."""
        return cls(**{**values, "params": tuple(sorted(values["params"].items()))})

    def id(self, folds: Folds) -> str:
        """Names the recipe's folder in the fold store: a hash of recipe, data, folds and seed."""
        return fingerprint({"recipe": self.to_json(), "folds": folds.fingerprint})
