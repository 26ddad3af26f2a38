"""Recipes that were good on several data sets: where a search on new photos begins.

Stored recipes are a strong start: a choice among them by trivial facts about the data alone beat all winners of AutoDL
under short limits (ZAP; Öztürk et al., 2022, arXiv:2206.08476). An entry says nothing of backbones, so that it applies
to any plugin: learning rates are multiples of the backbone's own.

The first entry of each tuning holds the defaults that the field recommends. The other heads come from the tables in
`benchmarks/recorded`: of 46 random ones they were the best of their backbone and image size, or within 2 % of it, on
both the generated cars and 60 real car models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from automl_car.records import Tuning
from automl_car.search.first import default_params, usual_augmentation
from automl_car.search.space import Range, Space


@dataclass(frozen=True)
class Entry:
    """One recipe without its backbone.

    Attributes:
        tuning: "head" or "full".
        values: of the space's parameters by name; those that are not named have their defaults.
        augmentation: for fine-tuning; where the search does not offer it, the usual one.
    """

    tuning: Tuning
    values: Mapping[str, float]
    augmentation: str = "light"


PORTFOLIO: tuple[Entry, ...] = (
    Entry("head", {"head.lr_multiplier": 1.0, "head.shrinkage": 0.3, "head.power": 0.5}),
    Entry("head", {"head.lr_multiplier": 0.6, "head.shrinkage": 0.45, "head.power": 0.45}),
    Entry("head", {"head.lr_multiplier": 1.75, "head.shrinkage": 0.5, "head.power": 0.45}),
    Entry("head", {"head.lr_multiplier": 0.25, "head.shrinkage": 0.4, "head.power": 0.35}),
    Entry(
        "full",
        {
            "lr_multiplier": 1.0,
            "weight_decay": 0.05,
            "layer_decay": 0.9,
            "label_smoothing": 0.0,
            "mixup": 0.25,
            "cutmix": 0.25,
            "progressive": 1.0,
        },
    ),
)
"""For each tuning the best entry first."""


def portfolio_trials(
    space: Space,
    backbones: Sequence[str],
    *,
    tunings: Sequence[Tuning] = ("head", "full"),
    portfolio: Sequence[Entry] = PORTFOLIO,
) -> tuple[dict[str, Any], ...]:
    """Optuna parameters, for `enqueue_trial`, of the portfolio's recipes.

    The best entry of a tuning is tried on every backbone, the others on the first one alone: what they are worth shows
    there, and the sampler learns it for all, as they share their parameters.

    Args:
        backbones: of the space, in the order in which they are tried.
        tunings: whose entries are wanted, in this order; those that the search does not have are passed over.
        portfolio: entries, for each tuning the best first.
    """
    trials: list[dict[str, Any]] = []
    for tuning in tunings:
        entries = [entry for entry in portfolio if entry.tuning == tuning and tuning in space.tunings]
        for rank, entry in enumerate(entries):
            tried = backbones if rank == 0 else backbones[:1]
            trials += [entry_params(space, entry, backbone) for backbone in tried]
    return tuple(params for place, params in enumerate(trials) if params not in trials[:place])


def entry_params(space: Space, entry: Entry, backbone: str) -> dict[str, Any]:
    """Optuna parameters of one entry on one backbone."""
    offered = entry.augmentation in space.augmentations
    augmentation = entry.augmentation if offered else usual_augmentation(space)
    return params_with(space, default_params(space, entry.tuning, backbone, augmentation), entry.values)


def params_with(space: Space, params: Mapping[str, Any], values: Mapping[str, float]) -> dict[str, Any]:
    """These parameters with other values, each moved into its range; values of what is settled here are left out."""
    return {**params, **{name: within(space.ranges[name], value) for name, value in values.items() if name in params}}


def within(values: Range, wanted: float) -> float:
    """`wanted`, or the end of the range that is nearest to it.

    Example:
        >>> within((0.1, 10.0), 30.0)
        10.0
    """
    low, high = values if isinstance(values, tuple) else (values, values)
    return min(max(wanted, low), high)
