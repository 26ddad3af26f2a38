"""Numbers that are not finite (row 14 of the fault matrix): training goes back and halves the rate, once."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from test_full import RECIPE, Run, network, run
from torch import Tensor, nn

from automl_car.errors import DivergedError
from automl_car.training.health import NotFiniteError, Rates, Steps, clip, refuse_logits

CPU = torch.device("cpu")
MIXED = replace(RECIPE, ema=0.5, mixup=0.3, cutmix=0.3)  # 36 rows and batches of 12: three steps an epoch


class _Endless(torch.autograd.Function):
    """The identity, whose gradient is infinite."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return values.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return gradient * math.inf


class Faulty(nn.Module):
    """A network with dropout that does something wrong at some of its training steps, or of its validations.

    Args:
        fault: "nan" or "inf" in the logits, "gradient", "statistic", or "validation".
        at: the calls, counted from 1, of training or of validation.
    """

    def __init__(self, fault: str, *at: int) -> None:
        super().__init__()
        self.inner, self.dropout = network(), nn.Dropout(0.2)
        self.register_buffer("statistic", torch.zeros(()))
        self.fault, self.at, self.calls = fault, at, 0

    def forward(self, images: Tensor) -> Tensor:
        logits = self.inner(self.dropout(images))
        if self.training == (self.fault == "validation"):
            return logits
        self.calls += 1
        if self.calls not in self.at:
            return logits
        if self.fault == "gradient":
            return _Endless.apply(logits)  # type: ignore[no-any-return]
        if self.fault == "statistic":
            self.statistic += math.inf
            return logits
        return logits * (math.inf if self.fault == "inf" else math.nan)


def weights(result: Run) -> list[Tensor]:
    return [tensor for name, tensor in result.best.state.items() if name.startswith("inner.")]


FAULTS = {
    "nan": (5, "the training loss was nan in epoch 2, step 2"),
    "inf": (1, "the training loss was nan in epoch 1, step 1"),
    "gradient": (6, "the norm of the gradient was nan in epoch 2, step 3"),
    "statistic": (4, "a weight or statistic was not finite after epoch 2"),
    "validation": (2, "the logits of 12 of 12 validation photos were not finite after epoch 1"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("clip_norm", [1.0, 0.0])
def test_what_is_not_finite_once_halves_the_rate_and_training_goes_on(fault: str, clip_norm: float) -> None:
    at, where = FAULTS[fault]
    result = run(replace(MIXED, clip_norm=clip_norm), Faulty(fault, at))
    assert [epoch.number for epoch in result.curve] == [1, 2, 3, 4]
    assert all(math.isfinite(epoch.log_loss + epoch.train_loss) for epoch in result.curve)
    assert all(torch.isfinite(tensor).all() for tensor in result.best.state.values())
    assert result.best.mended == f"the learning rate was halved, as {where}"


def test_going_back_undoes_all_that_the_epoch_did() -> None:
    # A fault in the first epoch leaves what half the rate from the beginning leaves: weights, means, random draws.
    faulty = run(MIXED, Faulty("nan", 3))
    halved = run(replace(MIXED, learning_rate=MIXED.learning_rate / 2), Faulty("nan"))
    assert all(map(torch.equal, weights(faulty), weights(halved)))
    assert [epoch.train_loss for epoch in faulty.curve] == [epoch.train_loss for epoch in halved.curve]


def test_epochs_before_the_fault_stay_as_they_were() -> None:
    faulty, healthy = run(MIXED, Faulty("nan", 8)), run(MIXED, Faulty("nan"))
    before = [(epoch.train_loss, epoch.log_loss) for epoch in faulty.curve[:2]]
    assert before == [(epoch.train_loss, epoch.log_loss) for epoch in healthy.curve[:2]]
    assert faulty.curve[2].train_loss != healthy.curve[2].train_loss


def test_a_fold_that_went_back_comes_out_the_same_on_every_attempt() -> None:
    first, second = (run(MIXED, Faulty("gradient", 5)) for _ in range(2))
    assert all(map(torch.equal, weights(first), weights(second)))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_second_time_ends_training_and_names_both(fault: str) -> None:
    at, where = FAULTS[fault]
    with pytest.raises(DivergedError) as caught:
        run(MIXED, Faulty(fault, *range(at, 40)))
    assert caught.value.message.lower().startswith(where[:20].lower())
    assert f"although the learning rate was halved when {where}" in caught.value.message


def test_a_healthy_fold_has_nothing_to_tell() -> None:
    assert run(MIXED).best.mended == ""


# ---- the parts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "words"), [(0, "the training loss was nan"), (1, "the norm of the gradient was nan")]
)
def test_a_look_that_comes_late_still_names_the_step(column: int, words: str) -> None:
    noted = Steps(3, 20, CPU)
    noted._every = 16  # as on a GPU, where a look waits for the device
    good, bad = torch.tensor(1.0), torch.tensor(math.nan)
    pair = (bad, good) if column == 0 else (good, bad)
    for number in range(15):
        noted.note(number, *(pair if number >= 5 else (good, good)))
    with pytest.raises(NotFiniteError, match=f"{words} in epoch 3, step 6"):
        noted.note(15, good, good)


def test_the_last_steps_of_an_epoch_are_looked_at_too() -> None:
    noted = Steps(1, 3, CPU)
    noted._every = 16
    for number, loss in enumerate((1.0, 2.0, math.inf)):
        noted.note(number, torch.tensor(loss), torch.tensor(1.0))
    with pytest.raises(NotFiniteError, match="was inf in epoch 1, step 3"):
        noted.mean_loss()


def test_gradients_are_clipped_to_the_norm_that_is_asked_for() -> None:
    parameter = nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([3.0, 4.0])
    assert float(clip([parameter, nn.Parameter(torch.zeros(1))], 1.0)) == pytest.approx(5.0)
    assert parameter.grad.tolist() == pytest.approx([0.6, 0.8], abs=1e-5)
    assert float(clip([parameter], 0.0)) == pytest.approx(1.0, abs=1e-5)


def test_logits_of_minus_infinity_are_refused_though_their_log_loss_is_a_number() -> None:
    logits = np.array([[0.0, 1.0], [0.0, -math.inf]], np.float32)
    with pytest.raises(NotFiniteError, match="logits of 1 of 2 test photos were not finite in the end"):
        refuse_logits(logits, "test photos", "in the end")


def test_rates_that_were_halved_before_begin_halved() -> None:
    assert Rates([0.2, 0.4], "of an earlier run").peaks == [0.1, 0.2]
