"""Fine-tunes a whole network on one fold; reads from top to bottom.

AdamW (Loshchilov & Hutter, 2017, arXiv:1711.05101) with a linear warm-up and a cosine, layer-wise decay of the learning
rate (Clark et al., 2020, arXiv:2003.10555), a running mean of the weights, and early stopping on log loss. The last
layer starts at the linear discriminant of the frozen features, as in linear probing before fine-tuning (Kumar et al.,
2022, arXiv:2202.10054), and batch normalisation keeps the statistics that those features were computed with, so that
the first steps do not spoil them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from automl_car.catalog.params import own_values
from automl_car.catalog.records import Augmentation, Backbone
from automl_car.fold_records import Epoch
from automl_car.records import Recipe
from automl_car.training.augment import build_transform
from automl_car.training.epoch import Run, Split, run_epoch
from automl_car.training.head import LinearHead
from automl_car.training.health import Rates
from automl_car.training.loader import Batch, EpochBatches, TrainingPhotos, training_loader
from automl_car.training.model import classifier
from automl_car.training.optimizer import MeanModel, make_optimizer
from automl_car.training.photos import Normaliser
from automl_car.training.progressive import image_sides
from automl_car.training.resume import Checkpoints, Reached
from automl_car.training.room import Room
from automl_car.training.state import Saved, State
from automl_car.training.step import Passes


@dataclass(frozen=True, eq=False)
class BestModel:
    """The weights of the epoch that is kept, how fast training went, and what had to be mended on the way.

    Attributes:
        seconds_before: that earlier runs of the fold took, where it went on from a checkpoint.
        micro_batch: images that fitted into the memory at a time; 0 where they never had to be halved.
        mended: in words; empty where nothing had to be.
    """

    state: dict[str, Tensor]
    images_per_second: float
    seconds_before: float = 0.0
    micro_batch: int = 0
    mended: str = ""


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
    room: Room | None = None,
    checkpoints: Checkpoints | None = None,
) -> Generator[Epoch, None, BestModel]:
    """Train the network of `passes` in place, yielding each epoch, and return the one to keep (see `Recipe.patience`).

    Args:
        passes: of a network from images (B, 3, S, S) to logits (B, num_classes).
        start: head that the last layer starts with; None leaves it random.
        workers: processes that make the training pictures; 0 makes them in a thread.
        check: called before each step with the share of all steps that is done; what it raises ends training.
        room: how many images fit into the memory; None begins without any knowledge of that.
        checkpoints: of this fold. Epochs that an earlier run trained are yielded again and not trained again.

    Raises:
        DivergedError: numbers were not finite twice, or the log loss after the first epochs is worse than guessing.
        OutOfMemoryError: not even a sixteenth of the batch fits into the memory at a time.
    """
    if start is not None:
        _set_head(classifier(passes.model, num_classes), start)
    batches = EpochBatches(split.training, recipe.batch_size, recipe.seed)
    loader = _loader(recipe, augmentation, split, batches, workers, pin=passes.device.type == "cuda")
    run, saved, reached = _begin(
        passes, recipe, backbone, num_classes, batches, room or Room(), checkpoints, check, warm=start is not None
    )
    yield from reached.curve
    began, seconds_before = time.monotonic() - reached.seconds, reached.seconds
    while reached.epoch < recipe.epochs and not _patience_is_spent(reached, recipe):
        epoch_began = time.monotonic()
        epoch, training_seconds = run_epoch(run, loader, batches, split, reached.epoch + 1, saved)
        seconds = time.monotonic() - began
        reached = replace(
            _with(reached, run, replace(epoch, seconds=seconds)),
            seconds=seconds,
            training_seconds=reached.training_seconds + training_seconds,
            halved=run.rates.halved,
        )
        run.state.save(saved)
        if checkpoints is not None:
            checkpoints.write(reached, saved, time.monotonic() - epoch_began)
        yield reached.curve[-1]
    trained = reached.epoch * len(batches) * batches.batch_size
    speed = trained / reached.training_seconds
    return BestModel(reached.best, speed, seconds_before, run.fit.images if run.fit.is_smaller else 0, _mended(run))


def _begin(
    passes: Passes,
    recipe: Recipe,
    backbone: Backbone,
    num_classes: int,
    batches: EpochBatches,
    room: Room,
    checkpoints: Checkpoints | None,
    check: Callable[[float], None],
    *,
    warm: bool,
) -> tuple[Run, Saved, Reached]:
    """What training begins with: the run, its state as it is kept, and how far the fold is already.

    Args:
        warm: whether the last layer starts with a head that knows something.
    """
    optimizer, peaks = make_optimizer(passes.model, recipe, num_classes, passes.device, warm=warm)
    mean_model = MeanModel(passes.model, recipe.ema * len(batches)) if recipe.ema else None
    random = np.random.default_rng([recipe.seed, 1])
    mean = None if mean_model is None else mean_model.model
    state = State(passes.model, mean, optimizer, random, passes.device)
    saved = Saved()
    state.save(saved)
    reached = _go_on(checkpoints, state, saved)
    run = Run(
        passes,
        state,
        mean_model,
        Rates(peaks, reached.halved),
        room.fit("training", passes.step.micro_batch or batches.batch_size),
        room,
        recipe,
        backbone,
        num_classes,
        Normaliser(backbone, passes.device),
        recipe.epochs * len(batches),
        _from(reached.epoch / recipe.epochs, check),
    )
    return run, saved, reached


def _loader(
    recipe: Recipe, augmentation: Augmentation, split: Split, batches: EpochBatches, workers: int, *, pin: bool
) -> Iterable[Batch]:
    sides = image_sides(recipe.image_size, recipe.epochs, recipe.progressive)
    params = own_values(augmentation.name, dict(recipe.params))
    transforms = {side: build_transform(augmentation, side, params) for side in set(sides)}
    photos = TrainingPhotos(split.pick, split.labels, transforms, sides, recipe.seed)
    return training_loader(photos, batches, workers, pin=pin)


# ---- from epoch to epoch --------------------------------------------------------------------------------------------


def _go_on(checkpoints: Checkpoints | None, state: State, saved: Saved) -> Reached:
    """Where the fold begins: at a checkpoint, whose state is put into place and into `saved`, or at its beginning."""
    found = checkpoints.read(like=saved) if checkpoints is not None else None
    if found is None:
        return Reached()
    reached, stored = found
    state.restore(stored)
    state.save(saved)
    return reached


def _from(share: float, check: Callable[[float], None]) -> Callable[[float], None]:
    """A check of what is left after a share of the work: the clock compares what it sees done with the time it took."""
    return lambda done: check((done - share) / (1 - share) if share < 1 else 1.0)


def _patience_is_spent(reached: Reached, recipe: Recipe) -> bool:
    return bool(recipe.patience) and reached.epoch - reached.best_epoch >= recipe.patience


def _with(reached: Reached, run: Run, epoch: Epoch) -> Reached:
    """One epoch more, whose weights are kept if they are the best so far."""
    longer = replace(reached, curve=(*reached.curve, epoch))
    assert epoch.calibrated is not None
    # Without patience the last epoch is kept; copying the weights of those before would be wasted.
    if not (epoch.calibrated < reached.best_loss if run.recipe.patience else epoch.number == epoch.total):
        return longer
    return replace(longer, best=_on_host(run.judged.model), best_loss=epoch.calibrated, best_epoch=epoch.number)


def _mended(run: Run) -> str:
    """What had to be mended, in words."""
    mended = [f"the learning rate was halved, as {run.rates.halved}"] if run.rates.halved else []
    if run.fit.is_smaller:
        images = "1 image goes" if run.fit.images == 1 else f"{run.fit.images} images go"
        statistics = ", and batch normalisation takes its statistics from them" if run.fit.least > 1 else ""
        mended.append(f"{images} through the network at a time for lack of memory{statistics}")
    return "; ".join(mended)


def _set_head(layer: nn.Linear, start: LinearHead) -> None:
    with torch.no_grad():
        layer.weight.copy_(start.weight)
        if layer.bias is not None:
            layer.bias.copy_(start.bias)


def _on_host(model: nn.Module) -> dict[str, Tensor]:
    state = model.state_dict()
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in state.items()}
