"""How the weights move: parameter groups and their rates, the schedule, the running mean, frozen statistics."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from timm.optim import param_groups_layer_decay  # type: ignore[attr-defined]
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from automl_car.records import Recipe
from automl_car.training.model import classifier


def make_optimizer(
    model: nn.Module, recipe: Recipe, num_classes: int, device: torch.device, *, warm: bool
) -> tuple[torch.optim.AdamW, list[float]]:
    """AdamW, and the peak learning rate of each of its parameter groups, lower layers slower.

    Args:
        warm: whether the last layer starts fitted; a random one learns `head_multiplier` times faster.
    """
    head = {id(parameter) for parameter in classifier(model, num_classes).parameters()}
    faster = 1.0 if warm else recipe.head_multiplier
    groups, rates = [], []
    for group in _layer_groups(model, recipe):
        scale = recipe.learning_rate * group["lr_scale"]
        for chosen, rate in (
            ([parameter for parameter in group["params"] if id(parameter) not in head], scale),
            ([parameter for parameter in group["params"] if id(parameter) in head], recipe.learning_rate * faster),
        ):
            if chosen:
                groups.append({"params": chosen, "weight_decay": group["weight_decay"]})
                rates.append(rate)
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=device.type != "mps"), rates


def _layer_groups(model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Parameters by layer, each group with its "lr_scale" and "weight_decay"; biases and norms do not decay.

    timm's networks say which layer a parameter belongs to. Of others, the submodules that hold parameters are the
    layers, in their order.
    """
    if hasattr(model, "group_matcher"):
        groups: list[dict[str, Any]] = param_groups_layer_decay(
            model, recipe.weight_decay, layer_decay=recipe.layer_decay
        )
        return groups
    seen: set[int] = set()  # parameters that two layers share belong to the first
    layers: list[list[nn.Parameter]] = []
    for module in model.modules():
        own = [p for p in module.parameters(recurse=False) if p.requires_grad and id(p) not in seen]
        seen.update(id(parameter) for parameter in own)
        layers += [own] if own else []
    return [
        {
            "params": [parameter for parameter in layer if (parameter.ndim > 1) == decays],
            "lr_scale": recipe.layer_decay ** (len(layers) - 1 - depth),
            "weight_decay": recipe.weight_decay if decays else 0.0,
        }
        for depth, layer in enumerate(layers)
        for decays in (True, False)
    ]


def schedule(progress: float, warmup: float) -> float:
    """Share of the peak rate when the share `progress` of all steps is done: linear up to `warmup`, then a cosine to 0.

    Example:
        >>> [round(schedule(progress, warmup=0.1), 2) for progress in (0.05, 0.1, 0.55, 1.0)]
        [0.5, 1.0, 0.5, 0.0]
    """
    if progress < warmup:
        return max(progress, 1e-3) / warmup  # a rate of exactly 0 would waste the first step
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / max(1e-9, 1 - warmup)))


def set_rates(optimizer: torch.optim.Optimizer, peaks: list[float], share: float) -> None:
    """Give each parameter group its share of its own peak rate."""
    for group, peak in zip(optimizer.param_groups, peaks, strict=True):
        group["lr"] = peak * share


class MeanModel:
    """A running mean of a network's weights and statistics (Polyak & Juditsky, 1992), exponentially weighted.

    timm's has the same result, and looks all tensors up by name at every step, which costs a hundredth of the training
    of a small network.

    Args:
        model: whose mean is taken; the mean starts at its weights.
        half_life: in steps.
    """

    def __init__(self, model: nn.Module, half_life: float) -> None:
        self.model = copy.deepcopy(model).eval()
        self._decay = 0.5 ** (1 / max(1.0, half_life))
        pairs = list(zip(self.model.state_dict().values(), model.state_dict().values(), strict=True))
        self._means = [mean for mean, _ in pairs if mean.is_floating_point()]
        self._values = [value for mean, value in pairs if mean.is_floating_point()]
        self._counters = [(mean, value) for mean, value in pairs if not mean.is_floating_point()]

    @torch.no_grad()
    def update(self) -> None:
        """Move the mean towards the network's weights of now."""
        torch._foreach_lerp_(self._means, self._values, 1 - self._decay)
        for mean, value in self._counters:
            mean.copy_(value)


def set_training_mode(model: nn.Module, *, freeze_norm: bool) -> None:
    """Training mode; with `freeze_norm`, batch normalisation uses and keeps the statistics that it has."""
    model.train()
    if freeze_norm:
        for layer in model.modules():
            if isinstance(layer, _BatchNorm):
                layer.eval()
