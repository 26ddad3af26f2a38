"""Trains one fold of one recipe and puts it into the fold store. This is what an executor's process runs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from automl_car.catalog.manager import Catalog
from automl_car.catalog.records import Backbone, own_values
from automl_car.data.prepare import Prepared
from automl_car.errors import DivergedError, OutOfMemoryError
from automl_car.losses import log_loss
from automl_car.records import Epoch, FoldResult, FoldTask, Progress
from automl_car.store import FoldLogits, write_fold
from automl_car.temperature import fit_temperature
from automl_car.training import device as devices
from automl_car.training.augment import build_transform
from automl_car.training.checkpoint import to_safetensors, versions
from automl_car.training.features import frozen_features
from automl_car.training.full import Split, fine_tune
from automl_car.training.head import LinearHead, fit_discriminant, raise_to, train_head
from automl_car.training.inference import predict_logits
from automl_car.training.model import build_model
from automl_car.training.photos import pick_workers

Report = Callable[[Epoch | Progress], None]

# Of the covariance behind the start of fine-tuning. Much more than for a head that stays: the start must also suit
# augmented photos, and features that are about to move.
_START_SHRINKAGE = 0.9


class _OutOfTimeError(Exception):
    """The deadline passed, or will pass before the fold is done."""


@dataclass(frozen=True, eq=False)
class _Trained:
    """What either kind of tuning leaves: logits, weights, and images per second (0 for heads)."""

    validation: NDArray[np.float32]
    test: NDArray[np.float32]
    model: dict[str, Tensor]
    images_per_second: float


def train_fold(task: FoldTask, catalog: Catalog, prepared: Prepared, report: Report) -> FoldResult:
    """Train, judge and store one fold.

    Args:
        task: what to train, and where the result belongs.
        catalog: where the backbone and the augmentation are looked up.
        prepared: photos, labels and folds.
        report: called with each epoch, and with the progress of computing features.

    Returns:
        The result; with status "stopped" and nothing stored when the deadline came first.

    Raises:
        TrainingError: the recipe diverged or needs more memory than there is.
        PluginError: the backbone or augmentation breaks its contract.
    """
    began = time.monotonic()
    device = devices.pick_device()
    devices.reset_peak_memory(device)
    curve: list[Epoch] = []
    train = _train_head if task.recipe.tuning == "head" else _train_full
    try:
        epochs = train(task, catalog, prepared, device, _Clock(task.deadline), report)
        trained = _run(epochs, curve, report)
    except _OutOfTimeError as stop:
        seconds = time.monotonic() - began
        return FoldResult(
            task.recipe_id, task.fold, "stopped", math.inf, math.inf, 1.0, tuple(curve), seconds, reason=str(stop)
        )
    except (MemoryError, RuntimeError) as error:
        if not _lacks_memory(error):
            raise
        words = str(error).partition("\n")[0] or type(error).__name__
        raise OutOfMemoryError(
            f"The memory of {device} does not suffice for `{task.recipe.backbone}` at {task.recipe.image_size} px, "
            f"batch {task.recipe.batch_size}: {words}"
        ) from error
    rows = prepared.folds.validation_rows(task.fold)
    labels = np.asarray(prepared.dataset.labels)[rows]
    logits = trained.validation.astype(np.float64)
    temperature = fit_temperature(logits, labels)
    result = FoldResult(
        recipe_id=task.recipe_id,
        fold=task.fold,
        status="finished",
        log_loss=log_loss(logits / temperature, labels),
        raw_log_loss=log_loss(logits, labels),
        temperature=temperature,
        curve=tuple(curve),
        seconds=time.monotonic() - began,
        peak_memory_bytes=devices.peak_memory_bytes(device),
        images_per_second=trained.images_per_second,
        versions=versions(),
    )
    write_fold(task, result, FoldLogits(rows, trained.validation, trained.test), to_safetensors(trained.model))
    return result


def _run(epochs: Generator[Epoch, None, _Trained], curve: list[Epoch], report: Report) -> _Trained:
    """Run the generator to its end, keeping and reporting each epoch, and return what it returns."""
    while True:
        try:
            epoch = next(epochs)
        except StopIteration as stop:
            trained: _Trained = stop.value
            return trained
        curve.append(epoch)
        report(epoch)


def _lacks_memory(error: Exception) -> bool:
    """Whether memory ran out: for that of the host, torch raises a RuntimeError like any other."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


# ---- tuning: head ---------------------------------------------------------------------------------------------------


def _train_head(
    task: FoldTask, catalog: Catalog, prepared: Prepared, device: torch.device, clock: _Clock, report: Report
) -> Generator[Epoch, None, _Trained]:
    recipe, classes = task.recipe, prepared.dataset.num_classes
    backbone = catalog.backbone(recipe.backbone)
    features = _features(backbone, task, prepared, device, clock, report)
    clock = clock.start()  # the time that features took says nothing about that of the head
    if device.type == "mps":
        device = torch.device("cpu")  # the discriminant is solved in float64, which Apple's GPUs do not have
    views = 2 if recipe.flip else 1
    began = time.monotonic()

    def load(array: NDArray[np.float16]) -> Tensor:
        return raise_to(torch.from_numpy(array.astype(np.float32)).to(device), recipe.power)

    training, validation = prepared.folds.training_rows(task.fold), prepared.folds.validation_rows(task.fold)
    labels = np.asarray(prepared.dataset.labels)
    held_out = load(features.train[:views, validation])
    best_loss, best_epoch, best = math.inf, 0, None
    heads = train_head(
        load(features.train[:views, training]),
        torch.from_numpy(labels[training]).to(device),
        classes,
        shrinkage=recipe.shrinkage,
        learning_rate=recipe.learning_rate,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        seed=recipe.seed,
    )
    for number, (loss, head) in enumerate(heads):
        clock.check(number / (recipe.epochs + 1))
        logits = head(held_out).mean(0).cpu().numpy()  # (V, n, C) -> (n, C)
        loss_now = log_loss(logits, labels[validation])
        yield Epoch(number, recipe.epochs, loss, loss_now, time.monotonic() - began)
        if not math.isfinite(loss_now):
            raise DivergedError(f"The log loss of the linear head was {loss_now} after epoch {number}.")
        if loss_now < best_loss or not recipe.patience:
            best_loss, best_epoch, best = loss_now, number, (head, logits)
        elif number - best_epoch >= recipe.patience:
            break
    assert best is not None  # the first epoch is always kept
    head, logits = best
    test = head(load(features.test[:views])).mean(0).cpu().numpy() if features.test.shape[1] else _no_logits(classes)
    model = {"weight": head.weight.cpu().contiguous(), "bias": head.bias.cpu().contiguous()}
    return _Trained(logits, prepared.fill_test(test), model, 0.0)


# ---- tuning: full ---------------------------------------------------------------------------------------------------


def _train_full(
    task: FoldTask, catalog: Catalog, prepared: Prepared, device: torch.device, clock: _Clock, report: Report
) -> Generator[Epoch, None, _Trained]:
    recipe, dataset = task.recipe, prepared.dataset
    backbone, augmentation = catalog.backbone(recipe.backbone), catalog.augmentation(recipe.augmentation)
    training = prepared.folds.training_rows(task.fold)
    start = None
    if recipe.weights != "random":
        start = _start_of_head(_features(backbone, task, prepared, device, clock, report), task, prepared, training)
    # Seeded here and not before: computing features draws random numbers, and finding them in the cache does not.
    torch.manual_seed(recipe.seed * 1000 + task.fold)
    model = build_model(backbone, recipe, dataset.num_classes)
    model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    best = yield from fine_tune(
        model,
        start,
        recipe,
        backbone,
        build_transform(augmentation, recipe.image_size, own_values(augmentation.name, dict(recipe.params))),
        Split(prepared.train_image, dataset.labels, training, prepared.folds.validation_rows(task.fold)),
        dataset.num_classes,
        device=device,
        workers=pick_workers(task.workers, device),
        check=clock.start().check,
    )
    model.load_state_dict(best.state)
    test = _no_logits(dataset.num_classes)
    if dataset.test_paths:
        test = predict_logits(
            model,
            prepared.test_image,
            range(len(dataset.test_paths)),
            backbone=backbone,
            image_size=recipe.image_size,
            batch_size=recipe.batch_size,
            flip=recipe.flip,
            device=device,
        )
    return _Trained(best.logits, prepared.fill_test(test), best.state, best.images_per_second)


def _start_of_head(features: Any, task: FoldTask, prepared: Prepared, training: Any) -> LinearHead:
    labels = torch.from_numpy(np.asarray(prepared.dataset.labels)[training])
    plain = torch.from_numpy(features.train[:, training].astype(np.float32))
    return fit_discriminant(plain, labels, prepared.dataset.num_classes, _START_SHRINKAGE)


# ---- both -----------------------------------------------------------------------------------------------------------


def _features(
    backbone: Backbone, task: FoldTask, prepared: Prepared, device: torch.device, clock: _Clock, report: Report
) -> Any:
    own = clock.start()

    def progress(done: int, total: int) -> None:
        own.check(done / total)
        report(Progress(f"features of {backbone.name} at {task.recipe.image_size} px", done, total))

    return frozen_features(backbone, task.recipe, prepared, task.cache, device, progress)


def _no_logits(num_classes: int) -> NDArray[np.float32]:
    return np.zeros((0, num_classes), np.float32)


class _Clock:
    """Ends a stage of work when the deadline has passed, or as soon as it is clear that it will."""

    def __init__(self, deadline: float | None) -> None:
        self.deadline = deadline
        self.began = time.time()

    def start(self) -> _Clock:
        """A clock of the same deadline whose work begins now."""
        return _Clock(self.deadline)

    def check(self, done: float) -> None:
        """Raise _OutOfTimeError when the share `done` of the work cannot become 1 before the deadline."""
        if self.deadline is None:
            return
        now = time.time()
        left, spent = self.deadline - now, now - self.began
        if left <= 0:
            raise _OutOfTimeError("the time is up")
        # A tenth of margin, and only after 20 s: the first steps of a run are slower than the rest.
        needed = spent / done - spent if done > 0 else 0.0
        if spent > 20 and needed > 1.1 * left:
            raise _OutOfTimeError(f"it needs about {needed:.0f} s more, and {left:.0f} s are left")
