"""Measures how fast a recipe trains on this machine, in a few steps on random pictures or random features."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import torch

from automl_car.catalog.manager import Catalog
from automl_car.fold_records import Speed, SpeedTask
from automl_car.joint import part_recipes
from automl_car.memory import give_back_memory
from automl_car.training import device as devices
from automl_car.training.choose_step import example_batch, measured_steps, pick_step, time_fitting
from automl_car.training.folding import inference_passes
from automl_car.training.model import build_model, classifier, feature_extractor
from automl_car.training.refine import train_head
from automl_car.training.rows import Rows
from automl_car.training.step import Passes, passes, plain_step

_SECONDS = 1.0  # that forward passes are measured for
_ROWS = 2048  # of random features that a head is measured with
_FEATURES_BATCH = 32


def measure_speed(task: SpeedTask, catalog: Catalog) -> Speed:
    """Time the recipe's passes as a fold would compute them, or the training of its head."""
    device = devices.pick_device()
    give_back_memory()
    devices.reset_peak_memory(device)
    measure = _measure_head if task.recipe.tuning == "head" else _measure_full
    speed = measure(task, catalog, device)
    return replace(speed, peak_memory_bytes=devices.peak_memory_bytes(device))


def _measure_full(task: SpeedTask, catalog: Catalog, device: torch.device) -> Speed:
    recipe, backbone = task.recipe, catalog.backbone(task.recipe.backbone)
    model = build_model(backbone, recipe, task.num_classes)
    images, targets = example_batch(recipe, task.num_classes, device)
    if task.step == "plain":
        measured = time_fitting(model, plain_step(device), (images, targets), device)
    else:
        ways = measured_steps(model, backbone, recipe, task.num_classes, device, task.cache)
        measured = pick_step(ways, task.images)
    network = passes(model, measured.step, device)
    network.backward(images, targets)  # for the peak of memory: the measurement may have been read
    return Speed(1 / measured.seconds, _forward_per_second(network, images))


def _measure_head(task: SpeedTask, catalog: Catalog, device: torch.device) -> Speed:
    parts = catalog.parts(task.recipe.backbone)
    width, seconds = 0, 0.0
    for part, recipe in zip(parts, part_recipes(task.recipe, parts), strict=True):
        model = build_model(part, recipe, task.num_classes)
        width += classifier(model, task.num_classes).in_features
        network = inference_passes(feature_extractor(model, task.num_classes), recipe.image_size, device)
        images, _ = example_batch(replace(recipe, batch_size=_FEATURES_BATCH), task.num_classes, device)
        seconds += 1 / _forward_per_second(network, images)
    host = torch.device("cpu") if device.type == "mps" else device
    setup, epoch, rows = _head_seconds(task, width, host)
    return Speed(rows / epoch, 1 / seconds, setup=setup * (task.images / task.recipe.epochs) / rows)


def _head_seconds(task: SpeedTask, width: int, device: torch.device) -> tuple[float, float, int]:
    """Seconds of the discriminant and of one epoch, and the rows that they were measured with."""
    recipe, random = task.recipe, np.random.default_rng(0)
    count = max(2 * task.num_classes, min(_ROWS, task.images // recipe.epochs))
    views = [random.standard_normal((count, width)).astype(np.float16) for _ in range(recipe.views)]
    heads = train_head(
        Rows(views, np.arange(count), recipe.power, device),
        torch.from_numpy(np.arange(count) % task.num_classes),
        task.num_classes,
        shrinkage=recipe.shrinkage,
        learning_rate=recipe.learning_rate,
        epochs=1,
        batch_size=recipe.batch_size,
        seed=recipe.seed,
        scratch=task.cache / "features",
    )
    times = [time.perf_counter()]
    for _ in heads:
        times.append(time.perf_counter())
    return times[1] - times[0], times[2] - times[1], count


def _forward_per_second(network: Passes, images: torch.Tensor) -> float:
    network.model.eval()
    with torch.inference_mode():
        network.forward(images)  # the first pass allocates
        began, done = time.perf_counter(), 0
        while time.perf_counter() - began < _SECONDS:
            network.forward(images).sum().item()  # waits for a GPU
            done += len(images)
    return done / (time.perf_counter() - began)
