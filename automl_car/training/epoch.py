"""One epoch of fine-tuning: trained, judged, and trained again where that can mend what went wrong."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from automl_car.catalog.records import Backbone
from automl_car.errors import DivergedError
from automl_car.fold_records import Epoch
from automl_car.losses import log_loss
from automl_car.records import IntArray, Recipe
from automl_car.temperature import fit_temperature
from automl_car.training.health import NotFiniteError, Rates, Steps, clip, refuse_logits, refuse_weights
from automl_car.training.inference import predict_logits
from automl_car.training.loader import Batch, EpochBatches
from automl_car.training.mixing import mirror, mix
from automl_car.training.optimizer import MeanModel, schedule, set_rates, set_training_mode
from automl_car.training.photos import Normaliser, Pick
from automl_car.training.room import Fit, Room, fitting, free_memory, has_batch_statistics
from automl_car.training.state import Saved, State
from automl_car.training.step import Passes
from automl_car.training.views import choose_views

_LEARNT_NOTHING = 0.9  # share of the log loss of guessing, after calibration


@dataclass(frozen=True, eq=False)
class Split:
    """The rows of one fold and where their photos come from.

    Attributes:
        pick: returns the photo of a training row as uint8 (H, W, 3).
        labels: of all training rows.
        training, validation: rows of the fold; without any of the latter, no epoch is judged.
    """

    pick: Pick
    labels: tuple[int, ...]
    training: IntArray
    validation: IntArray


@dataclass(frozen=True, eq=False)
class Run:
    """What stays the same from step to step."""

    passes: Passes
    state: State
    mean_model: MeanModel | None
    rates: Rates
    fit: Fit
    room: Room
    recipe: Recipe
    backbone: Backbone
    num_classes: int
    normalise: Normaliser
    steps: int
    check: Callable[[float], None]

    @property
    def judged(self) -> Passes:
        """Passes of the network that is validated and kept: the running mean, if there is one."""
        if self.mean_model is None:
            return self.passes
        mean = self.mean_model.model
        return Passes(mean, self.passes.step, self.passes.device, mean)


def run_epoch(
    run: Run, loader: Iterable[Batch], batches: EpochBatches, split: Split, number: int, saved: Saved
) -> tuple[Epoch, float]:
    """Train and judge one epoch; once more from its beginning where that failed in a way that can be mended.

    Args:
        saved: state at its beginning.

    Returns:
        The epoch, without its time, and the seconds of training alone.
    """
    batches.epoch = number
    while True:
        try:
            began = time.monotonic()
            train_loss = _train_epoch(run, loader, number, steps=len(batches))
            seconds = time.monotonic() - began
            refuse_weights(run.state.weights(), f"after epoch {number}")
            raw, loss = _judge(run, split, number) if len(split.validation) else (math.nan, math.nan)
            return Epoch(number, run.recipe.epochs, train_loss, raw, 0.0, loss), seconds
        except NotFiniteError as found:
            run.rates.halve_after(found)
        except Exception as error:
            run.fit.halve_after(error)
        free_memory()
        run.state.restore(saved)


def _train_epoch(run: Run, loader: Iterable[Batch], epoch: int, *, steps: int) -> float:
    """Train on every batch once; returns the mean training loss."""
    recipe, passes, optimizer = run.recipe, run.passes, run.state.optimizer
    mixing = epoch <= recipe.epochs * (1 - recipe.plain_epochs)
    set_training_mode(passes.model, freeze_norm=recipe.freeze_norm)
    run.fit.least = 2 if has_batch_statistics(passes.model) else 1
    parameters = list(passes.model.parameters())
    noted = Steps(epoch, steps, passes.device)
    for number, (pictures, labels) in enumerate(loader):
        done = ((epoch - 1) * steps + number) / run.steps
        run.check(done)
        set_rates(optimizer, run.rates.peaks, schedule(done, recipe.warmup))
        images, targets = _prepare(run, pictures, labels, mixing=mixing)
        loss = fitting(run.fit, partial(_backward, run, images, targets))
        noted.note(number, loss, clip(parameters, recipe.clip_norm))
        optimizer.step()
        if run.mean_model is not None:
            run.mean_model.update()
    return noted.mean_loss()


def _backward(run: Run, images: Tensor, targets: Tensor, micro_batch: int) -> Tensor:
    """Gradients of one batch alone; its loss."""
    run.state.optimizer.zero_grad(set_to_none=True)
    smoothing = run.recipe.label_smoothing
    return run.passes.backward(images, targets, label_smoothing=smoothing, micro_batch=micro_batch)


def _prepare(run: Run, pictures: Tensor, labels: Tensor, *, mixing: bool) -> tuple[Tensor, Tensor]:
    """Images float32 (B, 3, S, S) and targets (B, C) on the device: mirrored, normalised and mixed there."""
    recipe = run.recipe
    pictures = pictures.to(run.passes.device, non_blocking=True)
    images = run.normalise(mirror(pictures, run.state.random) if recipe.flip else pictures)
    targets = F.one_hot(labels.to(run.passes.device, non_blocking=True), run.num_classes).float()
    if not mixing:
        return images, targets
    return mix(images, targets, mixup=recipe.mixup, cutmix=recipe.cutmix, random=run.state.random)


def _judge(run: Run, split: Split, epoch: int) -> tuple[float, float]:
    """Log loss of the validation rows, before and after the temperature that fits them."""
    labels = np.asarray(split.labels)[split.validation]
    logits = _validate(run, split, epoch)
    refuse_logits(logits, "validation photos", f"after epoch {epoch}")
    raw = log_loss(logits, labels)
    # A fine-tuned network grows overconfident long before it stops getting better; one temperature mends that.
    loss = log_loss(logits, labels, temperature=fit_temperature(logits, labels))
    _refuse_divergence(raw, loss, epoch, run.recipe, run.num_classes)
    return raw, loss


def _validate(run: Run, split: Split, epoch: int) -> NDArray[np.float32]:
    """Logits (n, C) of the fold's validation rows, of the photo and its mirror image: enough to see how it goes."""
    return predict_logits(
        run.judged,
        split.pick,
        split.validation,
        backbone=run.backbone,
        image_size=run.recipe.image_size,
        batch_size=run.recipe.batch_size,
        views=choose_views(2 if run.recipe.flip else 1, flip=run.recipe.flip),
        check=partial(run.check, epoch / run.recipe.epochs),
        room=run.room,
    )


def _judged_after(recipe: Recipe) -> int:
    """The epoch after which a network has to know something: once the warm-up is well over.

    Before that a head that started at random may still know nothing. A whole network that did so learns nothing for
    longer, and is judged at half of its epochs.
    """
    warm = max(2, math.ceil(2 * recipe.warmup * recipe.epochs))
    return max(warm, 4, math.ceil(recipe.epochs / 2)) if recipe.weights == "random" else warm


def _refuse_divergence(raw: float, calibrated: float, epoch: int, recipe: Recipe, num_classes: int) -> None:
    guessing = math.log(num_classes)
    if epoch != _judged_after(recipe):
        return
    # Worse than guessing may be mere overconfidence, which a temperature mends; then something was learnt.
    if raw > guessing and calibrated > _LEARNT_NOTHING * guessing:
        raise DivergedError(f"The log loss was {raw:.3f} after epoch {epoch}, worse than guessing ({guessing:.3f}).")
