"""Measures how fast a recipe trains on this machine, in a few steps on random pictures."""

from __future__ import annotations

import time

import torch
import torch.nn.functional as F
from torch import nn

from automl_car.catalog.manager import Catalog
from automl_car.records import Speed, SpeedTask
from automl_car.training import device as devices
from automl_car.training.model import build_model

_WARM_UP, _STEPS = 1, 2


def measure_speed(task: SpeedTask, catalog: Catalog) -> Speed:
    """Time forward and backward passes of the recipe's backbone at its image and batch size."""
    device = devices.pick_device()
    recipe = task.recipe
    model = build_model(catalog.backbone(recipe.backbone), recipe, task.num_classes)
    model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.rand(recipe.batch_size, 3, recipe.image_size, recipe.image_size, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.zeros(recipe.batch_size, dtype=torch.int64, device=device)
    training = _images_per_second(model.train(), images, labels)
    with torch.inference_mode():
        validation = _images_per_second(model.eval(), images, None)
    return Speed(training, validation)


def _images_per_second(model: nn.Module, images: torch.Tensor, labels: torch.Tensor | None) -> float:
    began = 0.0
    for step in range(_WARM_UP + _STEPS):
        if step == _WARM_UP:
            began = _now(images.device)
        with devices.autocast(images.device):
            logits = model(images)
        if labels is not None:
            F.cross_entropy(logits, labels).backward()  # type: ignore[no-untyped-call]
    return _STEPS * len(images) / (_now(images.device) - began)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
