"""A copy of all that training changes, put back to the last bit."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from automl_car.training.state import Saved, State

CPU = torch.device("cpu")


def training() -> State:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.3), nn.Flatten(), nn.Linear(6 * 36, 3)
    model = nn.Sequential(*layers).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, fused=True)
    return State(model, None, optimizer, np.random.default_rng(0), CPU)


def step(state: State) -> None:
    images = torch.from_numpy(state.random.standard_normal((4, 3, 8, 8), np.float32))
    state.optimizer.zero_grad()
    state.model(images.contiguous(memory_format=torch.channels_last)).square().sum().backward()
    state.optimizer.step()


def after(state: State, steps: int) -> list[Tensor]:
    for _ in range(steps):
        step(state)
    return [tensor.clone() for tensor in state.model.state_dict().values()]


def test_what_follows_is_the_same_again() -> None:
    state, saved = training(), Saved()
    after(state, 2)
    state.save(saved)
    expected = after(state, 3)
    state.restore(saved)
    assert all(map(torch.equal, after(state, 3), expected))


def test_before_the_first_step_the_optimizer_has_nothing_to_remember() -> None:
    state, saved = training(), Saved()
    state.save(saved)
    expected = after(state, 2)
    state.restore(saved)
    assert len(state.optimizer.state) == 0
    assert all(map(torch.equal, after(state, 2), expected))


def test_a_copy_can_be_put_into_another_network_of_the_same_kind() -> None:
    state, other, saved = training(), training(), Saved()
    after(state, 2)
    state.save(saved)
    expected = after(state, 3)
    # As from a file, which knows no memory layout: a fused step would mix the weights up.
    saved.tensors = {name: tensor.contiguous() for name, tensor in saved.tensors.items()}
    other.restore(saved)
    assert all(map(torch.equal, after(other, 3), expected))


def test_a_copy_does_not_change_with_what_it_is_of() -> None:
    state, saved = training(), Saved()
    state.save(saved)
    before = {name: tensor.clone() for name, tensor in saved.tensors.items()}
    after(state, 2)
    assert all(torch.equal(saved.tensors[name], tensor) for name, tensor in before.items())


def test_networks_of_other_tensors_are_told_apart() -> None:
    one, other = Saved(), Saved()
    training().save(one)
    State(nn.Linear(2, 2), None, torch.optim.AdamW([nn.Parameter(torch.zeros(1))]), np.random.default_rng(), CPU).save(
        other
    )
    assert one.fits(one)
    assert not one.fits(other)
