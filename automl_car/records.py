"""The frozen values that pass between the stages; nothing here does any work."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from automl_car.catalog.records import ParamValue, PluginSources

Tuning = Literal["head", "full"]
StepChoice = Literal["auto", "plain"]
GainPer = Literal["second", "trial"]
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Points = tuple[tuple[float, float], ...]
NO_FOLD = -1
"""In place of a fold's number where no rows are left for validation: all are trained on."""


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


# ---- one fold -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Exchange:
    """Where a process that does not see the driver's folders finds what a task needs, and leaves what it trained.

    Attributes:
        url: of a folder, as fsspec names places; it holds no key and no password.
        listing: sha256 of the list of the files that the driver put there.
        folder_id: that a file in the driver's folders holds: others may have the same path on another machine.
        node_gb: gigabytes (10^9 bytes) that copies of such files may take on a machine.
    """

    url: str
    listing: str
    folder_id: str
    node_gb: float


@dataclass(frozen=True)
class FoldTask:
    """All that a process needs to train one fold; small, and the same for every executor.

    Attributes:
        recipe, recipe_id, fold: what to train; `NO_FOLD` for a refit, on all rows.
        directory: checkpoints/<study>, with `dataset.json`, `folds.csv` and the fold store.
        cache: folder of the image and feature caches.
        plugins: where the backbone and the augmentation come from.
        deadline: `time.monotonic()`, of the process that has the task, at which training stops, or None. What travels
            to another process is the time left.
        workers: processes that load photos; None leaves the choice to the machine.
        step: whether the fastest way to compute a step is measured, or the plain one is taken.
        to_beat: the curve that a fine-tuning is stopped for falling behind; empty where there is none.
        test_fold: a fold that plays the test set: its rows are not trained on, and the test logits are theirs. None
            for the real test set.
        checkpoint_seconds: an epoch that takes so long is kept on the disk; a fold that was killed goes on after it.
        trial: number of the trial that waits for it, for whoever watches; None for refits, and where a fold is mended.
        exchange: for processes that do not see `directory` and `cache`; None where all do.
    """

    recipe: Recipe
    recipe_id: str
    fold: int
    directory: Path
    cache: Path
    plugins: PluginSources = field(default_factory=PluginSources)
    deadline: float | None = None
    workers: int | None = None
    step: StepChoice = "auto"
    to_beat: Points = ()
    test_fold: int | None = None
    checkpoint_seconds: float = 60.0
    trial: int | None = None
    exchange: Exchange | None = None

    @property
    def fold_directory(self) -> Path:
        """Where the fold store keeps the result. The epochs of a refit depend on the folds that were finished then."""
        name = f"refit-{self.recipe.epochs}" if self.fold == NO_FOLD else f"fold-{self.fold}"
        recipe = self.directory / self.recipe_id
        return recipe / name if self.test_fold is None else recipe / f"test-{self.test_fold}" / name

    @property
    def label(self) -> str:
        """What is trained, in words."""
        name = "refit" if self.fold == NO_FOLD else f"fold {self.fold}"
        return name if self.test_fold is None else f"{name} without fold {self.test_fold}"


@dataclass(frozen=True)
class Machine:
    """What a training process found.

    Attributes:
        device: "cpu", "cuda" or "mps".
        name: of the device.
        cores: of the host.
        devices: GPUs that the process could have taken; 1 where there are none.
        memory: bytes of the GPU; 0 where it is none, or unknown.
    """

    device: str
    name: str
    cores: int
    devices: int = 1
    memory: int = 0


@dataclass(frozen=True)
class SpeedTask:
    """Asks a training process how fast a recipe trains there; a few steps on random pictures, or on random features.

    Attributes:
        recipe: with the backbone, image size and batch size to try.
        num_classes: of the last layer.
        cache: folder of all caches, where measurements are remembered.
        images: that a fold trains on, once for each epoch.
        plugins: where the backbone comes from.
        step: whether the fastest way to compute a step is measured, or the plain one is taken.
        exchange: for processes that do not see `cache`; None where all do.
    """

    recipe: Recipe
    num_classes: int
    cache: Path
    images: int = 100_000
    plugins: PluginSources = field(default_factory=PluginSources)
    step: StepChoice = "auto"
    exchange: Exchange | None = None


@dataclass(frozen=True)
class Speed:
    """How fast a recipe trains on a machine.

    Attributes:
        training: images per second forward and backward; for heads, rows of features per second and epoch.
        validation: images per second forward alone.
        peak_memory_bytes: of the device where it is a GPU, else of the process.
        setup: seconds of one fold before its first epoch: fitting the discriminant, for heads.
    """

    training: float
    validation: float
    peak_memory_bytes: int = 0
    setup: float = 0.0


@dataclass(frozen=True)
class Epoch:
    """What one epoch of one fold came to.

    Attributes:
        number: from 1.
        total: epochs of the whole schedule.
        train_loss: mean training loss, label smoothing and mixing included.
        log_loss: mean natural-log loss on the fold's validation rows, not calibrated; NaN in a refit, which has none.
        seconds: since the fold began.
        calibrated: the log loss after the one temperature that fits those rows, by which epochs are compared; None
            for heads, whose epochs are not.
    """

    number: int
    total: int
    train_loss: float
    log_loss: float
    seconds: float
    calibrated: float | None = None

    @property
    def judged(self) -> float:
        """The log loss that epochs are compared by: calibrated, where that is known."""
        return self.log_loss if self.calibrated is None else self.calibrated


@dataclass(frozen=True)
class Progress:
    """How far a longer piece of work is: `done` of `total` photos, say."""

    text: str
    done: int
    total: int


@dataclass(frozen=True)
class FoldResult:
    """How the training of one fold ended.

    Attributes:
        status: "finished": the fold store holds it; "stopped": the clock ran out before it was done; "beaten": it fell
            behind `FoldTask.to_beat`, and `log_loss` is what it had reached.
        log_loss: of the validation rows after the one temperature that fits them; what trials are compared by. NaN for
            a refit, which has no such rows.
        raw_log_loss: before it.
        temperature: that temperature; below 1 where the model was under-confident.
        curve: one entry per epoch.
        seconds: wall time of the fold.
        peak_memory_bytes: of the device where it is a GPU, else of the process.
        reason: why the fold ended early; empty when it finished.
        images_per_second: training images that went forward and backward per second; 0 for heads.
        step: how its passes were computed: precision, memory layout, micro-batch; empty for heads.
        view_losses: (number of views, log loss after the temperature that fits them), fewest views first; the last one
            is of all views, and its log loss is `log_loss`. Empty for refits, and for folds of earlier versions.
        mended: what went wrong on the way and was mended, in words: a learning rate that was halved where numbers were
            not finite, images that did not fit into the memory. Empty where nothing did.
        pushed: what the fold is found by in the exchange, where it was trained on another machine and is not yet in the
            driver's fold store; else empty.
    """

    recipe_id: str
    fold: int
    status: Literal["finished", "stopped", "beaten"]
    log_loss: float
    raw_log_loss: float
    temperature: float
    curve: tuple[Epoch, ...]
    seconds: float
    peak_memory_bytes: int = 0
    reason: str = ""
    images_per_second: float = 0.0
    step: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    view_losses: tuple[tuple[int, float], ...] = ()
    mended: str = ""
    pushed: str = ""
