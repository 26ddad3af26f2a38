"""What a plugin offers: frozen records with a name, a function, and what can be chosen about it (`params.py`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from automl_car.catalog.events import Event, SearchBegan
from automl_car.catalog.params import NAME, Param, ParamValue, Setting, distinct, distinct_settings
from automl_car.errors import PluginError


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
        object.__setattr__(self, "params", distinct(self.name, self.params))
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
        object.__setattr__(self, "params", distinct(self.name, self.params))


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
        object.__setattr__(self, "settings", distinct_settings(self.name, self.settings))

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
        object.__setattr__(self, "settings", distinct_settings(self.name, self.settings))

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
    if not NAME.fullmatch(name):
        raise PluginError(f"{kind} name `{name}` may hold only a-z, 0-9 and _.")
