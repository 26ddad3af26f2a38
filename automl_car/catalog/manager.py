"""Loads each plugin in isolation, and returns the catalog of what they offer."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType, ModuleType
from typing import TypeVar

import pluggy

from automl_car.catalog.finding import Found, find_plugins
from automl_car.catalog.hookspecs import Hooks
from automl_car.catalog.records import Augmentation, Backbone, PluginSources
from automl_car.errors import PluginError

Record = TypeVar("Record", Backbone, Augmentation)
_HOOKS = ("register_backbones", "register_augmentations")


@dataclass(frozen=True)
class PluginInfo:
    """One plugin and how its loading went.

    Attributes:
        name: file stem, or name of the entry point.
        origin: "bundled", "installed", "workspace" or "file".
        location: its file, or its distribution.
        version: of the distribution; for a single file the first 8 digits of its sha256; empty when disabled.
        backbones, augmentations: names that it offers.
        error: why it could not be loaded; None when it was.
        disabled: whether the settings switch it off.
    """

    name: str
    origin: str
    location: str
    version: str
    backbones: tuple[str, ...] = ()
    augmentations: tuple[str, ...] = ()
    error: str | None = None
    disabled: bool = False


@dataclass(frozen=True)
class Catalog:
    """All that the loaded plugins offer, sorted by name."""

    backbones: Mapping[str, Backbone]
    augmentations: Mapping[str, Augmentation]
    plugins: tuple[PluginInfo, ...]

    def backbone(self, name: str) -> Backbone:
        """The backbone of that name; PluginError with near names when there is none."""
        return _look_up("backbone", name, self.backbones)

    def augmentation(self, name: str) -> Augmentation:
        """The augmentation of that name; PluginError with near names when there is none."""
        return _look_up("augmentation", name, self.augmentations)

    def version_of(self, name: str) -> str:
        """Version of the plugin that offers this backbone or augmentation; empty for bundled ones.

        A recipe remembers it, so that an edited plugin is never answered for by what its former self has trained.
        """
        others = (row for row in self.plugins if row.origin != "bundled")
        return next((row.version for row in others if name in (*row.backbones, *row.augmentations)), "")

    def require_whole(self) -> None:
        """Raise PluginError when a plugin is broken: its silent absence would change what is searched."""
        broken = [plugin for plugin in self.plugins if plugin.error]
        if broken:
            reasons = "\n".join(f"  `{plugin.name}` ({plugin.location}): {plugin.error}" for plugin in broken)
            names = ", ".join(plugin.name for plugin in broken)
            raise PluginError(
                f"{len(broken)} plugin(s) cannot be loaded:\n{reasons}",
                hint=f"mend them, or leave them out with `plugins: {{disabled: [{names}]}}` in automl-car.yaml.",
            )


def load_catalog(sources: PluginSources = PluginSources()) -> Catalog:  # noqa: B008 - a frozen value
    """Load every plugin of `sources`; one that fails becomes a row with its reason and disturbs no other."""
    backbones: dict[str, Backbone] = {}
    augmentations: dict[str, Augmentation] = {}
    owners: dict[str, str] = {}
    rows: list[PluginInfo] = []
    plugins = list(find_plugins(sources))
    _refuse_unknown(sources.disabled, tuple(found.name for found in plugins))
    for found in plugins:
        row = PluginInfo(found.name, found.origin, found.location, "")
        if found.name in sources.disabled:
            rows.append(_with(row, disabled=True))
            continue
        try:
            row = _with(row, version=found.version())
            module = found.load()
            own_backbones, own_augmentations = _offers(module)
            _refuse_clashes(found, own_backbones, own_augmentations, owners)
        except (Exception, SystemExit) as error:  # any plugin code may run here, `sys.exit()` included
            rows.append(_with(row, error=_describe(error)))
            continue
        backbones.update({record.name: record for record in own_backbones})
        augmentations.update({record.name: record for record in own_augmentations})
        owners.update({record.name: f"`{found.name}` ({found.location})" for record in own_backbones})
        owners.update({record.name: f"`{found.name}` ({found.location})" for record in own_augmentations})
        rows.append(
            _with(
                row,
                backbones=tuple(sorted(record.name for record in own_backbones)),
                augmentations=tuple(sorted(record.name for record in own_augmentations)),
            )
        )
    return Catalog(_sorted(backbones), _sorted(augmentations), tuple(rows))


# ---- loading --------------------------------------------------------------------------------------------------------


def _offers(module: ModuleType) -> tuple[list[Backbone], list[Augmentation]]:
    """What the module's hooks return. Each module gets a manager of its own, so none can disturb another."""
    manager = pluggy.PluginManager("automl_car")
    manager.add_hookspecs(Hooks)
    manager.register(module)
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise PluginError(_explain_unknown_hook(module)) from error
    if not manager.get_hookcallers(module):
        raise PluginError(_explain_no_hook(module))
    backbones = _collect(manager.hook.register_backbones, Backbone)
    augmentations = _collect(manager.hook.register_augmentations, Augmentation)
    return backbones, augmentations


def _collect(hook: pluggy.HookCaller, kind: type[Record]) -> list[Record]:
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
    return records


def _explain_unknown_hook(module: ModuleType) -> str:
    marked = [name for name in vars(module) if hasattr(vars(module)[name], "automl_car_impl")]
    unknown = [name for name in marked if name not in _HOOKS]
    return " ".join(f"`{name}` is no hook of automl-car.{_did_you_mean(name, _HOOKS)}" for name in unknown)


def _explain_no_hook(module: ModuleType) -> str:
    for name in _HOOKS:
        if name in vars(module):
            return f"`{name}` is not marked as a hook. Put `@hookimpl` above it."
    for name in vars(module):
        if near := _did_you_mean(name, _HOOKS):
            return f"`{name}` is no hook of automl-car.{near}"
    return f"it implements none of the hooks {', '.join(f'`{name}`' for name in _HOOKS)}."


def _refuse_unknown(disabled: Sequence[str], known: Sequence[str]) -> None:
    for name in disabled:
        if name not in known:
            raise PluginError(
                f"`plugins.disabled` names `{name}`, and there is no such plugin.{_did_you_mean(name, known)}"
            )


def _refuse_clashes(
    found: Found, backbones: list[Backbone], augmentations: list[Augmentation], owners: Mapping[str, str]
) -> None:
    names = [record.name for record in backbones] + [record.name for record in augmentations]
    for name in names:
        if name in owners:
            raise PluginError(f"the name `{name}` is already taken by plugin {owners[name]}. Rename one of the two.")
        if names.count(name) > 1:
            raise PluginError(f"it offers the name `{name}` twice.")


# ---- words ----------------------------------------------------------------------------------------------------------


def _describe(error: BaseException) -> str:
    if isinstance(error, PluginError):
        return error.message
    if isinstance(error, SystemExit):
        return f"it called sys.exit({error.code!r}) while it was loaded."
    return f"{type(error).__name__}: {error}"


def _did_you_mean(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean `{near[0]}`?" if near else ""


def _look_up(kind: str, name: str, known: Mapping[str, Record]) -> Record:
    if name in known:
        return known[name]
    raise PluginError(
        f"Unknown {kind} `{name}`.{_did_you_mean(name, tuple(known))}",
        hint="`automl-car plugins` lists all that are loaded.",
    )


def _with(row: PluginInfo, **changes: object) -> PluginInfo:
    return dataclasses.replace(row, **changes)  # type: ignore[arg-type]


def _sorted(records: dict[str, Record]) -> Mapping[str, Record]:
    return MappingProxyType(dict(sorted(records.items())))
