"""Fine-tuning of a small network, seen from outside: curves, the weights that it returns, and how it ends."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from automl_car.catalog.manager import load_catalog
from automl_car.catalog.records import Backbone
from automl_car.errors import DivergedError
from automl_car.fold_records import Epoch
from automl_car.losses import log_loss
from automl_car.records import Recipe
from automl_car.training.full import BestModel, Split, fine_tune
from automl_car.training.head import LinearHead
from automl_car.training.inference import predict_logits
from automl_car.training.photos import Pick
from automl_car.training.resume import Checkpoints
from automl_car.training.room import Room
from automl_car.training.step import Step, passes
from automl_car.training.views import choose_views

CPU = torch.device("cpu")
BACKBONE = Backbone("toy", lambda classes: None, image_size=16)
RECIPE = Recipe(
    "toy", image_size=16, learning_rate=0.02, epochs=4, batch_size=12, patience=0, warmup=0.1, ema=0.0, weights="random"
)
LABELS = tuple(row % 3 for row in range(48))
SPLIT_ROWS = np.arange(36), np.arange(36, 48)


def pick(row: int) -> NDArray[np.uint8]:
    """A photo whose colour says its class."""
    photo = np.random.default_rng(row).normal(90, 30, (18, 20, 3))
    photo[..., row % 3] += 90
    return np.clip(photo, 0, 255).astype(np.uint8)


def grey(row: int) -> NDArray[np.uint8]:
    """A photo of one colour, which says its row, so that only mixing can put two colours into a picture."""
    return np.full((16, 16, 3), 5 * row, np.uint8)


def network(seed: int = 0, classes: int = 3) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes)
    )


@dataclass
class Run:
    """What a fine-tuning showed and returned."""

    curve: list[Epoch]
    best: BestModel
    model: nn.Module


def run(
    recipe: Recipe = RECIPE,
    model: nn.Module | None = None,
    *,
    labels: tuple[int, ...] = LABELS,
    photo: Pick = pick,
    start: LinearHead | None = None,
    check: Callable[[float], None] = lambda done: None,
    room: Room | None = None,
    checkpoints: Checkpoints | None = None,
) -> Run:
    model = model or network()
    split = Split(photo, labels, *SPLIT_ROWS)
    plain, none = passes(model, Step(), CPU), load_catalog().augmentation("none")
    options: dict[str, Any] = {"workers": 0, "check": check, "room": room, "checkpoints": checkpoints}
    epochs = fine_tune(plain, start, recipe, BACKBONE, none, split, 3, **options)
    curve: list[Epoch] = []
    while True:
        try:
            curve.append(next(epochs))
        except StopIteration as stop:
            return Run(curve, stop.value, model)


def predict(model: nn.Module, recipe: Recipe = RECIPE) -> NDArray[np.float32]:
    views = choose_views(2 if recipe.flip else 1, flip=recipe.flip)
    options: dict[str, Any] = {"image_size": recipe.image_size, "batch_size": 12, "views": views}
    return predict_logits(passes(model, Step(), CPU), pick, SPLIT_ROWS[1], backbone=BACKBONE, **options)


def kept(result: Run) -> NDArray[np.float32]:
    """Validation logits of the weights that came back."""
    again = network(seed=9)
    again.load_state_dict(result.best.state)
    return predict(again)


def calibrated(result: Run) -> list[float]:
    """Of each epoch, what epochs are compared by."""
    return [epoch.calibrated for epoch in result.curve if epoch.calibrated is not None]


def best_of_temperatures(logits: NDArray[np.float32], labels: tuple[int, ...]) -> float:
    """The least log loss of the validation rows that any of many temperatures gives."""
    own = np.array(labels)[SPLIT_ROWS[1]]
    return min(log_loss(logits, own, temperature=temperature) for temperature in np.geomspace(0.05, 20, 5000))


# ---- learning -------------------------------------------------------------------------------------------------------


def test_the_loss_falls_where_there_is_something_to_learn() -> None:
    curve = run(replace(RECIPE, epochs=10)).curve
    assert curve[-1].log_loss < 0.5 * math.log(3)
    assert curve[-1].train_loss < curve[0].train_loss


def test_every_epoch_is_shown_once_and_in_order() -> None:
    curve = run().curve
    assert [(epoch.number, epoch.total) for epoch in curve] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert all(before.seconds < after.seconds for before, after in itertools.pairwise(curve))


def _losses(recipe: Recipe) -> list[tuple[float, float]]:
    return [(epoch.train_loss, epoch.log_loss) for epoch in run(recipe).curve]


def test_the_same_seed_gives_the_same_curve() -> None:
    recipe = replace(RECIPE, mixup=0.3, cutmix=0.3, ema=0.5)
    assert _losses(recipe) == _losses(recipe)


def test_another_seed_gives_another_curve() -> None:
    assert _losses(RECIPE) != _losses(replace(RECIPE, seed=1))


# ---- which weights come back ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_the_weights_that_come_back_have_the_log_loss_that_was_shown(ema: float) -> None:
    result = run(replace(RECIPE, ema=ema))
    assert log_loss(kept(result), np.array(LABELS)[SPLIT_ROWS[1]]) == pytest.approx(result.curve[-1].log_loss, abs=1e-5)


# The classes of half the validation photos are swapped: the more is learned, the worse is the log loss there.
CONTRADICTED = (*LABELS[:36], *((label + row % 2) % 3 for row, label in enumerate(LABELS[36:])))
PATIENT = replace(RECIPE, epochs=30, learning_rate=0.01, warmup=0.5)  # divergence is looked for after the warm-up


def test_the_calibrated_log_loss_of_an_epoch_is_that_after_the_best_temperature() -> None:
    result = run(replace(RECIPE, warmup=1.0), labels=CONTRADICTED)
    assert calibrated(result)[-1] == pytest.approx(best_of_temperatures(kept(result), CONTRADICTED), abs=1e-5)
    assert all(epoch.calibrated < epoch.log_loss for epoch in result.curve if epoch.calibrated)


@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_the_best_epoch_is_kept_and_not_the_last(ema: float) -> None:
    result = run(replace(PATIENT, patience=4, ema=ema), labels=CONTRADICTED)
    losses = calibrated(result)
    assert losses[-1] > min(losses)
    assert best_of_temperatures(kept(result), CONTRADICTED) == pytest.approx(min(losses), abs=1e-5)


def test_training_stops_when_patience_is_spent() -> None:
    losses = calibrated(run(replace(PATIENT, patience=4), labels=CONTRADICTED))
    best = losses.index(min(losses))
    assert len(losses) == best + 1 + 4 < 30


class Overconfident(nn.Module):
    """Gets more photos right until its fourth epoch, and is surer of all it says with each, right or wrong."""

    RIGHT = (6, 7, 8, 9, 8, 7, 6, 5)  # of the twelve validation photos, after each epoch

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 3)
        self.register_buffer("epoch", torch.zeros((), dtype=torch.long))
        self.has_trained = False

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            self.has_trained = True
            return self.head(images.mean((2, 3)))
        self.epoch += self.has_trained
        self.has_trained = False
        rows = ((images[:, 0, 0, 0] * BACKBONE.std[0] + BACKBONE.mean[0]) * 255 / 5).round().long()  # see `grey`
        wrong = rows - SPLIT_ROWS[1][0] >= self.RIGHT[int(self.epoch) - 1]
        return 4.0 * (1 + self.epoch) * F.one_hot((rows + wrong) % 3, 3)


def test_early_stopping_goes_by_the_calibrated_log_loss() -> None:
    result = run(replace(RECIPE, epochs=8, patience=2, warmup=1.0), Overconfident(), photo=grey)
    raw = [epoch.log_loss for epoch in result.curve]
    assert raw.index(min(raw)) == 0
    assert len(raw) == 4 + 2
    assert int(result.best.state["epoch"]) == 4


def test_without_patience_the_last_epoch_is_kept() -> None:
    recipe = replace(RECIPE, epochs=6, warmup=1.0)
    result = run(recipe, labels=CONTRADICTED)
    assert len(result.curve) == 6
    expected = log_loss(kept(result), np.array(CONTRADICTED)[SPLIT_ROWS[1]])
    assert result.curve[-1].log_loss == pytest.approx(expected, abs=1e-5)
    np.testing.assert_allclose(predict(result.model), kept(result), atol=1e-5)


def test_without_ema_the_weights_of_the_best_epoch_are_the_networks_own() -> None:
    result = run(replace(RECIPE, epochs=1))
    own = result.model.state_dict()
    assert all(torch.equal(tensor, own[name]) for name, tensor in result.best.state.items())


def test_with_ema_the_weights_lie_between_start_and_end() -> None:
    start = copy.deepcopy(network().state_dict())
    result = run(replace(RECIPE, epochs=1, ema=2.0))
    for name, mean in result.best.state.items():
        whole = (result.model.state_dict()[name] - start[name]).norm()
        assert 0 < (mean - start[name]).norm() < whole


def test_the_speed_is_positive() -> None:
    assert run().best.images_per_second > 0


# ---- learning rates -------------------------------------------------------------------------------------------------


def _distances(layer_decay: float) -> tuple[float, float]:
    """How far the first and the last convolution of a network moved in one epoch of AdamW, per weight."""
    torch.manual_seed(0)
    model = timm.create_model("test_efficientnet", num_classes=3)
    before = copy.deepcopy(model.state_dict())
    recipe = replace(RECIPE, image_size=32, layer_decay=layer_decay, epochs=1, weight_decay=0.0, learning_rate=1e-3)
    after = run(recipe, model).model.state_dict()
    return tuple(float((after[name] - before[name]).abs().mean()) for name in ("conv_stem.weight", "conv_head.weight"))  # type: ignore[return-value]


def test_layer_decay_slows_lower_layers_more_than_higher_ones() -> None:
    low, high = np.divide(_distances(0.5), _distances(1.0))
    assert low < 0.5 * high
    assert high < 1.01


def test_a_random_last_layer_learns_faster_than_a_fitted_one() -> None:
    def distance(start: LinearHead | None) -> float:
        model = network()
        before = model[4].weight.detach().clone()
        run(replace(RECIPE, epochs=1, learning_rate=1e-4), model, start=start)
        return float((model[4].weight.detach() - before).abs().mean())

    fitted = LinearHead(network()[4].weight.detach(), network()[4].bias.detach())
    assert distance(None) == pytest.approx(RECIPE.head_multiplier * distance(fitted), rel=0.2)


def test_training_starts_from_the_given_head() -> None:
    start = LinearHead(torch.full((3, 8), 0.5), torch.tensor([1.0, 2.0, 3.0]))
    expected = network()
    expected[4].weight.data.copy_(start.weight)
    expected[4].bias.data.copy_(start.bias)
    result = run(replace(RECIPE, epochs=1, learning_rate=1e-9), start=start)
    np.testing.assert_allclose(kept(result), predict(expected), atol=1e-4)


# ---- mixing ---------------------------------------------------------------------------------------------------------


class Observer(nn.Module):
    """A network that keeps what it was trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network()
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            self.seen.append(images.detach().clone())
        return self.inner(images)


@pytest.mark.parametrize(("plain_epochs", "mixed_epochs"), [(0.25, 6), (0.5, 4), (1.0, 0), (0.0, 8)])
def test_the_last_epochs_are_not_mixed(plain_epochs: float, mixed_epochs: int) -> None:
    observer = Observer()
    recipe = replace(RECIPE, epochs=8, cutmix=1.0, plain_epochs=plain_epochs, warmup=1.0)
    run(recipe, observer, photo=grey)
    # Mixed: there is a picture of more than one colour in the batch.
    mixed = [bool((images.amax((2, 3)) - images.amin((2, 3))).max() > 1e-3) for images in observer.seen]
    epochs = np.array(mixed).reshape(8, 3).any(1)
    assert epochs.tolist() == [True] * mixed_epochs + [False] * (8 - mixed_epochs)


# ---- mirror images and sizes ----------------------------------------------------------------------------------------


def slope(row: int) -> NDArray[np.uint8]:
    """A photo that is dark on the left and bright on the right."""
    return np.broadcast_to(np.linspace(0, 255, 16).astype(np.uint8)[None, :, None], (16, 16, 3)).copy()


@pytest.mark.parametrize(("flip", "share"), [(True, 0.5), (False, 0.0)])
def test_half_of_the_training_pictures_are_mirrored_unless_left_and_right_differ(flip: bool, share: float) -> None:
    observer = Observer()
    run(replace(RECIPE, epochs=4, flip=flip, warmup=1.0), observer, photo=slope)
    images = torch.cat(observer.seen)
    mirrored = (images[..., 0] > images[..., -1]).all(dim=2).all(dim=1).float().mean()
    assert float(mirrored) == pytest.approx(share, abs=0.15)


def test_progressive_training_ends_at_the_full_size_and_begins_below_it() -> None:
    observer = Observer()
    run(replace(RECIPE, image_size=96, progressive=0.3, epochs=4, warmup=1.0), observer)
    sides = [images.shape[-1] for images in observer.seen]
    assert sides == sorted(sides)
    assert (sides[0], sides[-1]) == (32, 96)


# ---- ends -----------------------------------------------------------------------------------------------------------


class NotANumberAfter(nn.Module):
    """A network whose logits turn into NaN after some training steps."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.inner, self.steps = network(), steps

    def forward(self, images: Tensor) -> Tensor:
        self.steps -= self.training
        return self.inner(images) * (float("nan") if self.steps < 0 else 1.0)


@pytest.mark.parametrize(("steps", "place"), [(0, "epoch 1"), (4, "epoch 2")])
def test_a_loss_that_is_not_a_number_ends_training_and_says_where(steps: int, place: str) -> None:
    with pytest.raises(DivergedError, match=f"nan in {place}"):
        run(model=NotANumberAfter(steps))


def test_a_log_loss_worse_than_guessing_after_the_warm_up_ends_training() -> None:
    labels = (*LABELS[:36], *((label + 1) % 3 for label in LABELS[36:]))  # all that is learned is wrong there
    with pytest.raises(DivergedError, match=r"worse than guessing \(1\.099\)"):
        run(replace(RECIPE, epochs=10, learning_rate=0.1), labels=labels)


@pytest.mark.parametrize(("epochs", "after"), [(6, 4), (10, 5)])
def test_a_network_from_random_weights_is_given_half_of_its_epochs_to_learn_something(epochs: int, after: int) -> None:
    labels = (*LABELS[:36], *((label + 1) % 3 for label in LABELS[36:]))
    with pytest.raises(DivergedError, match=rf"after epoch {after}, worse than guessing"):
        run(replace(RECIPE, weights="random", epochs=epochs, learning_rate=0.1), labels=labels)


def test_a_short_training_from_random_weights_is_not_judged_on_its_way() -> None:
    labels = (*LABELS[:36], *((label + 1) % 3 for label in LABELS[36:]))
    assert len(run(replace(RECIPE, weights="random", epochs=3, learning_rate=0.1), labels=labels).curve) == 3


def test_the_check_sees_a_rising_share_of_the_steps_below_one() -> None:
    seen: list[float] = []
    run(check=seen.append)
    assert seen == sorted(seen)
    assert seen[0] == 0
    assert seen[-1] <= 1


def test_what_the_check_raises_ends_training() -> None:
    def check(done: float) -> None:
        if done > 0.5:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        run(check=check)
