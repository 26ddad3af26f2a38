"""What the settings leave open and this machine decides: backbones, tunings, the size of the cache, the deadline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from automl_car.catalog.joint import is_joint, joint_name, single
from automl_car.catalog.manager import Catalog
from automl_car.config import Config
from automl_car.errors import ConfigError, WeightsError
from automl_car.fold_records import Machine
from automl_car.pipeline.outcome import View
from automl_car.pipeline.weights_rule import kept_out, note_files, require_allowed
from automl_car.records import Tuning
from automl_car.search.weights import weights_of

# Of a time limit, what is kept back for the ensemble and the submission.
RESERVED_SHARE, RESERVED_SECONDS = 0.02, 10.0


def pick_backbones(catalog: Catalog, config: Config, view: View) -> tuple[str, ...]:
    """The backbones to search: those asked for, or all whose weights are on this machine."""
    names = _pick_named(catalog, config) if config.search.backbones != "auto" else _pick_ready(catalog, config, view)
    note_files(names, config, view)
    return names


def _pick_named(catalog: Catalog, config: Config) -> tuple[str, ...]:
    names = _pick("backbones", config.search.backbones, (), lambda name: _look_up(name, catalog))
    require_allowed(tuple(catalog.backbone(name) for name in single(names)), config)
    return names


def _look_up(name: str, catalog: Catalog) -> str:
    """The backbone's name; that of several in order."""
    parts = [part.name for part in catalog.parts(name)]
    if len(set(parts)) < len(parts):
        raise ConfigError(f"`search.backbones` names `{name}`: a backbone stands beside itself.")
    return joint_name(parts)


def _pick_ready(catalog: Catalog, config: Config, view: View) -> tuple[str, ...]:
    ready: list[str] = []
    absent: list[str] = []
    forbidden = {name: why for name, backbone in catalog.backbones.items() if (why := kept_out(backbone, config))}
    if forbidden:
        reasons = ", ".join(f"{name} ({why})" for name, why in forbidden.items())
        view.note(f"left out, as their weights are not older than {config.catalog.weights_before}: {reasons}")
    for name, backbone in catalog.backbones.items():
        if name in forbidden:
            continue
        needs = weights_of(config.training, name) == "pretrained" and backbone.find_weights is not None
        (absent if needs and backbone.find_weights and backbone.find_weights() is None else ready).append(name)
    if not ready:
        old = f", older than {config.catalog.weights_before}," if forbidden else ""
        raise WeightsError(
            f"No backbone has its pretrained weights{old} on this machine.",
            hint="name one with `--backbone NAME` to fetch it from the hub, or say `training: {weights: random}`.",
        )
    if absent:
        view.note(f"left out, as their weights are not on this machine: {', '.join(absent)}")
    return tuple(ready)


def pick_augmentations(catalog: Catalog, config: Config) -> tuple[str, ...]:
    """The augmentations to search: those asked for, or all."""
    everything = tuple(catalog.augmentations)
    return _pick("augmentations", config.search.augmentations, everything, lambda name: catalog.augmentation(name).name)


def _pick(kind: str, names: Any, everything: tuple[str, ...], look_up: Callable[[str], str]) -> tuple[str, ...]:
    if names == "auto":
        return everything
    if not names:
        raise ConfigError(f"`search.{kind}` is an empty list.", hint="name at least one, or say `auto`.")
    return tuple(sorted({look_up(name) for name in names}))


def pick_tunings(config: Config, machine: Callable[[], Machine]) -> tuple[Tuning, ...]:
    """What `tuning: auto` means here: on a GPU both; on a CPU, where fine-tuning takes hours, heads."""
    if config.search.tuning == "both":
        return ("full", "head")
    if config.search.tuning == "auto":
        return ("head",) if machine().device == "cpu" else ("full", "head")
    return (config.search.tuning,)


def tunings_of(names: tuple[str, ...], tunings: tuple[Tuning, ...]) -> tuple[Tuning, ...]:
    """Those of the tunings that some backbone of these names can have: several side by side only have heads.

    Raises:
        ConfigError: backbones are to work side by side, and no heads are searched.
    """
    beside = [name for name in names if is_joint(name)]
    if beside and "head" not in tunings:
        raise ConfigError(
            f"`{beside[0]}` can only have a head (`search.tuning`): several backbones are not fine-tuned together.",
            hint="name them one by one, or let heads be searched: `--tuning head` or `--tuning both`.",
        )
    return ("head",) if len(beside) == len(names) else tunings


def largest_size(config: Config, catalog: Catalog, backbones: tuple[str, ...]) -> int:
    """The largest image size in pixels that any recipe can ask for; photos are cached no larger."""
    sizes = config.space.image_size
    if sizes == "auto":
        return max(catalog.backbone(name).image_size for name in single(backbones))
    return sizes if isinstance(sizes, int) else max(sizes)


def pick_deadline(config: Config, began: float) -> float | None:
    """`time.monotonic()` at which training stops, so that the submission is written before the time limit is over."""
    if config.search.timeout is None:
        return None
    reserve = max(RESERVED_SECONDS, RESERVED_SHARE * config.search.timeout)
    return began + max(config.search.timeout - reserve, config.search.timeout / 2)
