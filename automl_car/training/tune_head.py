"""Trains a linear head on features of the frozen backbone: one fold in seconds."""

from __future__ import annotations

import math
import time
from collections.abc import Generator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from automl_car.errors import DivergedError
from automl_car.losses import log_loss
from automl_car.records import Epoch
from automl_car.training.head import raise_to, train_head
from automl_car.training.work import Trained, Work


def tune_head(work: Work) -> Generator[Epoch, None, Trained]:
    """Train the head of one fold, yielding each epoch.

    Raises:
        DivergedError: the log loss is not finite.
    """
    recipe = work.task.recipe
    features = work.features()
    clock = work.clock.start()  # the time that features took says nothing about that of the head
    # The discriminant is solved in float64, which Apple's GPUs do not have.
    device = torch.device("cpu") if work.device.type == "mps" else work.device
    views = 2 if recipe.flip else 1
    began = time.monotonic()

    def load(array: NDArray[np.float16]) -> Tensor:
        return raise_to(torch.from_numpy(array.astype(np.float32)).to(device), recipe.power)

    labels = np.asarray(work.prepared.dataset.labels)
    held_out = load(features.train[:views, work.validation])
    best_loss, best_epoch, best = math.inf, 0, None
    heads = train_head(
        load(features.train[:views, work.training]),
        torch.from_numpy(labels[work.training]).to(device),
        work.num_classes,
        shrinkage=recipe.shrinkage,
        learning_rate=recipe.learning_rate,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        seed=recipe.seed,
    )
    for number, (loss, head) in enumerate(heads):
        clock.check(number / (recipe.epochs + 1))
        logits = head(held_out).mean(0).cpu().numpy()  # (V, n, C) -> (n, C)
        loss_now = log_loss(logits, labels[work.validation])
        yield Epoch(number, recipe.epochs, loss, loss_now, time.monotonic() - began)
        if not math.isfinite(loss_now):
            raise DivergedError(f"The log loss of the linear head was {loss_now} after epoch {number}.")
        if loss_now < best_loss or not recipe.patience:
            best_loss, best_epoch, best = loss_now, number, (head, logits)
        elif number - best_epoch >= recipe.patience:
            break
    assert best is not None  # the first epoch is always kept
    head, logits = best
    test = head(load(features.test[:views])).mean(0).cpu().numpy() if features.test.shape[1] else work.no_logits()
    model = {"weight": head.weight.cpu().contiguous(), "bias": head.bias.cpu().contiguous()}
    return Trained(logits, work.prepared.fill_test(test), model, 0.0)
