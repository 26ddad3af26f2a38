"""Fine-tunes the whole network on one fold, starting its last layer from the frozen features."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import asdict, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from automl_car.fold_records import Epoch, Progress
from automl_car.records import IntArray
from automl_car.training.choose_step import key_of, measured_steps, pick_step
from automl_car.training.epoch import Split
from automl_car.training.full import fine_tune
from automl_car.training.head import LinearHead, fit_discriminant
from automl_car.training.inference import predict_by_views
from automl_car.training.loader import pick_workers
from automl_car.training.model import build_model
from automl_car.training.photos import Pick
from automl_car.training.room import Room
from automl_car.training.rows import Rows
from automl_car.training.step import Passes, Step, passes, plain_step
from automl_car.training.views import choose_views, view_counts
from automl_car.training.work import Predicted, Trained, Work

# Of the covariance behind the start of fine-tuning. Much more than for a head that stays: the start must also suit
# augmented photos, and features that are about to move.
_START_SHRINKAGE = 0.9
_START_VIEWS = 2  # the photo and its mirror image, as the network is validated


def tune_full(work: Work) -> Generator[Epoch, None, Trained]:
    """Fine-tune the network of one fold, yielding each epoch; see `full.fine_tune`."""
    recipe, dataset = work.task.recipe, work.prepared.dataset
    start = _start_of_head(work) if recipe.weights != "random" else None
    # Seeded here and not before: computing features draws random numbers, and finding them in the cache does not.
    torch.manual_seed(recipe.seed * 1000 + work.task.fold)
    model = build_model(work.backbone, recipe, work.num_classes)
    network = passes(model, _step(work, model), work.device)
    room = Room.of(work.task.cache, key_of(work.backbone, recipe, work.device))
    best = yield from fine_tune(
        network,
        start,
        recipe,
        work.backbone,
        work.catalog.augmentation(recipe.augmentation),
        Split(work.prepared.train_image, dataset.labels, work.training, work.validation),
        work.num_classes,
        workers=pick_workers(work.task.workers, work.device),
        check=work.clock.start().check,
        room=room,
        checkpoints=work.checkpoints,
    )
    model.load_state_dict(best.state)
    validation = _predict(work, network, work.prepared.train_image, work.validation, room)
    test = _predict(work, network, work.test_image, work.test, room)
    predicted = {views: Predicted(validation[views], work.fill_test(test[views])) for views in validation}
    step = replace(network.step, micro_batch=best.micro_batch) if best.micro_batch else network.step
    return Trained(predicted, best.state, best.images_per_second, asdict(step), best.seconds_before, best.mended)


def _predict(work: Work, network: Passes, pick: Pick, rows: IntArray, room: Room) -> dict[int, NDArray[np.float32]]:
    """Logits (n, C) by number of views: 1, 2 and all of the recipe."""
    recipe = work.task.recipe
    if not len(rows):
        return dict.fromkeys(view_counts(recipe.views), work.no_logits())
    return predict_by_views(
        network,
        pick,
        rows,
        backbone=work.backbone,
        image_size=recipe.image_size,
        batch_size=recipe.batch_size,
        views=choose_views(recipe.views, flip=recipe.flip),
        counts=view_counts(recipe.views),
        room=room,
    )


def _step(work: Work, model: nn.Module) -> Step:
    """The way to compute passes that is fastest here, or the plain one if that was asked for."""
    task, recipe = work.task, work.task.recipe
    if task.step == "plain":
        return plain_step(work.device)

    def tell() -> None:
        work.report(Progress(f"measuring {recipe.backbone} at {recipe.image_size} px", 0, 1))

    measured = measured_steps(model, work.backbone, recipe, work.num_classes, work.device, task.cache, tell=tell)
    return pick_step(measured, recipe.epochs * len(work.training)).step


def _start_of_head(work: Work) -> LinearHead:
    labels = torch.from_numpy(np.asarray(work.prepared.dataset.labels)[work.training])
    rows = Rows(work.features(_START_VIEWS).train, work.training)
    return fit_discriminant(rows, labels, work.num_classes, _START_SHRINKAGE).head
