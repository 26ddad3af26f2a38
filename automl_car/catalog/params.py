"""What can be chosen about a plugin: parameters that a search varies, and settings that a person makes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from automl_car.errors import PluginError

ParamValue = float | int | str | bool
NAME = re.compile(r"[a-z0-9_]+")


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
        if not NAME.fullmatch(self.name):
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
        if not NAME.fullmatch(self.name) or self.name == "enabled":
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


def distinct(owner: str, params: Sequence[Param]) -> tuple[Param, ...]:
    """The parameters of a plugin; a PluginError where two have one name."""
    names = [param.name for param in params]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise PluginError(f"`{owner}` declares the parameter `{twice[0]}` twice.")
    return tuple(params)


def distinct_settings(owner: str, settings: Sequence[Setting]) -> tuple[Setting, ...]:
    """The settings of a tracker or an executor; a PluginError where two have one name."""
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
