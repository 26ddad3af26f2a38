"""Loads each plugin in isolation, and returns the catalog of what they offer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeVar

from automl_car.catalog.finding import Found, find_plugins
from automl_car.catalog.guarded import guarded
from automl_car.catalog.joint import is_joint, joint_version, parts_of
from automl_car.catalog.offering import Offer, offers
from automl_car.catalog.records import Augmentation, Backbone, ExecutorKind, PluginSources, Tracker
from automl_car.catalog.state import left_alone
from automl_car.catalog.words import describe_error, did_you_mean
from automl_car.errors import PluginError

Record = TypeVar("Record", Backbone, Augmentation, Tracker, ExecutorKind)


@dataclass(frozen=True)
class PluginInfo:
    """One plugin and how its loading went.

    Attributes:
        name: file stem, or name of the entry point.
        origin: "bundled", "installed", "workspace" or "file".
        location: its file, or its distribution.
        place: where its code is, for people.
        version: of the distribution; for a single file the first 8 digits of its sha256; empty when disabled.
        backbones, augmentations, trackers, executors: names that it offers.
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
    place: str = ""
    trackers: tuple[str, ...] = ()
    executors: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The plugin with its place and version, as it is named before its code runs, and when it fails."""
        version = f", version {self.version}" if self.version else ""
        return f"plugin `{self.name}` ({self.place or self.location}{version})"


@dataclass(frozen=True)
class Catalog:
    """All that the loaded plugins offer, sorted by name."""

    backbones: Mapping[str, Backbone]
    augmentations: Mapping[str, Augmentation]
    plugins: tuple[PluginInfo, ...]
    trackers: Mapping[str, Tracker] = field(default_factory=dict)
    executors: Mapping[str, ExecutorKind] = field(default_factory=dict)

    def backbone(self, name: str) -> Backbone:
        """The backbone of that name; PluginError with near names when there is none."""
        return _look_up("backbone", name, self.backbones)

    def parts(self, name: str) -> tuple[Backbone, ...]:
        """The backbones of a name such as `convnext_tiny+resnet50`; of a single one, that one."""
        return tuple(self.backbone(part) for part in parts_of(name))

    def augmentation(self, name: str) -> Augmentation:
        """The augmentation of that name; PluginError with near names when there is none."""
        return _look_up("augmentation", name, self.augmentations)

    def version_of(self, name: str) -> str:
        """Version of the plugin that offers this backbone or augmentation; empty for bundled ones.

        A recipe remembers it, so that an edited plugin is never answered for by what its former self has trained. Of
        several backbones side by side it has those of all.
        """
        if is_joint(name):
            return joint_version(map(self.version_of, parts_of(name)))
        return next((row.version for row in self.others if name in (*row.backbones, *row.augmentations)), "")

    @property
    def others(self) -> tuple[PluginInfo, ...]:
        """Plugins that do not come with automl-car, and were loaded."""
        return tuple(row for row in self.plugins if row.origin != "bundled" and not (row.error or row.disabled))

    @property
    def owners(self) -> Mapping[str, str]:
        """Title of the plugin, by the name of what it offers; bundled ones are not in it."""
        return {name: row.title for row in self.others for name in (*row.backbones, *row.augmentations)}

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


def load_catalog(
    sources: PluginSources = PluginSources(),  # noqa: B008 - a frozen value
    *,
    announce: Callable[[str], None] = lambda text: None,
) -> Catalog:
    """Load every plugin of `sources`; one that fails becomes a row with its reason and disturbs no other.

    Args:
        sources: where plugins are.
        announce: is told of each plugin that does not come with automl-car, by place and version, before its code runs.
    """
    accepted: list[Offer] = []
    owners: dict[str, str] = {}
    rows: list[PluginInfo] = []
    plugins = list(find_plugins(sources))
    _refuse_unknown(sources.disabled, tuple(found.name for found in plugins))
    infos = [_info(found, sources) for found in plugins]
    foreign = [found for found, row in zip(plugins, infos, strict=True) if _is_foreign(row)]
    for row in infos:
        if _is_foreign(row):
            announce(f"{row.title} is loaded")
    refused = _why_not(foreign, sources) if foreign and sources.verdicts is not None else {}
    for found, row in zip(plugins, infos, strict=True):
        if row.disabled or row.error:
            rows.append(row)
            continue
        if found.reference in refused:
            rows.append(_with(row, error=refused[found.reference]))
            continue
        try:
            offer = _load(found)
            _refuse_clashes(offer.names, owners)
        except (Exception, SystemExit) as error:  # any plugin code may run here, `sys.exit()` included
            rows.append(_with(row, error=describe_error(error)))
            continue
        accepted.append(offer)
        owners.update({name: f"`{found.name}` ({found.location})" for name in offer.names})
        rows.append(
            _with(
                row,
                backbones=_names(offer.backbones),
                augmentations=_names(offer.augmentations),
                trackers=_names(offer.trackers),
                executors=_names(offer.executors),
            )
        )
    return Catalog(
        _sorted(record for offer in accepted for record in offer.backbones),
        _sorted(record for offer in accepted for record in offer.augmentations),
        tuple(rows),
        _sorted(record for offer in accepted for record in offer.trackers),
        _sorted(record for offer in accepted for record in offer.executors),
    )


# ---- loading --------------------------------------------------------------------------------------------------------


def _info(found: Found, sources: PluginSources) -> PluginInfo:
    """What is known of a plugin whose code has not run."""
    row = PluginInfo(found.name, found.origin, found.location, "", place=found.place)
    if found.name in sources.disabled:
        return _with(row, disabled=True)
    try:
        return _with(row, version=found.version())
    except OSError as error:
        return _with(row, error=describe_error(error))


def _why_not(foreign: Sequence[Found], sources: PluginSources) -> Mapping[tuple[str, ...], str]:
    from automl_car.catalog.probe import why_not  # only where there is something to probe

    return why_not(foreign, sources)


def _is_foreign(row: PluginInfo) -> bool:
    return row.origin != "bundled" and not (row.disabled or row.error)


def _load(found: Found) -> Offer:
    if found.origin == "bundled":
        return offers(found.load())
    with left_alone():
        offer = offers(found.load())
    return dataclasses.replace(
        offer, backbones=tuple(map(guarded, offer.backbones)), augmentations=tuple(map(guarded, offer.augmentations))
    )


def _refuse_unknown(disabled: Sequence[str], known: Sequence[str]) -> None:
    for name in disabled:
        if name not in known:
            raise PluginError(
                f"`plugins.disabled` names `{name}`, and there is no such plugin.{did_you_mean(name, known)}"
            )


def _refuse_clashes(names: Sequence[str], owners: Mapping[str, str]) -> None:
    for name in names:
        if name in owners:
            raise PluginError(f"the name `{name}` is already taken by plugin {owners[name]}. Rename one of the two.")
        if names.count(name) > 1:
            raise PluginError(f"it offers the name `{name}` twice.")


# ---- looking up -----------------------------------------------------------------------------------------------------


def _look_up(kind: str, name: str, known: Mapping[str, Record]) -> Record:
    if name in known:
        return known[name]
    raise PluginError(
        f"Unknown {kind} `{name}`.{did_you_mean(name, tuple(known))}",
        hint="`automl-car plugins` lists all that are loaded.",
    )


def _with(row: PluginInfo, **changes: object) -> PluginInfo:
    return dataclasses.replace(row, **changes)  # type: ignore[arg-type]


def _names(records: Iterable[Record]) -> tuple[str, ...]:
    return tuple(sorted(record.name for record in records))


def _sorted(records: Iterable[Record]) -> Mapping[str, Record]:
    return MappingProxyType(dict(sorted((record.name, record) for record in records)))
