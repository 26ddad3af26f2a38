"""What a plugin offers: frozen records with a name, a function, and what can be chosen about it, declared."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from automl_car.catalog.events import Event, SearchBegan
from automl_car.errors import PluginError

ParamValue = float | int | str | bool
_NAME = re.compile(r"[a-z0-9_]+")


@dataclass(frozen=True)
class Param:
    """One parameter of a plugin: its name, its range or choices, and its default.

    Parameters are declared, not suggested, so that the space can be fingerprinted, shown, widened later
    and started at its defaults. In Optuna a parameter is called `<plugin>.<name>`.

    Example:
        >>> Param.float("drop_path", 0.0, 0.3, default=0.1).default
        0.1
    """

    name: str
    kind: str  # "float", "int" or "choice"
    default: ParamValue
    low: float | None = None
    high: float | None = None
    log: bool = False
    choices: tuple[ParamValue, ...] = ()

    @classmethod
    def float(cls, name: str, low: float, high: float, *, default: float, log: bool = False) -> Param:
        """A real number in [low, high]; `log=True` searches its logarithm."""
        return cls(name, "float", float(default), float(low), float(high), log)

    @classmethod
    def int(cls, name: str, low: int, high: int, *, default: int, log: bool = False) -> Param:
        """A whole number in [low, high]."""
        return cls(name, "int", int(default), low, high, log)

    @classmethod
    def choice(cls, name: str, choices: Sequence[ParamValue], *, default: ParamValue) -> Param:
        """One of some values, without an order between them."""
        return cls(name, "choice", default, choices=tuple(choices))

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise PluginError(f"Parameter name `{self.name}` may hold only a-z, 0-9 and _.")
        if self.kind == "choice":
            if self.default not in self.choices:
                raise PluginError(f"Default {self.default!r} of parameter `{self.name}` is not one of {self.choices}.")
            return
        if self.low is None or self.high is None or not math.isfinite(self.high - self.low):
            raise PluginError(f"Parameter `{self.name}` needs two finite ends, not {self.low} and {self.high}.")
        if not self.low <= float(self.default) <= self.high:
            raise PluginError(
                f"Default {self.default!r} of parameter `{self.name}` is outside {self.low} … {self.high}."
            )
        if self.log and self.low <= 0:
            raise PluginError(f"Parameter `{self.name}` is logarithmic, so its low end {self.low} must be above 0.")

    def to_json(self) -> dict[str, Any]:
        """The declaration as plain JSON values, for the fingerprint of a space."""
        if self.kind == "choice":
            return {"name": self.name, "kind": self.kind, "choices": list(self.choices), "default": self.default}
        return {
            "name": self.name,
            "kind": self.kind,
            "low": self.low,
            "high": self.high,
            "log": self.log,
            "default": self.default,
        }


@dataclass(frozen=True)
class Backbone:
    """A network that a plugin offers.

    Args:
        name: unique among all loaded plugins; a-z, 0-9 and _.
        build: `build(num_classes, *, pretrained=True, **params)` returns a `torch.nn.Module` that maps images,
            float32 (B, 3, H, W) normalised with `mean` and `std`, to logits (B, num_classes). Its last layer
            must be a `torch.nn.Linear`; that is where features for `tuning: head` are taken.
        image_size: side in pixels of the square images that its weights were trained for.
        default_lr: AdamW learning rate that is good for fine-tuning all of it; searched as a multiple.
        mean, std: of the RGB channels on the scale 0..1, as at pretraining.
        crop_pct: share of the image's short side that the evaluation crop of pretraining kept.
        interpolation: "bicubic" or "bilinear", as at pretraining.
        params: further parameters of `build`, searched as `<name>.<param>`.
        source: paper, repository or page that the network comes from.
        license: licence of the weights.
        weights_date: ISO date (YYYY-MM-DD) by which the weights were public, for contests that have a rule on it;
            None when unknown.
        find_weights: returns the file of the pretrained weights on this machine, or None. Without it the
            weights are taken to be at hand. Must be quick and must not use the network.
    """

    name: str
    build: Callable[..., Any]
    image_size: int = 224
    default_lr: float = 5e-4
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    crop_pct: float = 0.875
    interpolation: str = "bicubic"
    params: tuple[Param, ...] = ()
    source: str = ""
    license: str = ""
    weights_date: str | None = None
    find_weights: Callable[[], Path | None] | None = None

    def __post_init__(self) -> None:
        _check_name("Backbone", self.name)
        object.__setattr__(self, "params", _distinct(self.name, self.params))
        if not 16 <= self.image_size <= 4096:
            raise PluginError(f"`image_size={self.image_size}` of backbone `{self.name}` is not in 16 … 4096 pixels.")
        if not (math.isfinite(self.default_lr) and self.default_lr > 0):
            raise PluginError(f"`default_lr={self.default_lr}` of backbone `{self.name}` must be above 0.")
        if len(self.mean) != 3 or len(self.std) != 3 or not all(value > 0 for value in self.std):
            raise PluginError(
                f"`mean={self.mean}` and `std={self.std}` of backbone `{self.name}` must be three numbers each, "
                "and those of `std` above 0."
            )
        if not 0 < self.crop_pct <= 1:
            raise PluginError(
                f"`crop_pct={self.crop_pct}` of backbone `{self.name}` must be a share, above 0 and up to 1."
            )
        if self.interpolation not in ("bicubic", "bilinear"):
            raise PluginError(
                f"`interpolation={self.interpolation!r}` of backbone `{self.name}` must be bicubic or bilinear."
            )
        if self.weights_date is not None and not _is_day(self.weights_date):
            raise PluginError(
                f"`weights_date={self.weights_date!r}` of backbone `{self.name}` must be a date such as '2023-03-31'."
            )


@dataclass(frozen=True)
class Augmentation:
    """A random change of training photos that a plugin offers.

    Args:
        name: unique among all loaded plugins; a-z, 0-9 and _.
        build: `build(image_size, **params)` returns an albumentations transform from uint8 (H, W, 3) RGB of
            any size to uint8 (image_size, image_size, 3).
        params: further parameters of `build`, searched as `<name>.<param>`.
        source: paper or page that it follows.
    """

    name: str
    build: Callable[..., Any]
    params: tuple[Param, ...] = ()
    source: str = ""

    def __post_init__(self) -> None:
        _check_name("Augmentation", self.name)
        object.__setattr__(self, "params", _distinct(self.name, self.params))


@dataclass(frozen=True)
class Setting:
    """A setting of a tracker or an executor, as it stands in automl-car.yaml.

    Args:
        name: a-z, 0-9 and _.
        default: its type is that of the setting: text, whole number, number, or true and false.
        about: what it means, in a few words.
        choices: the values it may have; any where there are none.

    Example:
        >>> Setting("mode", "offline", "where runs go", choices=("offline", "online")).why_not("onlin")
        'write one of offline, online'
    """

    name: str
    default: ParamValue
    about: str
    choices: tuple[ParamValue, ...] = ()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or self.name == "enabled":
            raise PluginError(f"Setting name `{self.name}` may hold only a-z, 0-9 and _, and `enabled` is taken.")
        if not isinstance(self.default, ParamValue):
            raise PluginError(f"Default {self.default!r} of setting `{self.name}` must be a text, a number, or a bool.")
        if self.choices and self.default not in self.choices:
            raise PluginError(f"Default {self.default!r} of setting `{self.name}` is not one of {self.choices}.")

    def why_not(self, value: ParamValue) -> str:
        """What is expected in place of a value; empty where it will do."""
        kind = type(self.default)
        if type(value) is not kind and not (kind is float and type(value) is int):
            return f"write {_KINDS[kind]}"
        if self.choices and value not in self.choices:
            return f"write one of {', '.join(map(str, self.choices))}"
        return ""


_KINDS: Mapping[type, str] = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


@dataclass(frozen=True)
class Tracker:
    """A place that is told how a search goes, when the settings switch it on; see `automl_car.events`.

    Trackers change nothing of what is searched: none is part of a recipe or of a study.

    Args:
        name: unique among all that loaded plugins offer; a-z, 0-9 and _.
        open: `open(search, **settings)` is called when a search begins, and returns a function that is called with each
            further event. Both run in a thread of their own; the last event is `SearchEnded`. What they raise switches
            the tracker off for the rest of the search, which goes on.
        settings: further arguments of `open`, which stand in automl-car.yaml beside `enabled`.
        needs: modules that `open` imports; a search for which they are missing does not begin.
        install: what `pip install` is to be given, such as `automl-car[wandb]`.
        about: what it is, in a few words.
    """

    name: str
    open: Callable[..., Callable[[Event], object]]
    settings: tuple[Setting, ...] = ()
    needs: tuple[str, ...] = ()
    install: str = ""
    about: str = ""

    def __post_init__(self) -> None:
        _check_name("Tracker", self.name)
        object.__setattr__(self, "settings", _distinct_settings(self.name, self.settings))

    def begin(self, search: SearchBegan, values: Mapping[str, ParamValue]) -> Callable[[Event], object]:
        """Open it with these settings, and the others at their defaults."""
        return self.open(search, **{setting.name: setting.default for setting in self.settings} | dict(values))


@dataclass(frozen=True)
class ExecutorContext:
    """What an executor is built with.

    Attributes:
        watch: to be called with a fold task and with each `Epoch` or `Progress` that its training tells, as it happens,
            from any thread, and from one at a time.
        log: file for what training processes print. Processes of other machines take names beside it.
        note: tells the person something, in a sentence.
        address: `search.address`: where its cluster is; empty where nobody said.
        workers: `search.workers`: training processes on this machine, a number or "auto".
    """

    watch: Callable[[Any, Any], None]
    log: Path
    note: Callable[[str], None]
    address: str = ""
    workers: int | str = "auto"


@dataclass(frozen=True)
class ExecutorKind:
    """A way to train folds, on this machine or on many; `search.executor` chooses one.

    Executors change nothing of what is searched: none is part of a recipe or of a study.

    Args:
        name: unique among all that loaded plugins offer; a-z, 0-9 and _.
        build: `build(context, **settings)` returns an object with the methods of
            `automl_car.search.executor.Executor`. It raises ConfigError where the context or the settings will not do.
        settings: further arguments of `build`, which stand in automl-car.yaml under `executors.<name>`.
        needs: modules that `build` imports; a search for which they are missing does not begin.
        install: what `pip install` is to be given, such as `automl-car[ray]`.
        about: what it is, in a few words.
    """

    name: str
    build: Callable[..., Any]
    settings: tuple[Setting, ...] = ()
    needs: tuple[str, ...] = ()
    install: str = ""
    about: str = ""

    def __post_init__(self) -> None:
        _check_name("Executor", self.name)
        object.__setattr__(self, "settings", _distinct_settings(self.name, self.settings))

    def open(self, context: ExecutorContext, values: Mapping[str, ParamValue]) -> Any:
        """Build it with these settings, and the others at their defaults."""
        return self.build(context, **{setting.name: setting.default for setting in self.settings} | dict(values))


@dataclass(frozen=True)
class PluginSources:
    """Where plugins are loaded from; a training process loads the same ones as the driver.

    Attributes:
        workspace_folder: folder whose `*.py` are plugins, or None.
        files: further one-file plugins.
        disabled: plugins that are not loaded, by name.
        verdicts: folder that remembers which plugins could be loaded. With it, each one that does not come with
            automl-car is first loaded in a process of its own, once per version; None loads it at once.
        time_limit: seconds that loading a plugin may take there, and trying out what it offers before it is trained.
    """

    workspace_folder: Path | None = None
    files: tuple[Path, ...] = ()
    disabled: tuple[str, ...] = ()
    verdicts: Path | None = None
    time_limit: float = 30.0


def _is_day(text: object) -> bool:
    try:
        return isinstance(text, str) and date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _check_name(kind: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise PluginError(f"{kind} name `{name}` may hold only a-z, 0-9 and _.")


def _distinct(owner: str, params: Sequence[Param]) -> tuple[Param, ...]:
    names = [param.name for param in params]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise PluginError(f"`{owner}` declares the parameter `{twice[0]}` twice.")
    return tuple(params)


def _distinct_settings(owner: str, settings: Sequence[Setting]) -> tuple[Setting, ...]:
    names = [setting.name for setting in settings]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise PluginError(f"`{owner}` declares the setting `{twice[0]}` twice.")
    return tuple(settings)


def default_values(params: Sequence[Param]) -> dict[str, ParamValue]:
    """The default of each parameter, by name."""
    return {param.name: param.default for param in params}


def own_values(name: str, values: Mapping[str, ParamValue]) -> dict[str, ParamValue]:
    """The values of `<name>.<param>` with the prefix taken off: the keyword arguments of the plugin's `build`."""
    prefix = f"{name}."
    return {key.removeprefix(prefix): value for key, value in values.items() if key.startswith(prefix)}
