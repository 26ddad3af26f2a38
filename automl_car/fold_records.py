"""The frozen values that pass between a search and what trains its folds. Nothing here does any work."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from automl_car.catalog.records import PluginSources
from automl_car.records import Recipe

StepChoice = Literal["auto", "plain"]
Points = tuple[tuple[float, float], ...]
NO_FOLD = -1
"""In place of a fold's number where no rows are left for validation: all are trained on."""


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
