"""All that training changes from step to step: copied to the host at the beginning of each epoch, and put back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_CPU, _DEVICE = "random.cpu", "random.device"


@dataclass
class Saved:
    """A copy on the host.

    Attributes:
        tensors: by name: `model.…`, `mean.…`, `optimizer.<parameter>.…`, `random.…`.
        random: state of the NumPy generator.
    """

    tensors: dict[str, Tensor] = field(default_factory=dict)
    random: dict[str, Any] = field(default_factory=dict)

    def judged(self) -> dict[str, Tensor]:
        """Copies of the weights that are validated: of the running mean, if there is one."""
        weights = _below("mean.", self.tensors) or _below("model.", self.tensors)
        return {name: tensor.clone().contiguous() for name, tensor in weights.items()}

    def fits(self, other: Saved) -> bool:
        """Whether both are of networks with the same tensors."""
        return _shapes(self) == _shapes(other)


@dataclass(frozen=True, eq=False)
class State:
    """What is copied and put back.

    Attributes:
        model: the network that is trained.
        mean: the running mean of its weights, if there is one.
        optimizer: of the network's parameters.
        random: decides the mixing; torch's own generators belong to the state too, as layers draw from them.
        device: that the network is on.
    """

    model: nn.Module
    mean: nn.Module | None
    optimizer: torch.optim.Optimizer
    random: np.random.Generator
    device: torch.device

    def save(self, into: Saved) -> None:
        """Copy everything; tensors that are there already are written over, which spares the allocation."""
        live = self._live()
        for name in [name for name in into.tensors if name not in live]:
            del into.tensors[name]
        for name, tensor in live.items():
            if name in into.tensors:
                into.tensors[name].copy_(tensor)
            else:
                into.tensors[name] = tensor.to("cpu", copy=True)
        into.random = dict(self.random.bit_generator.state)

    def restore(self, saved: Saved) -> None:
        """Put everything back, in place: others hold on to these tensors."""
        self.model.load_state_dict(_below("model.", saved.tensors))
        if self.mean is not None:
            self.mean.load_state_dict(_below("mean.", saved.tensors))
        self._restore_optimizer(_below("optimizer.", saved.tensors))
        torch.set_rng_state(saved.tensors[_CPU])
        if _DEVICE in saved.tensors and self.device.type != "cpu":
            _device_random(self.device).set_rng_state(saved.tensors[_DEVICE])
        self.random.bit_generator.state = saved.random

    def weights(self) -> list[Tensor]:
        """Of the network and of its mean, their statistics included."""
        return [tensor for name, tensor in self._live().items() if name.startswith(("model.", "mean."))]

    def _live(self) -> dict[str, Tensor]:
        found = {f"model.{name}": tensor.detach() for name, tensor in self.model.state_dict().items()}
        if self.mean is not None:
            found |= {f"mean.{name}": tensor.detach() for name, tensor in self.mean.state_dict().items()}
        for number, parameter in enumerate(self._parameters()):
            for name, value in self.optimizer.state.get(parameter, {}).items():
                found[f"optimizer.{number}.{name}"] = value
        found[_CPU] = torch.get_rng_state()
        if self.device.type != "cpu":
            found[_DEVICE] = _device_random(self.device).get_rng_state()
        return found

    def _restore_optimizer(self, saved: dict[str, Tensor]) -> None:
        """Each tensor gets the memory layout of its parameter, which fused steps rely on; before a first step, none."""
        self.optimizer.state.clear()
        parameters = self._parameters()
        for path, value in saved.items():
            number, _, name = path.partition(".")
            parameter = parameters[int(number)]
            if value.shape == parameter.shape:
                own = torch.empty_like(parameter.detach()).copy_(value)
            else:  # the number of steps
                own = value.to(parameter.device if self.optimizer.defaults.get("fused") else "cpu", copy=True)
            self.optimizer.state[parameter][name] = own

    def _parameters(self) -> list[nn.Parameter]:
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _shapes(saved: Saved) -> dict[str, torch.Size]:
    """By name; the optimizer's tensors come with the first step."""
    return {name: tensor.shape for name, tensor in saved.tensors.items() if name.startswith(("model.", "mean."))}


def _device_random(device: torch.device) -> Any:
    """The module of torch with the generator of a device: `torch.cuda`, `torch.mps`."""
    return getattr(torch, device.type)
