"""Where a search begins: every plugin at its defaults, before the sampler has anything to learn from."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from automl_car.catalog.joint import parts_of
from automl_car.records import Recipe, Tuning
from automl_car.search.space import Range, Space, suggest_recipe

# What a trial starts from where the settings leave a range open.
DEFAULTS: Mapping[str, float] = {
    "lr_multiplier": 1.0,
    "weight_decay": 0.05,
    "layer_decay": 0.9,
    "label_smoothing": 0.0,
    "mixup": 0.25,
    "cutmix": 0.25,
    "progressive": 1.0,
    "head.lr_multiplier": 1.0,
    "head.shrinkage": 0.3,
    "head.power": 0.5,
}


def first_trials(space: Space, sizes: Mapping[str, int]) -> tuple[dict[str, Any], ...]:
    """Parameters of the trials that come first, the smallest images first, and backbones side by side after them.

    Where both tunings are searched these are heads, whose log losses then decide the order of `fine_tunings`.

    Args:
        sizes: image size by backbone, for the order.
    """
    order = sorted(space.backbones, key=lambda name: (len(parts_of(name)), sizes[name], name))
    if "head" in space.tunings:
        return tuple(default_params(space, "head", backbone) for backbone in order)
    return fine_tunings(space, order)


def fine_tunings(space: Space, order: Sequence[str], left_out: Collection[str] = ()) -> tuple[dict[str, Any], ...]:
    """Every backbone at its defaults, every augmentation on the first one, and what this project began with.

    Args:
        order: names of backbones.
        left_out: augmentations that are not searched any more.
    """
    usual = usual_augmentation(space, left_out)
    others = [name for name in space.augmentations if name != usual and name not in left_out]
    return (
        *(default_params(space, "full", backbone, usual) for backbone in order),
        *(default_params(space, "full", order[0], augmentation) for augmentation in others),
        *[contest_params(space, name, usual) for name in order if name.startswith("efficientnet")][:1],
    )


def usual_augmentation(space: Space, left_out: Collection[str] = ()) -> str:
    """What a recipe has where nothing else was chosen; if all are left out, one of them nevertheless."""
    names = [name for name in space.augmentations if name not in left_out] or list(space.augmentations)
    return "light" if "light" in names else names[0]


def default_recipe(space: Space, tuning: Tuning, backbone: str, left_out: Collection[str] = ()) -> Recipe:
    """The recipe of a backbone at its defaults; the largest where sizes are searched."""
    params = default_params(space, tuning, backbone, usual_augmentation(space, left_out))
    return suggest_recipe(_Given(params), space, {"tuning": tuning})


@dataclass(frozen=True)
class _Given:
    """A trial whose parameters are given; of those that are not, the largest value."""

    params: Mapping[str, Any]

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        return float(self.params.get(name, high))

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        return int(self.params.get(name, high))

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        return self.params.get(name, choices[-1])


def contest_params(space: Space, backbone: str, augmentation: str) -> dict[str, Any]:
    """What this project began with, in a car contest: EfficientNet, AdamW at 1e-4, no mixing, no layer decay.

    Cosine, batch 64, 30 epochs and early stopping, the rest of it, are the defaults of the settings.
    """
    began_with = {
        "lr_multiplier": 1e-4 / space.default_lr[backbone],
        "layer_decay": 1.0,
        "label_smoothing": 0.0,
        "mixup": 0.0,
        "cutmix": 0.0,
    }
    params = default_params(space, "full", backbone, augmentation)
    return params | {name: _into(space.ranges[name], value) for name, value in began_with.items() if name in params}


def default_params(space: Space, tuning: Tuning, backbone: str, augmentation: str = "none") -> dict[str, Any]:
    """Optuna parameters of the recipe that has every default."""
    params: dict[str, Any] = {}
    if len(space.tunings) > 1:
        params["tuning"] = tuning
    if len(space.backbones) > 1:
        params["backbone"] = backbone
    heads = tuning == "head"
    for name, default in DEFAULTS.items():
        value = space.ranges[name]
        if name.startswith("head.") == heads and isinstance(value, tuple):
            params[name] = _into(value, default)
    if heads:
        # The most views make the best head; fewer are worth a trial only where time is short.
        return params | ({"head.views": max(space.views)} if len(space.views) > 1 else {})
    if len(space.augmentations) > 1:
        params["augmentation"] = augmentation
    for plugin in (backbone, augmentation):
        params |= {f"{plugin}.{param.name}": param.default for param in space.params.get(plugin, ())}
    return params


def _into(values: Range, wanted: float) -> float:
    """`wanted`, or the end of the range that is nearest to it."""
    low, high = values if isinstance(values, tuple) else (values, values)
    return min(max(wanted, low), high)
