"""What a study may choose from, and how an Optuna trial becomes a recipe.

    core     tuning, backbone
    full     augmentation, lr_multiplier, weight_decay, layer_decay, label_smoothing, mixup, cutmix, image_size,
             progressive
    head     head.lr_multiplier, head.shrinkage, head.power, head.views, head.image_size
    plugin   <plugin>.<param>
A setting with a single value is fixed and does not become a parameter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from automl_car.catalog.joint import is_joint, parts_of, single
from automl_car.catalog.manager import Catalog
from automl_car.catalog.params import Param, ParamValue
from automl_car.config import SpaceConfig, TrainingConfig
from automl_car.joint import joint_size
from automl_car.records import Recipe, Tuning, fingerprint
from automl_car.search.weights import digest_of, weights_of

Range = float | tuple[float, float]

HEAD_LEARNING_RATE = 5e-4  # of AdamW in whitened coordinates; `lr_multiplier` searches around it
HEAD_EPOCHS = 10
HEAD_BATCH = 128
_LOGARITHMIC = frozenset({"lr_multiplier", "head.lr_multiplier", "weight_decay"})
# Of fine-tuning; each is a field of the recipe.
_NUMBERS = ("weight_decay", "layer_decay", "label_smoothing", "mixup", "cutmix", "progressive")


class Trial(Protocol):
    """The part of `optuna.Trial` that a space needs."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float: ...
    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int: ...
    def suggest_categorical(self, name: str, choices: Any) -> Any: ...


@dataclass(frozen=True)
class Space:
    """All that the trials of one study may choose from.

    Attributes:
        backbones, augmentations: sorted names; several backbones side by side have one name (`catalog/joint.py`), are
            searched as heads alone, and come behind those that work alone.
        tunings: "head", "full" or both.
        ranges: a number, or (low, high), by parameter name.
        full_sizes, head_sizes: image sizes in pixels to choose from, by backbone.
        views: how many views of each photo a head may be given; a fine-tuned network is judged by the most.
        params: declared parameters of each plugin, by its name.
        fixed: fields of `Recipe` that are the same in every trial.
        weights: "pretrained", "random" or a file, by backbone.
        weights_digests: sha256 of those files, by backbone; empty where there is none.
        default_lr: base learning rate by backbone.
        versions: of the plugins that offer a backbone or an augmentation, by its name; bundled ones have none.
    """

    backbones: tuple[str, ...]
    augmentations: tuple[str, ...]
    tunings: tuple[Tuning, ...]
    ranges: Mapping[str, Range]
    full_sizes: Mapping[str, tuple[int, ...]]
    head_sizes: Mapping[str, tuple[int, ...]]
    views: tuple[int, ...]
    params: Mapping[str, tuple[Param, ...]]
    fixed: Mapping[str, Any]
    weights: Mapping[str, str]
    weights_digests: Mapping[str, str]
    default_lr: Mapping[str, float]
    versions: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """What the study stores, to notice when the space has changed; `changes.py` says it in words."""
        return {
            "backbones": list(self.backbones),
            "augmentations": list(self.augmentations),
            "tunings": list(self.tunings),
            "ranges": {name: list(value) if isinstance(value, tuple) else value for name, value in self.ranges.items()},
            "full_sizes": {name: list(sizes) for name, sizes in self.full_sizes.items()},
            "head_sizes": {name: list(sizes) for name, sizes in self.head_sizes.items()},
            "views": list(self.views),
            "params": {name: [param.to_json() for param in params] for name, params in self.params.items() if params},
            "fixed": dict(self.fixed),
            "weights": {name: self.weights_digests[name] or weights for name, weights in self.weights.items()},
            "default_lr": dict(self.default_lr),
            "versions": dict(self.versions),
        }

    def backbones_for(self, tuning: Tuning) -> tuple[str, ...]:
        """Those that can be tuned in this way."""
        return tuple(name for name in self.backbones if tuning == "head" or not is_joint(name))

    def still_offers(self, recipe: Recipe) -> bool:
        """Whether the plugins that a recipe was made with are there, as they were."""
        if recipe.backbone not in self.backbones or recipe.backbone_version != self.versions.get(recipe.backbone, ""):
            return False
        if recipe.tuning == "head":
            return True
        known = recipe.augmentation in self.augmentations
        return known and recipe.augmentation_version == self.versions.get(recipe.augmentation, "")

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.to_json())


def make_space(
    catalog: Catalog,
    backbones: tuple[str, ...],
    augmentations: tuple[str, ...],
    tunings: tuple[Tuning, ...],
    space: SpaceConfig,
    training: TrainingConfig,
    *,
    seed: int,
    photo_side: int,
) -> Space:
    """The space of a study from its settings.

    Args:
        photo_side: median short side of the photos in pixels; fine-tuning does not enlarge photos beyond the next
            multiple of 32, which would cost time and add nothing. Frozen networks are used at their own size.
    """
    alone = [catalog.backbone(name) for name in single(backbones)]
    parts = {name: catalog.parts(name) for name in sorted(backbones, key=in_order)}
    pictured = [catalog.augmentation(name) for name in sorted(augmentations)]
    own = -(-photo_side // 32) * 32
    return Space(
        backbones=tuple(parts),
        augmentations=tuple(sorted(augmentations)),
        tunings=tunings,
        ranges=_ranges(space),
        full_sizes={b.name: _sizes(space, min(b.image_size, own)) for b in alone if b.name in parts},
        head_sizes={name: _sizes(space, joint_size(theirs)) for name, theirs in parts.items()},
        views=(space.views,) if isinstance(space.views, int) else tuple(sorted(set(space.views))),
        params={b.name: b.params for b in alone} | {a.name: a.params for a in pictured},
        fixed={
            "epochs": training.epochs,
            "batch_size": training.batch_size,
            "patience": training.patience,
            "warmup": training.warmup,
            "clip_norm": training.clip_norm,
            "ema": training.ema,
            "head_multiplier": training.head_multiplier,
            "plain_epochs": training.plain_epochs,
            "flip": training.flip,
            "seed": seed,
        },
        weights={name: weights_of(training, name) for name in sorted(backbones)},
        weights_digests={name: digest_of(weights_of(training, name)) for name in sorted(backbones)},
        default_lr={b.name: training.learning_rate or b.default_lr for b in alone if b.name in parts},
        versions={n: version for n in sorted({*backbones, *augmentations}) if (version := catalog.version_of(n))},
    )


def _ranges(space: SpaceConfig) -> dict[str, Range]:
    ranges: dict[str, Range] = {name: getattr(space, name) for name in ("lr_multiplier", *_NUMBERS)}
    return ranges | {
        "head.lr_multiplier": space.lr_multiplier,
        "head.shrinkage": space.shrinkage,
        "head.power": space.power,
    }


def _sizes(space: SpaceConfig, automatic: int) -> tuple[int, ...]:
    if space.image_size == "auto":
        return (automatic,)
    return (space.image_size,) if isinstance(space.image_size, int) else tuple(sorted(space.image_size))


# ---- from a trial to a recipe ---------------------------------------------------------------------------------------


def suggest_recipe(trial: Trial, space: Space, overrides: Mapping[str, Any]) -> Recipe:
    """Let the trial choose, and return what it chose.

    Args:
        overrides: fields of `Recipe` that are settled beforehand (a run that fits itself into the time that is left
            settles `tuning`, `epochs` and `image_size`).
    """
    choice = _Choice(trial, space.ranges)
    tuning: Tuning = overrides.get("tuning") or choice.one_of("tuning", space.tunings)
    backbone: str = choice.one_of("backbone", space.backbones)
    values = (_suggest_head if tuning == "head" else _suggest_full)(choice, space, backbone)
    return Recipe(**{"backbone": backbone, "tuning": tuning, **values, **overrides})


def _suggest_head(choice: _Choice, space: Space, backbone: str) -> dict[str, Any]:
    # Fields that do not matter for a head keep their defaults, so that equal heads are equal recipes.
    return {
        "augmentation": "none",
        "image_size": choice.one_of("head.image_size", space.head_sizes[backbone]),
        "learning_rate": HEAD_LEARNING_RATE * choice.number("head.lr_multiplier"),
        "shrinkage": choice.number("head.shrinkage"),
        "power": choice.number("head.power"),
        "views": choice.one_of("head.views", space.views),
        "epochs": HEAD_EPOCHS,
        "batch_size": HEAD_BATCH,
        "patience": 0,
        "params": _defaults(space, backbone),
        **_network(space, backbone),
        "flip": space.fixed["flip"],
        "seed": space.fixed["seed"],
    }


def _suggest_full(choice: _Choice, space: Space, backbone: str) -> dict[str, Any]:
    augmentation: str = choice.one_of("augmentation", space.augmentations)
    params = {
        f"{name}.{param.name}": choice.declared(f"{name}.{param.name}", param)
        for name in (backbone, augmentation)
        for param in space.params.get(name, ())
    }
    return {
        **space.fixed,
        "augmentation": augmentation,
        "image_size": choice.one_of("image_size", space.full_sizes[backbone]),
        "learning_rate": space.default_lr[backbone] * choice.number("lr_multiplier"),
        **{name: choice.number(name) for name in _NUMBERS},
        "views": max(space.views),
        "params": tuple(sorted(params.items())),
        **_network(space, backbone),
        "augmentation_version": space.versions.get(augmentation, ""),
        "freeze_norm": space.weights[backbone] != "random",  # random weights have no statistics worth keeping
    }


def _network(space: Space, backbone: str) -> dict[str, str]:
    """What of a backbone is not chosen: its weights and its code."""
    return {
        "weights": space.weights[backbone],
        "weights_digest": space.weights_digests[backbone],
        "backbone_version": space.versions.get(backbone, ""),
    }


def _defaults(space: Space, backbone: str) -> tuple[tuple[str, ParamValue], ...]:
    return tuple(
        sorted(
            (f"{part}.{param.name}", param.default)
            for part in parts_of(backbone)
            for param in space.params.get(part, ())
        )
    )


def in_order(backbone: str) -> tuple[int, str]:
    """Backbones that work alone, by name, and then those side by side, whose features they compute."""
    return len(parts_of(backbone)), backbone


@dataclass(frozen=True)
class _Choice:
    """Asks the trial only where there is something to choose."""

    trial: Trial
    ranges: Mapping[str, Range]

    def one_of(self, name: str, choices: tuple[Any, ...]) -> Any:
        return choices[0] if len(choices) == 1 else self.trial.suggest_categorical(name, choices)

    def number(self, name: str) -> float:
        value = self.ranges[name]
        if not isinstance(value, tuple):
            return value
        low, high = value
        return self.trial.suggest_float(name, low, high, log=name in _LOGARITHMIC and low > 0)

    def declared(self, name: str, param: Param) -> ParamValue:
        if param.kind == "choice":
            chosen: ParamValue = self.one_of(name, param.choices)
            return chosen
        assert param.low is not None
        assert param.high is not None
        if param.kind == "int":
            return self.trial.suggest_int(name, int(param.low), int(param.high), log=param.log)
        return self.trial.suggest_float(name, param.low, param.high, log=param.log)


# ---- and back -------------------------------------------------------------------------------------------------------


def values_of(recipe: Recipe, space: Space) -> dict[str, Any]:
    """What the parameters of a trial are with which `suggest_recipe` gives this recipe.

    All that its tuning could ever have are named, whether or not this space leaves them open, and a value may lie
    outside the space. What the space cannot tell is left out: the multiple of a rate that it does not know.
    """
    core = {"tuning": recipe.tuning, "backbone": recipe.backbone, **dict(recipe.params)}
    if recipe.tuning == "head":
        return core | {
            "head.image_size": recipe.image_size,
            "head.lr_multiplier": recipe.learning_rate / HEAD_LEARNING_RATE,
            "head.shrinkage": recipe.shrinkage,
            "head.power": recipe.power,
            "head.views": recipe.views,
        }
    rate = space.default_lr.get(recipe.backbone)
    return core | {
        "augmentation": recipe.augmentation,
        "image_size": recipe.image_size,
        **({"lr_multiplier": recipe.learning_rate / rate} if rate else {}),
        **{name: getattr(recipe, name) for name in _NUMBERS},
    }
