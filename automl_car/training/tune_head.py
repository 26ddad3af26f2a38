"""Trains a linear head on features of the frozen backbone: one fold in seconds, and in memory that does not grow."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from automl_car.errors import DivergedError
from automl_car.fold_records import Epoch
from automl_car.losses import log_loss
from automl_car.records import IntArray
from automl_car.training.head import LinearHead, predict
from automl_car.training.health import NotFiniteError, refuse_logits, refuse_weights
from automl_car.training.refine import train_head
from automl_car.training.rows import FeatureArray, Rows
from automl_car.training.views import view_counts
from automl_car.training.work import Predicted, Trained, Work


def tune_head(work: Work) -> Generator[Epoch, None, Trained]:
    """Train the head of one fold, yielding each epoch.

    Raises:
        DivergedError: the features cannot be told apart by a discriminant, or the loss, the head or its logits are not
            finite. Half a learning rate would not mend that: the features stay what they are.
    """
    recipe, scratch = work.task.recipe, work.task.cache / "features"
    features = work.features(recipe.views)
    clock = work.clock.start()  # the time that features took says nothing about that of the head
    # The discriminant is solved in float64, which Apple's GPUs do not have.
    device = torch.device("cpu") if work.device.type == "mps" else work.device
    began = time.monotonic()

    def rows(views: Sequence[FeatureArray], chosen: IntArray) -> Rows:
        return Rows(views, chosen, recipe.power, device)

    def predicted_by(head: LinearHead, some: Rows) -> NDArray[np.float32]:
        return predict(head, some, scratch) if len(some) else work.no_logits()

    labels = np.asarray(work.prepared.dataset.labels)
    held_out = rows(features.train, work.validation)
    best_loss, best_epoch, best = math.inf, 0, None
    heads = train_head(
        rows(features.train, work.training),
        torch.from_numpy(labels[work.training]),
        work.num_classes,
        shrinkage=recipe.shrinkage,
        learning_rate=recipe.learning_rate,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        seed=recipe.seed,
        scratch=scratch,
    )
    for number, (loss, head) in enumerate(heads):
        clock.check(number / (recipe.epochs + 1))
        logits = predicted_by(head, held_out)
        _refuse_not_finite(head, loss, logits, f"after epoch {number}")
        loss_now = log_loss(logits, labels[work.validation]) if len(held_out) else math.nan
        yield Epoch(number, recipe.epochs, loss, loss_now, time.monotonic() - began)
        if loss_now < best_loss or not recipe.patience:
            best_loss, best_epoch, best = loss_now, number, (head, logits)
        elif number - best_epoch >= recipe.patience:
            break
    assert best is not None  # the first epoch is always kept
    head, logits = best
    tests = rows(features.test if work.task.test_fold is None else features.train, work.test)

    def predicted(views: int) -> Predicted:
        validation = logits if views == recipe.views else predicted_by(head, held_out.first(views))
        return Predicted(validation, work.fill_test(predicted_by(head, tests.first(views))))

    model = {"weight": head.weight.cpu().contiguous(), "bias": head.bias.cpu().contiguous()}
    return Trained({views: predicted(views) for views in view_counts(recipe.views)}, model)


def _refuse_not_finite(head: LinearHead, loss: float, logits: NDArray[np.float32], when: str) -> None:
    try:
        refuse_weights((head.weight, head.bias), when)
        if not math.isfinite(loss):
            raise NotFiniteError(f"the training loss was {loss} {when}")
        refuse_logits(logits, "validation photos", when)
    except NotFiniteError as found:
        raise DivergedError(f"Of the linear head, {found}.") from found
