"""Memory that runs out (rows 12 and 13 of the fault matrix): fewer images at a time, and the same fold."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_full import RECIPE, Run, network, run
from torch import Tensor, nn

from automl_car.errors import OutOfMemoryError
from automl_car.training.room import Fit, Room, fitting, lacks_memory


class TooLarge(nn.Module):
    """A network that runs out of memory with more images than so many, in training and in validation."""

    def __init__(self, training: int, validation: int = 1000, inner: nn.Module | None = None) -> None:
        super().__init__()
        self.inner = inner or network()
        self.images = {True: training, False: validation}
        self.seen: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        if len(images) > self.images[self.training]:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nmore words")
        self.seen += [len(images)] * self.training
        return self.inner(images)  # type: ignore[no-any-return]


def weights(result: Run) -> list[Tensor]:
    return list(result.best.state.values())


@pytest.mark.parametrize(("fits", "micro_batch"), [(11, 6), (6, 6), (5, 3), (1, 1)])
def test_a_halved_batch_trains_the_same_network(fits: int, micro_batch: int) -> None:
    recipe = replace(RECIPE, ema=0.5, mixup=0.3)
    whole, parts = run(recipe, TooLarge(12)), run(recipe, TooLarge(fits))
    assert parts.best.micro_batch == micro_batch
    assert whole.best.micro_batch == 0
    for ours, theirs in zip(weights(parts), weights(whole), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    losses = [[epoch.log_loss for epoch in result.curve] for result in (parts, whole)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def test_every_image_of_a_batch_is_seen_once_however_often_it_is_halved() -> None:
    model = TooLarge(4)
    run(replace(RECIPE, epochs=1), model)
    # The first batch is tried in one part of 12 and two of 6; none of those got through.
    assert model.seen == [3, 3, 3, 3] * 3


@pytest.mark.parametrize("fits", [5, 1])
def test_validation_in_smaller_batches_says_the_same(fits: int) -> None:
    whole, parts = run(RECIPE, TooLarge(12)), run(RECIPE, TooLarge(12, fits))
    assert [epoch.log_loss for epoch in parts.curve] == pytest.approx([epoch.log_loss for epoch in whole.curve])


def test_what_had_to_be_halved_is_told() -> None:
    told = run(RECIPE, TooLarge(7)).best.mended
    assert told == "6 images go through the network at a time for lack of memory"


def test_batch_statistics_of_fewer_images_are_told_and_never_those_of_one() -> None:
    def normalised() -> nn.Module:
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(3), nn.Linear(3, 3))

    recipe = replace(RECIPE, freeze_norm=False)
    told = run(recipe, TooLarge(3, inner=normalised())).best.mended
    assert told.endswith("for lack of memory, and batch normalisation takes its statistics from them")
    with pytest.raises(OutOfMemoryError, match="3 images at a time are still too much in training: CUDA out of memory"):
        run(recipe, TooLarge(2, inner=normalised()))
    assert run(replace(recipe, batch_size=10), TooLarge(2, inner=normalised())).best.micro_batch == 2


def test_where_not_one_image_fits_training_ends() -> None:
    with pytest.raises(OutOfMemoryError, match=r"1 image at a time .* in training: CUDA out of memory.*2 GiB\.$"):
        run(RECIPE, TooLarge(0))


class NoRoomForMoments(torch.optim.AdamW):
    """An optimizer that finds no memory for its state, in the middle of its first step."""

    failures = 0

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        super().step()
        if self.failures < 1:
            type(self).failures += 1
            raise torch.OutOfMemoryError


def test_memory_that_runs_out_between_passes_begins_the_epoch_again(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = run(RECIPE)
    monkeypatch.setattr(torch.optim, "AdamW", NoRoomForMoments)
    result = run(RECIPE)
    assert result.best.micro_batch == 6
    for ours, theirs in zip(weights(result), weights(expected), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


# ---- remembering ----------------------------------------------------------------------------------------------------


def test_the_next_fold_begins_with_what_fits(tmp_path: Path) -> None:
    what = {"backbone": "toy"}
    run(RECIPE, TooLarge(4, 2), room=Room.of(tmp_path, what))
    model = TooLarge(4, 2)
    result = run(RECIPE, model, room=Room.of(tmp_path, what))
    assert set(model.seen) == {3}
    assert result.best.micro_batch == 3
    (file,) = (tmp_path / "steps").iterdir()
    assert json.loads(file.read_text()) == {"backbone": "toy", "fits": {"training": 3, "prediction": 1}}


def test_without_a_lack_of_memory_nothing_is_written(tmp_path: Path) -> None:
    run(RECIPE, room=Room.of(tmp_path, {}))
    assert not (tmp_path / "steps").exists()


def test_other_networks_do_not_share_what_fits(tmp_path: Path) -> None:
    Room.of(tmp_path, {"size": 224}).fit("training", 64).halve_after(MemoryError())
    assert Room.of(tmp_path, {"size": 224}).fit("training", 64).images == 32
    assert Room.of(tmp_path, {"size": 224}).fit("prediction", 64).images == 64
    assert Room.of(tmp_path, {"size": 384}).fit("training", 64).images == 64


@pytest.mark.parametrize("text", ["", "{", "[]", '{"fits": 3}', '{"fits": {"training": "many"}}'])
def test_a_damaged_memory_is_none(tmp_path: Path, text: str) -> None:
    Room.of(tmp_path, {}).fit("training", 64).halve_after(MemoryError())
    (file,) = (tmp_path / "steps").iterdir()
    file.write_text(text)
    assert Room.of(tmp_path, {}).fit("training", 64).images == 64


# ---- the parts ------------------------------------------------------------------------------------------------------


def test_work_is_called_again_with_half_as_many_images_at_most_four_times() -> None:
    asked: list[int] = []

    def work(images: int) -> None:
        asked.append(images)
        raise MemoryError

    with pytest.raises(OutOfMemoryError, match="4 images at a time are still too much in features: MemoryError"):
        fitting(Fit(64, "features"), work)
    assert asked == [64, 32, 16, 8, 4]


def test_other_errors_are_raised_as_they_are() -> None:
    def work(images: int) -> None:
        raise ValueError(images)

    with pytest.raises(ValueError, match="64"):
        fitting(Fit(64, "training"), work)


def _allocate() -> None:
    np.empty((1 << 60,), np.uint8)


def _allocate_by_torch() -> None:
    torch.empty(1 << 60, dtype=torch.uint8)


@pytest.mark.parametrize("allocate", [_allocate, _allocate_by_torch])
def test_what_numpy_and_torch_raise_is_known(allocate: object) -> None:
    with pytest.raises((MemoryError, RuntimeError)) as caught:
        allocate()  # type: ignore[operator]
    assert lacks_memory(caught.value)


@pytest.mark.parametrize(
    ("error", "lacks"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (MemoryError(), True),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_a_lack_of_memory_is_told_from_other_errors(error: Exception, lacks: bool) -> None:
    assert lacks_memory(error) is lacks
