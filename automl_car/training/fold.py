"""Trains one fold of one recipe and puts it into the fold store. This is what an executor's process runs."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Generator
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from automl_car.catalog.manager import Catalog
from automl_car.curve import why_beaten
from automl_car.data.prepare import Prepared
from automl_car.errors import DivergedError, OutOfMemoryError, PluginError, TrainingError
from automl_car.fold_records import Epoch, FoldResult, FoldTask
from automl_car.losses import log_loss
from automl_car.records import IntArray
from automl_car.store import FoldLogits, store_fold
from automl_car.temperature import fit_temperature
from automl_car.training import device as devices
from automl_car.training.checkpoint import to_safetensors, versions
from automl_car.training.clock import Clock, OutOfTimeError
from automl_car.training.health import NotFiniteError, refuse_logits, refuse_weights
from automl_car.training.room import lacks_memory
from automl_car.training.tune_full import tune_full
from automl_car.training.tune_head import tune_head
from automl_car.training.work import Report, Trained, Work
from automl_car.unfinished import drop_checkpoint


def train_fold(task: FoldTask, catalog: Catalog, prepared: Prepared, report: Report) -> FoldResult:
    """Train, judge and store one fold.

    Args:
        task: what to train, and where the result belongs.
        catalog: where the backbone and the augmentation are looked up.
        prepared: photos, labels and folds.
        report: called with each epoch, and with the progress of computing features.

    Returns:
        The result; with status "stopped" or "beaten" and nothing stored when the deadline or a better curve came first.

    Raises:
        TrainingError: the recipe diverged or needs more memory than there is.
        PluginError: the backbone or augmentation breaks its contract.
    """
    began = time.monotonic()
    _refuse_edited(task, catalog)
    device = devices.pick_device()
    devices.reset_peak_memory(device)
    curve: list[Epoch] = []
    work = Work(task, catalog, prepared, device, Clock(task.deadline), report)
    try:
        trained = _run(tune_head(work) if task.recipe.tuning == "head" else tune_full(work), task, curve, report)
        _refuse_not_finite(trained)
    except OutOfTimeError as stop:  # a checkpoint stays: the fold goes on in the next run
        return _ended_early(task, "stopped", curve, str(stop), began)
    except _BeatenError as stop:
        drop_checkpoint(task.fold_directory)
        return _ended_early(task, "beaten", curve, str(stop), began)
    except Exception as error:
        ending = _ending(error, task, device)
        if ending is None:
            raise
        drop_checkpoint(task.fold_directory)
        raise ending from error
    rows = prepared.folds.validation_rows(task.fold)
    labels = np.asarray(prepared.dataset.labels)[rows]
    *fewer, logits = (FoldLogits(rows, said.validation, said.test, views) for views, said in trained.by_views.items())
    judged = {part.views: _calibrated(part.oof, labels) for part in (*fewer, logits)} if len(rows) else {}
    temperature, calibrated = judged.get(logits.views, (1.0, math.nan))
    result = FoldResult(
        recipe_id=task.recipe_id,
        fold=task.fold,
        status="finished",
        log_loss=calibrated,
        raw_log_loss=log_loss(logits.oof, labels) if len(rows) else math.nan,
        temperature=temperature,
        curve=tuple(curve),
        seconds=time.monotonic() - began + trained.seconds_before,
        peak_memory_bytes=devices.peak_memory_bytes(device),
        images_per_second=trained.images_per_second,
        step=trained.step,
        versions=versions(),
        view_losses=tuple((views, loss) for views, (_, loss) in judged.items()),
        mended=trained.mended,
    )
    result = store_fold(task, result, logits, to_safetensors(trained.model), fewer)
    drop_checkpoint(task.fold_directory)
    return result


def _refuse_not_finite(trained: Trained) -> None:
    """A fold whose weights or logits are not finite is not stored, whatever its log loss."""
    refuse_weights(trained.model.values(), "in the end")
    for said in trained.by_views.values():
        refuse_logits(said.validation, "validation photos", "in the end")
        refuse_logits(said.test, "test photos", "in the end")


def _ending(error: Exception, task: FoldTask, device: torch.device) -> TrainingError | None:
    """What an error says of the recipe, with the fold that met it; None where it is a bug, or of the machine."""
    label = f"{task.label[0].upper()}{task.label[1:]}"
    if isinstance(error, NotFiniteError):
        return DivergedError(f"{label} of `{task.recipe.backbone}`: {error}.")
    if isinstance(error, DivergedError):
        return DivergedError(f"{label} of `{task.recipe.backbone}`: {error.message}", hint=error.hint)
    if not isinstance(error, OutOfMemoryError) and not lacks_memory(error):
        return None
    words = str(error).partition("\n")[0] or type(error).__name__
    return OutOfMemoryError(
        f"{label}: the memory of {device} does not suffice for `{task.recipe.backbone}` at "
        f"{task.recipe.image_size} px, batch {task.recipe.batch_size}: {words}"
    )


def _calibrated(logits: NDArray[np.float32], labels: IntArray) -> tuple[float, float]:
    """The temperature that fits these rows, and their log loss after it."""
    temperature = fit_temperature(logits, labels)
    return temperature, log_loss(logits, labels, temperature=temperature)


def _refuse_edited(task: FoldTask, catalog: Catalog) -> None:
    """A plugin that was edited while the search runs is another one, whose results are not this recipe's."""
    recipe = task.recipe
    used = [(recipe.backbone, recipe.backbone_version)]
    if recipe.tuning == "full":
        used.append((recipe.augmentation, recipe.augmentation_version))
    for name, version in used:
        if version and catalog.version_of(name) != version:
            raise PluginError(
                f"The plugin of `{name}` was edited since this recipe was chosen.",
                hint="run the same command again: the study goes on with the edited plugin.",
            )


class _BeatenError(Exception):
    """The fold fell behind the curve that it had to beat."""


def _run(epochs: Generator[Epoch, None, Trained], task: FoldTask, curve: list[Epoch], report: Report) -> Trained:
    """Run the generator to its end, keeping and reporting each epoch, and return what it returns."""
    # A raised error keeps frames alive through its traceback; closing frees what training holds at once.
    with contextlib.closing(epochs):
        while True:
            try:
                epoch = next(epochs)
            except StopIteration as stop:
                trained: Trained = stop.value
                return trained
            curve.append(epoch)
            report(epoch)
            if reason := why_beaten(curve, task.to_beat):
                raise _BeatenError(reason)


def _ended_early(
    task: FoldTask, status: Literal["stopped", "beaten"], curve: list[Epoch], reason: str, began: float
) -> FoldResult:
    """What is told of a fold that leaves nothing behind; its log loss is that of its last epoch."""
    raw = curve[-1].log_loss if curve else math.inf
    reached = curve[-1].calibrated if curve else None
    return FoldResult(
        task.recipe_id,
        task.fold,
        status,
        raw if reached is None else reached,
        raw,
        1.0,
        tuple(curve),
        time.monotonic() - began,
        reason=reason,
    )
