"""Fine-tunes a whole network on one fold; reads from top to bottom.

AdamW (Loshchilov & Hutter, 2017, arXiv:1711.05101) with a linear warm-up and a cosine, layer-wise decay of the learning
rate (Clark et al., 2020, arXiv:2003.10555), a running mean of the weights, and early stopping on log loss. The last
layer starts at the linear discriminant of the frozen features, as in linear probing before fine-tuning (Kumar et al.,
2022, arXiv:2202.10054), and batch normalisation keeps the statistics that those features were computed with, so that
the first steps do not spoil them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from automl_car.catalog.records import Augmentation, Backbone, own_values
from automl_car.errors import DivergedError
from automl_car.losses import log_loss
from automl_car.records import Epoch, IntArray, Recipe
from automl_car.temperature import fit_temperature
from automl_car.training.augment import build_transform
from automl_car.training.head import LinearHead
from automl_car.training.inference import predict_logits
from automl_car.training.loader import Batch, EpochBatches, TrainingPhotos, training_loader
from automl_car.training.mixing import mirror, mix
from automl_car.training.model import classifier
from automl_car.training.optimizer import MeanModel, make_optimizer, schedule, set_rates, set_training_mode
from automl_car.training.photos import Normaliser, Pick
from automl_car.training.progressive import image_sides
from automl_car.training.step import Passes
from automl_car.training.views import choose_views

_LEARNT_NOTHING = 0.9  # share of the log loss of guessing, after calibration
_LOOK_EVERY = 16  # steps between looks at the loss: each look waits for the device


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
class BestModel:
    """The weights of the epoch that is kept, and how fast training went."""

    state: dict[str, Tensor]
    images_per_second: float


@dataclass(frozen=True, eq=False)
class _Run:
    """What stays the same from step to step."""

    passes: Passes
    mean_model: MeanModel | None
    optimizer: torch.optim.Optimizer
    rates: list[float]
    recipe: Recipe
    backbone: Backbone
    num_classes: int
    normalise: Normaliser
    steps: int
    random: np.random.Generator
    check: Callable[[float], None]

    @property
    def judged(self) -> Passes:
        """Passes of the network that is validated and kept: the running mean, if there is one."""
        if self.mean_model is None:
            return self.passes
        mean = self.mean_model.model
        return Passes(mean, self.passes.step, self.passes.device, mean)


def fine_tune(
    passes: Passes,
    start: LinearHead | None,
    recipe: Recipe,
    backbone: Backbone,
    augmentation: Augmentation,
    split: Split,
    num_classes: int,
    *,
    workers: int,
    check: Callable[[float], None],
) -> Generator[Epoch, None, BestModel]:
    """Train the network of `passes` in place, yielding each epoch, and return the one to keep (see `Recipe.patience`).

    Args:
        passes: of a network from images (B, 3, S, S) to logits (B, num_classes).
        start: head that the last layer starts with; None leaves it random.
        workers: processes that make the training pictures; 0 makes them in a thread.
        check: called before each step with the share of all steps that is done; what it raises ends training.

    Raises:
        DivergedError: the loss is not finite, or the log loss after the first epochs is worse than guessing.
    """
    began = time.monotonic()
    if start is not None:
        _set_head(classifier(passes.model, num_classes), start)
    batches = EpochBatches(split.training, recipe.batch_size, recipe.seed)
    loader = _loader(recipe, augmentation, split, batches, workers, pin=passes.device.type == "cuda")
    optimizer, rates = make_optimizer(passes.model, recipe, num_classes, passes.device, warm=start is not None)
    run = _Run(
        passes,
        MeanModel(passes.model, recipe.ema * len(batches)) if recipe.ema else None,
        optimizer,
        rates,
        recipe,
        backbone,
        num_classes,
        Normaliser(backbone, passes.device),
        recipe.epochs * len(batches),
        np.random.default_rng([recipe.seed, 1]),
        check,
    )
    best = BestModel({}, 0.0)
    best_loss, best_epoch, training_seconds = math.inf, 0, 0.0
    for epoch in range(1, recipe.epochs + 1):
        batches.epoch = epoch
        epoch_began = time.monotonic()
        train_loss = _train_epoch(run, loader, epoch, steps=len(batches))
        training_seconds += time.monotonic() - epoch_began
        raw, loss = _judge(run, split, epoch) if len(split.validation) else (math.nan, math.nan)
        yield Epoch(epoch, recipe.epochs, train_loss, raw, time.monotonic() - began, loss)
        # Without patience the last epoch is kept; copying the weights of those before would be wasted.
        if loss < best_loss if recipe.patience else epoch == recipe.epochs:
            speed = epoch * len(batches) * batches.batch_size / training_seconds
            best_loss, best_epoch, best = loss, epoch, BestModel(_on_host(run.judged.model), speed)
        elif recipe.patience and epoch - best_epoch >= recipe.patience:
            break
    return best


def _loader(
    recipe: Recipe, augmentation: Augmentation, split: Split, batches: EpochBatches, workers: int, *, pin: bool
) -> Iterable[Batch]:
    sides = image_sides(recipe.image_size, recipe.epochs, recipe.progressive)
    params = own_values(augmentation.name, dict(recipe.params))
    transforms = {side: build_transform(augmentation, side, params) for side in set(sides)}
    photos = TrainingPhotos(split.pick, split.labels, transforms, sides, recipe.seed)
    return training_loader(photos, batches, workers, pin=pin)


def _train_epoch(run: _Run, loader: Iterable[Batch], epoch: int, *, steps: int) -> float:
    """Train on every batch once; returns the mean training loss."""
    recipe, passes = run.recipe, run.passes
    total = torch.zeros((), device=passes.device)
    mixing = epoch <= recipe.epochs * (1 - recipe.plain_epochs)
    set_training_mode(passes.model, freeze_norm=recipe.freeze_norm)
    parameters = list(passes.model.parameters())
    for number, (pictures, labels) in enumerate(loader):
        done = ((epoch - 1) * steps + number) / run.steps
        run.check(done)
        set_rates(run.optimizer, run.rates, schedule(done, recipe.warmup))
        images, targets = _prepare(run, pictures, labels, mixing=mixing)
        run.optimizer.zero_grad(set_to_none=True)
        total += passes.backward(images, targets, label_smoothing=recipe.label_smoothing)
        if recipe.clip_norm:
            nn.utils.clip_grad_norm_(parameters, recipe.clip_norm)
        run.optimizer.step()
        if run.mean_model is not None:
            run.mean_model.update()
        if number % _LOOK_EVERY == 0:
            _refuse_not_finite(total, epoch, number)
    return _refuse_not_finite(total, epoch, steps - 1) / steps


def _prepare(run: _Run, pictures: Tensor, labels: Tensor, *, mixing: bool) -> tuple[Tensor, Tensor]:
    """Images float32 (B, 3, S, S) and targets (B, C) on the device: mirrored, normalised and mixed there."""
    recipe = run.recipe
    pictures = pictures.to(run.passes.device, non_blocking=True)
    images = run.normalise(mirror(pictures, run.random) if recipe.flip else pictures)
    targets = F.one_hot(labels.to(run.passes.device, non_blocking=True), run.num_classes).float()
    if not mixing:
        return images, targets
    return mix(images, targets, mixup=recipe.mixup, cutmix=recipe.cutmix, random=run.random)


def _refuse_not_finite(total: Tensor, epoch: int, number: int) -> float:
    value = float(total)
    if not math.isfinite(value):
        raise DivergedError(f"The training loss was {value} in epoch {epoch}, by step {number + 1}.")
    return value


def _judge(run: _Run, split: Split, epoch: int) -> tuple[float, float]:
    """Log loss of the validation rows, before and after the temperature that fits them."""
    labels = np.asarray(split.labels)[split.validation]
    logits = _validate(run, split, epoch)
    raw = log_loss(logits, labels)
    _refuse_not_finite_loss(raw, epoch)
    # A fine-tuned network grows overconfident long before it stops getting better; one temperature mends that.
    loss = log_loss(logits, labels, temperature=fit_temperature(logits, labels))
    _refuse_divergence(raw, loss, epoch, run.recipe, run.num_classes)
    return raw, loss


def _validate(run: _Run, split: Split, epoch: int) -> NDArray[np.float32]:
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
    )


def _set_head(layer: nn.Linear, start: LinearHead) -> None:
    with torch.no_grad():
        layer.weight.copy_(start.weight)
        if layer.bias is not None:
            layer.bias.copy_(start.bias)


def _on_host(model: nn.Module) -> dict[str, Tensor]:
    state = model.state_dict()
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in state.items()}


def _refuse_not_finite_loss(loss: float, epoch: int) -> None:
    if not math.isfinite(loss):
        raise DivergedError(f"The log loss was {loss} after epoch {epoch}.")


def _refuse_divergence(raw: float, calibrated: float, epoch: int, recipe: Recipe, num_classes: int) -> None:
    guessing = math.log(num_classes)
    # Once the warm-up is well over; before, a head that started at random may still know nothing.
    if epoch != max(2, math.ceil(2 * recipe.warmup * recipe.epochs)):
        return
    # Worse than guessing may be mere overconfidence, which a temperature mends; then something was learnt.
    if raw > guessing and calibrated > _LEARNT_NOTHING * guessing:
        raise DivergedError(f"The log loss was {raw:.3f} after epoch {epoch}, worse than guessing ({guessing:.3f}).")
