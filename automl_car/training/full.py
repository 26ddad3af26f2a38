"""Fine-tunes a whole network on one fold; reads from top to bottom.

AdamW (Loshchilov & Hutter, 2017, arXiv:1711.05101) with a linear warm-up and a cosine, layer-wise decay of the learning
rate (Clark et al., 2020, arXiv:2003.10555), a running mean of the weights, and early stopping on log loss. The last
layer starts at the linear discriminant of the frozen features, as in linear probing before fine-tuning (Kumar et al.,
2022, arXiv:2202.10054), so that the first steps do not spoil the features.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from timm.optim import param_groups_layer_decay  # type: ignore[attr-defined]
from timm.utils import ModelEmaV3  # type: ignore[attr-defined]
from torch import Tensor, nn

from automl_car.catalog.records import Backbone
from automl_car.errors import DivergedError
from automl_car.losses import log_loss
from automl_car.records import Epoch, IntArray, Recipe
from automl_car.training.device import autocast
from automl_car.training.head import LinearHead
from automl_car.training.inference import predict_logits
from automl_car.training.mixing import mix
from automl_car.training.model import classifier
from automl_car.training.photos import EpochBatches, Pick, TrainingPhotos, normalise, training_loader


@dataclass(frozen=True, eq=False)
class Split:
    """The rows of one fold and where their photos come from.

    Attributes:
        pick: returns the photo of a training row as uint8 (H, W, 3).
        labels: of all training rows.
        training, validation: rows of the fold.
    """

    pick: Pick
    labels: tuple[int, ...]
    training: IntArray
    validation: IntArray


@dataclass(frozen=True, eq=False)
class BestModel:
    """The weights of the best epoch, their validation logits float32 (n, C), and how fast training went."""

    state: dict[str, Tensor]
    logits: NDArray[np.float32]
    images_per_second: float


def fine_tune(
    model: nn.Module,
    start: LinearHead | None,
    recipe: Recipe,
    backbone: Backbone,
    transform: Any,
    split: Split,
    num_classes: int,
    *,
    device: torch.device,
    workers: int,
    check: Callable[[float], None],
) -> Generator[Epoch, None, BestModel]:
    """Train `model` in place, yielding each epoch, and return the best one by log loss.

    Args:
        model: images (B, 3, S, S) to logits (B, num_classes), on the device.
        start: head that the last layer starts with; None leaves it random.
        check: called before each step with the share of all steps that is done; what it raises ends training.

    Raises:
        DivergedError: the loss is not finite, or the log loss after the first epochs is worse than guessing.
    """
    began = time.monotonic()
    if start is not None:
        _set_head(classifier(model, num_classes), start)
    groups, rates = _parameter_groups(model, recipe, num_classes, warm=start is not None)
    optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=device.type == "cuda")
    batches = EpochBatches(split.training, recipe.batch_size, recipe.seed)
    photos = TrainingPhotos(split.pick, split.labels, transform, recipe.seed)
    loader = training_loader(photos, batches, workers, pin=device.type == "cuda")
    total_steps = recipe.epochs * len(batches)
    mean_model = _mean_model(model, recipe, len(batches))
    validation_labels = np.asarray(split.labels)[split.validation]
    random = np.random.default_rng([recipe.seed, 1])
    best = BestModel({}, np.zeros((0, num_classes), np.float32), 0.0)
    best_loss, best_epoch, step, training_seconds = math.inf, 0, 0, 0.0

    for epoch in range(1, recipe.epochs + 1):
        batches.epoch = epoch
        mixing = epoch <= recipe.epochs * (1 - recipe.plain_epochs)
        running, epoch_began = 0.0, time.monotonic()
        model.train()
        for pictures, labels in loader:
            check(step / total_steps)
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * _schedule(step / total_steps, recipe.warmup)
            images = normalise(pictures, backbone.mean, backbone.std, device)
            targets = F.one_hot(labels.to(device), num_classes).float()  # (B,) -> (B, C)
            if mixing:
                images, targets = mix(images, targets, mixup=recipe.mixup, cutmix=recipe.cutmix, random=random)
            with autocast(device):
                loss = F.cross_entropy(model(images), targets, label_smoothing=recipe.label_smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            if recipe.clip_norm:
                nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
            optimizer.step()
            step += 1
            if mean_model is not None:
                mean_model.update(model, step=step)
            running += loss.item()
            if not math.isfinite(running):
                raise DivergedError(f"The training loss was {loss.item()} in epoch {epoch}, step {step}.")
        training_seconds += time.monotonic() - epoch_began

        judged = model if mean_model is None else mean_model.module
        logits = predict_logits(
            judged,
            split.pick,
            split.validation,
            backbone=backbone,
            image_size=recipe.image_size,
            batch_size=recipe.batch_size,
            flip=recipe.flip,
            device=device,
            check=partial(check, step / total_steps),
        )
        loss_now = log_loss(logits, validation_labels)
        yield Epoch(epoch, recipe.epochs, running / len(batches), loss_now, time.monotonic() - began)
        _refuse_divergence(loss_now, epoch, num_classes)
        if loss_now < best_loss:
            best_loss, best_epoch = loss_now, epoch
            best = BestModel(_on_host(judged), logits, step * batches.batch_size / training_seconds)
        elif recipe.patience and epoch - best_epoch >= recipe.patience:
            break
    return best


def _set_head(layer: nn.Linear, start: LinearHead) -> None:
    with torch.no_grad():
        layer.weight.copy_(start.weight)
        if layer.bias is not None:
            layer.bias.copy_(start.bias)


def _parameter_groups(
    model: nn.Module, recipe: Recipe, num_classes: int, *, warm: bool
) -> tuple[list[dict[str, Any]], list[float]]:
    """AdamW's parameter groups and the peak learning rate of each, lower layers slower."""
    groups = param_groups_layer_decay(model, recipe.weight_decay, layer_decay=recipe.layer_decay)
    head = {id(parameter) for parameter in classifier(model, num_classes).parameters()}
    faster = 1.0 if warm else recipe.head_multiplier  # a random head has far to go, a fitted one has not
    rates = []
    for group in groups:
        in_head = any(id(parameter) in head for parameter in group["params"])
        rates.append(recipe.learning_rate * group.pop("lr_scale", 1.0) * (faster if in_head else 1.0))
        group.pop("param_names", None)
    return groups, rates


def _schedule(progress: float, warmup: float) -> float:
    """Share of the peak rate: linear up to `warmup`, then half a cosine down to 0."""
    if progress < warmup:
        return (progress + 1e-3) / (warmup + 1e-3)
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / max(1e-9, 1 - warmup)))


def _mean_model(model: nn.Module, recipe: Recipe, steps_per_epoch: int) -> ModelEmaV3 | None:
    if not recipe.ema:
        return None
    decay = 0.5 ** (1 / max(1.0, recipe.ema * steps_per_epoch))
    return ModelEmaV3(model, decay=decay)


def _on_host(model: nn.Module) -> dict[str, Tensor]:
    return {name: copy.deepcopy(tensor.detach()).cpu().contiguous() for name, tensor in model.state_dict().items()}


def _refuse_divergence(log_loss_now: float, epoch: int, num_classes: int) -> None:
    guessing = math.log(num_classes)
    if not math.isfinite(log_loss_now):
        raise DivergedError(f"The log loss was {log_loss_now} after epoch {epoch}.")
    # The running mean still holds much of the start after one epoch, so the second one decides.
    if epoch == 2 and log_loss_now > guessing:
        raise DivergedError(f"The log loss was {log_loss_now:.3f} after epoch 2, worse than guessing ({guessing:.3f}).")
