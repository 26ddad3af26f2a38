"""Calls the hooks of one plugin's module, and checks what they return."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import TypeVar

import pluggy

from automl_car.catalog.finding import find_plugins
from automl_car.catalog.hookspecs import Hooks
from automl_car.catalog.records import Augmentation, Backbone, ExecutorKind, PluginSources, Tracker
from automl_car.catalog.words import did_you_mean
from automl_car.errors import PluginError

Record = TypeVar("Record", Backbone, Augmentation, Tracker, ExecutorKind)
_HOOKS = ("register_backbones", "register_augmentations", "register_trackers", "register_executors")


@dataclass(frozen=True)
class Offer:
    """All that one plugin offers."""

    backbones: tuple[Backbone, ...]
    augmentations: tuple[Augmentation, ...]
    trackers: tuple[Tracker, ...]
    executors: tuple[ExecutorKind, ...]

    @property
    def records(self) -> tuple[Backbone | Augmentation | Tracker | ExecutorKind, ...]:
        """Backbones, augmentations, trackers, executors."""
        return (*self.backbones, *self.augmentations, *self.trackers, *self.executors)

    @property
    def names(self) -> tuple[str, ...]:
        """Of all records, as often as they are there."""
        return tuple(record.name for record in self.records)


def offers(module: ModuleType) -> Offer:
    """What the module's hooks return. Each module gets a manager of its own, so none can disturb another.

    Raises:
        PluginError: it has no hook, or a hook returns something else than a list of records.
        Exception: whatever a hook raises.
    """
    manager = pluggy.PluginManager("automl_car")
    manager.add_hookspecs(Hooks)
    manager.register(module)
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise PluginError(_explain_unknown_hook(module)) from error
    if not manager.get_hookcallers(module):
        raise PluginError(_explain_no_hook(module))
    return Offer(
        _collect(manager.hook.register_backbones, Backbone),
        _collect(manager.hook.register_augmentations, Augmentation),
        _collect(manager.hook.register_trackers, Tracker),
        _collect(manager.hook.register_executors, ExecutorKind),
    )


def bundled_trackers() -> tuple[Tracker, ...]:
    """Those that come with automl-car, sorted by name; no code of others runs."""
    return tuple(sorted((record for offer in _bundled() for record in offer.trackers), key=_name))


def bundled_executors() -> tuple[ExecutorKind, ...]:
    """Those that come with automl-car, sorted by name; no code of others runs."""
    return tuple(sorted((record for offer in _bundled() for record in offer.executors), key=_name))


def _bundled() -> Iterator[Offer]:
    for found in find_plugins(PluginSources()):
        if found.origin == "bundled":
            yield offers(found.load())


def _name(record: Tracker | ExecutorKind) -> str:
    return record.name


def _collect(hook: pluggy.HookCaller, kind: type[Record]) -> tuple[Record, ...]:
    """What the one implementation of `hook` returns, if there is one.

    It is called directly, as pluggy would drop a None: what a hook returns that has no `return`.
    """
    records: list[Record] = []
    for implementation in hook.get_hookimpls():
        result = implementation.function()
        if not isinstance(result, list | tuple):
            raise PluginError(f"`{hook.name}` must return a list of {kind.__name__}, not {type(result).__name__}.")
        for record in result:
            if not isinstance(record, kind):
                raise PluginError(
                    f"`{hook.name}` returned {record!r} in its list; every entry must be a {kind.__name__}."
                )
            records.append(record)
    return tuple(records)


def _explain_unknown_hook(module: ModuleType) -> str:
    marked = [name for name in vars(module) if hasattr(vars(module)[name], "automl_car_impl")]
    unknown = [name for name in marked if name not in _HOOKS]
    return " ".join(f"`{name}` is no hook of automl-car.{did_you_mean(name, _HOOKS)}" for name in unknown)


def _explain_no_hook(module: ModuleType) -> str:
    for name in _HOOKS:
        if name in vars(module):
            return f"`{name}` is not marked as a hook. Put `@hookimpl` above it."
    for name in vars(module):
        if near := did_you_mean(name, _HOOKS):
            return f"`{name}` is no hook of automl-car.{near}"
    return f"it implements none of the hooks {', '.join(f'`{name}`' for name in _HOOKS)}."
