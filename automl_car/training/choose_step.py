"""Which way of computing passes is fastest: measured once per backbone, size, batch and device, and remembered.

    <cache>/steps/<key>.json    what was measured, to be read by people too

No rule says beforehand what is fast: bfloat16 doubles the speed of ResNets on processors that have it and slows
EfficientNets down, and small micro-batches suit a processor's caches and starve a GPU.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from automl_car.catalog.params import own_values
from automl_car.catalog.records import Backbone
from automl_car.files import write_atomically
from automl_car.pulse import pulse
from automl_car.records import Recipe, fingerprint
from automl_car.training.device import device_name
from automl_car.training.optimizer import set_training_mode
from automl_car.training.room import free_memory, has_batch_statistics, lacks_memory
from automl_car.training.step import Passes, Step, passes, plain_step
from automl_car.turns import one_at_a_time

_VERSION = 1  # raise it when what is measured changes
_PATIENCE = 20.0  # seconds for all measurements of one backbone and size
_REPEATS = 4  # steps of each way, the first of which does not count
_MARGIN = 0.93  # of the time of the plainer way, which must be undercut: measurements are noisy, and plain is robust
_SMALLEST = 8  # images of the smallest micro-batch that is tried
_LEAST_COSINE = 0.98  # between the gradients in bfloat16 and in float32; below it, speed is not worth it


Example = tuple[Tensor, Tensor]  # images float32 (B, 3, S, S) and targets float32 (B, C)


@dataclass(frozen=True)
class Measured:
    """What one way costs: seconds per image forward and backward, and once per fold before the first step."""

    step: Step
    seconds: float
    setup: float = 0.0

    def total(self, images: int) -> float:
        """Seconds for a fold that trains on this many images, repetitions counted."""
        return self.setup + self.seconds * images


def pick_step(measured: tuple[Measured, ...], images: int) -> Measured:
    """The way with the lowest cost; an earlier, plainer one unless a later one is clearly cheaper.

    Args:
        images: that a fold trains on, repetitions counted; many make a costly compilation worth it.
    """
    best = measured[0]
    for other in measured[1:]:
        if other.total(images) < _MARGIN * best.total(images):
            best = other
    return best


def measured_steps(
    model: nn.Module,
    backbone: Backbone,
    recipe: Recipe,
    num_classes: int,
    device: torch.device,
    cache: Path,
    *,
    tell: Callable[[], None] = lambda: None,
) -> tuple[Measured, ...]:
    """What every way to train `model` on `device` costs, a plain one first; read where it was measured before.

    Args:
        model: images float32 (B, 3, S, S) to logits (B, num_classes); left as it is.
        cache: folder of all caches.
        tell: called before something is measured.
    """
    what = key_of(backbone, recipe, device)
    file = cache / "steps" / f"{fingerprint(what)}.json"
    if known := _read(file):
        return known
    with one_at_a_time(cache / "locks" / f"{file.stem}.lock", pulse):
        if known := _read(file):  # another process has measured meanwhile
            return known
        tell()
        with torch.random.fork_rng():  # what a network draws here, its training must not miss
            measured = _measure(copy.deepcopy(model), recipe, num_classes, device)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, json.dumps(what | {"measured": [asdict(one) for one in measured]}, indent=1))
    return measured


def _read(file: Path) -> tuple[Measured, ...]:
    """What was measured before; nothing where the file is damaged: then it is measured again."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))["measured"]
        return tuple(Measured(Step(**value.pop("step")), **value) for value in values)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return ()


def key_of(backbone: Backbone, recipe: Recipe, device: torch.device) -> dict[str, Any]:
    """What a measurement depends on."""
    return {
        "version": _VERSION,
        "backbone": backbone.name,
        "source": backbone.source,
        "params": own_values(backbone.name, dict(recipe.params)),
        "image_size": recipe.image_size,
        "batch_size": recipe.batch_size,
        "freeze_norm": recipe.freeze_norm,
        "device": device_name(device),
        "threads": torch.get_num_threads() if device.type == "cpu" else None,  # of the passes
        "torch": torch.__version__,
    }


# ---- measuring ------------------------------------------------------------------------------------------------------


def _measure(model: nn.Module, recipe: Recipe, num_classes: int, device: torch.device) -> tuple[Measured, ...]:
    """The plain way, then one change after the other, each on top of the best before it.

    The best way is timed again beside each other one: what else the machine does comes and goes.
    """
    stop = time.perf_counter() + _PATIENCE
    example = example_batch(recipe, num_classes, device)
    set_training_mode(model, freeze_norm=recipe.freeze_norm)
    splits = device.type == "cpu" and not has_batch_statistics(model)
    smallest = _SMALLEST if splits and recipe.batch_size > _SMALLEST else 0
    measured = [time_fitting(model, replace(plain_step(device), micro_batch=smallest), example, device)]
    best = 0
    for change in _changes(measured[0].step, recipe.batch_size, device):
        incumbent = measured[best]
        candidate = replace(incumbent.step, **change)
        images, targets = _part(candidate, example)
        if incumbent.seconds * len(images) * _REPEATS > stop - time.perf_counter():
            continue
        if candidate.precision != incumbent.step.precision and not _agree(
            model, incumbent.step, candidate, device, *example
        ):
            continue
        again = time_step(passes(model, incumbent.step, device), *_part(incumbent.step, example))
        measured[best] = replace(incumbent, seconds=min(incumbent.seconds, again.seconds))
        found = _time_if_it_fits(passes(model, candidate, device), images, targets)
        if found is None:
            continue
        measured.append(found)
        if not measured[-1].setup and measured[-1].seconds < _MARGIN * measured[best].seconds:
            best = len(measured) - 1
    return tuple(measured)


def time_fitting(model: nn.Module, step: Step, example: Example, device: torch.device) -> Measured:
    """The step, or with the largest micro-batch that fits into the memory."""
    while True:
        try:
            return time_step(passes(model, step, device), *_part(step, example))
        except Exception as error:
            half = (step.micro_batch or len(example[0])) // 2
            if not lacks_memory(error) or half < (2 if has_batch_statistics(model) else 1):
                raise
        step = replace(step, micro_batch=half)
        model.zero_grad(set_to_none=True)
        free_memory()


def _time_if_it_fits(network: Passes, images: Tensor, targets: Tensor) -> Measured | None:
    try:
        return time_step(network, images, targets)
    except Exception as error:
        if not lacks_memory(error):
            raise
    network.model.zero_grad(set_to_none=True)
    free_memory()
    return None


def _changes(first: Step, batch_size: int, device: torch.device) -> Iterator[dict[str, Any]]:
    """What is tried: layout and precision with few images, then more images at a time."""
    yield {"channels_last": not first.channels_last}
    if device.type == "cpu":
        yield {"precision": "bfloat16"}
    if device.type == "cpu" and first.micro_batch:
        sizes = [first.micro_batch << power for power in range(1, batch_size.bit_length())]
        yield from ({"micro_batch": size} for size in [*(size for size in sizes if size < batch_size), 0])
    if device.type == "cuda":
        yield {"compiled": True}


def time_step(network: Passes, images: Tensor, targets: Tensor) -> Measured:
    """The fastest of some steps: whatever else the machine does can only slow one down."""
    times = []
    for _ in range(_REPEATS):
        began = _now(network.device)
        network.backward(images, targets)
        times.append(_now(network.device) - began)
        network.model.zero_grad(set_to_none=True)
    fastest = min(times[1:])
    # The first step of a compiled network compiles it; of others, it only allocates memory.
    return Measured(network.step, fastest / len(images), times[0] - fastest if network.step.compiled else 0.0)


def _agree(model: nn.Module, step: Step, other: Step, device: torch.device, images: Tensor, targets: Tensor) -> bool:
    """Whether both give a gradient of the same direction."""
    gradients = []
    for way in (step, other):
        passes(model, way, device).backward(images[:_SMALLEST], targets[:_SMALLEST])
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
        model.zero_grad(set_to_none=True)
    return float(F.cosine_similarity(gradients[0], gradients[1], dim=0)) >= _LEAST_COSINE


def example_batch(recipe: Recipe, num_classes: int, device: torch.device) -> Example:
    """A batch of smooth random pictures with random labels."""
    random = torch.Generator().manual_seed(0)
    coarse = torch.randn(recipe.batch_size, 3, 8, 8, generator=random)
    images = F.interpolate(coarse, (recipe.image_size, recipe.image_size), mode="bilinear")
    labels = torch.randint(num_classes, (recipe.batch_size,), generator=random)
    return images.to(device), F.one_hot(labels, num_classes).float().to(device)


def _part(step: Step, example: Example) -> Example:
    images, targets = example
    count = step.micro_batch or len(images)
    return images[:count], targets[:count]


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
