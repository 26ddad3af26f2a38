"""The fastest way is measured, remembered, and taken only where it is clearly faster."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor, nn

from automl_car.catalog.records import Backbone
from automl_car.records import Recipe
from automl_car.training import choose_step
from automl_car.training.choose_step import Measured, measured_steps, pick_step
from automl_car.training.step import Step

CPU = torch.device("cpu")
BACKBONE = Backbone("toy", lambda classes: None, image_size=32)
RECIPE = Recipe("toy", image_size=32, batch_size=32)
PLAIN, OTHER = Step(), Step(channels_last=False)


def network() -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model("test_efficientnet", num_classes=3)  # type: ignore[no-any-return]


def measure(cache: Path, recipe: Recipe = RECIPE, model: nn.Module | None = None) -> tuple[Measured, ...]:
    return measured_steps(model or network(), BACKBONE, recipe, 3, CPU, cache)


# ---- the decision ---------------------------------------------------------------------------------------------------


def test_a_clearly_faster_way_is_taken() -> None:
    assert pick_step((Measured(PLAIN, 1.0), Measured(OTHER, 0.8)), 100).step == OTHER


@pytest.mark.parametrize("seconds", [0.97, 1.0, 2.0])
def test_the_plain_way_stays_where_another_is_hardly_faster(seconds: float) -> None:
    assert pick_step((Measured(PLAIN, 1.0), Measured(OTHER, seconds)), 100).step == PLAIN


@pytest.mark.parametrize(("images", "compiled"), [(1_000, False), (1_000_000, True)])
def test_compiling_has_to_pay_within_a_fold(images: int, compiled: bool) -> None:
    ways = (Measured(PLAIN, 0.001), Measured(replace(PLAIN, compiled=True), 0.0005, setup=60.0))
    assert pick_step(ways, images).step.compiled is compiled


# ---- the measurement ------------------------------------------------------------------------------------------------


def test_layouts_precisions_and_micro_batches_are_tried_on_a_cpu(tmp_path: Path) -> None:
    steps = [measured.step for measured in measure(tmp_path)]
    assert steps[0] == Step(micro_batch=8)
    assert {step.channels_last for step in steps} == {True, False}
    assert {step.micro_batch for step in steps} == {8, 16, 0}


def test_batch_statistics_are_never_split(tmp_path: Path) -> None:
    steps = [measured.step for measured in measure(tmp_path, replace(RECIPE, freeze_norm=False))]
    assert {step.micro_batch for step in steps} == {0}


def test_measuring_leaves_the_network_as_it_is(tmp_path: Path) -> None:
    model = network().train()
    before = copy.deepcopy(model.state_dict())
    measure(tmp_path, model=model, recipe=replace(RECIPE, freeze_norm=False))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_what_was_measured_is_read_the_next_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = measure(tmp_path)
    monkeypatch.setattr(choose_step, "time_step", lambda *_: pytest.fail("measured again"))
    assert measure(tmp_path) == first


@pytest.mark.parametrize("change", [{"image_size": 64}, {"batch_size": 16}, {"freeze_norm": False}])
def test_another_size_batch_or_mode_is_measured_on_its_own(tmp_path: Path, change: dict[str, int]) -> None:
    measure(tmp_path)
    measure(tmp_path, replace(RECIPE, **change))  # type: ignore[arg-type]
    assert len(list((tmp_path / "steps").iterdir())) == 2


def test_parameters_of_the_augmentation_are_not_measured_again(tmp_path: Path) -> None:
    measure(tmp_path)
    measure(tmp_path, replace(RECIPE, augmentation="light", params=(("light.border", 0.3),)))
    assert len(list((tmp_path / "steps").iterdir())) == 1


def test_measuring_draws_no_random_number_that_training_would_miss(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Dropout(0.5), nn.Flatten(), nn.Linear(3 * 32 * 32, 3))
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    measure(tmp_path, model=model)
    assert torch.equal(torch.rand(3), expected)


def test_only_a_real_measurement_is_told(tmp_path: Path) -> None:
    told: list[bool] = []
    for _ in range(2):
        measured_steps(network(), BACKBONE, RECIPE, 3, CPU, tmp_path, tell=lambda: told.append(True))
    assert told == [True]


def test_a_damaged_file_is_measured_again(tmp_path: Path) -> None:
    measure(tmp_path)
    (file,) = (tmp_path / "steps").iterdir()
    file.write_text('{"measured": [{"sp')
    measure(tmp_path)
    assert json.loads(file.read_text())["measured"]


def test_a_precision_that_turns_the_gradient_is_not_taken_however_fast(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose_step, "_LEAST_COSINE", 1.1)
    assert {measured.step.precision for measured in measure(tmp_path)} == {"float32"}


class TooLargeFor(nn.Module):
    """A network that runs out of memory with more images than so many."""

    def __init__(self, images: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 3))
        self.images = images

    def forward(self, images: Tensor) -> Tensor:
        if len(images) > self.images:
            raise torch.OutOfMemoryError
        return self.inner(images)  # type: ignore[no-any-return]


@pytest.mark.parametrize(("fits", "micro_batch"), [(32, 0), (31, 16), (9, 8), (1, 1)])
def test_a_batch_too_large_for_the_memory_is_halved_until_it_fits(fits: int, micro_batch: int) -> None:
    example = choose_step.example_batch(RECIPE, 3, CPU)
    assert choose_step.time_fitting(TooLargeFor(fits), Step(), example, CPU).step.micro_batch == micro_batch


def test_a_single_image_too_large_for_the_memory_is_an_error() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        choose_step.time_fitting(TooLargeFor(0), Step(), choose_step.example_batch(RECIPE, 3, CPU), CPU)
