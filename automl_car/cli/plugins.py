"""plugins: what is loaded, what it is, whether it keeps the contract, and a new one."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from automl_car.cli.app import plugins_app
from automl_car.cli.options import (
    HERE,
    ConfigOption,
    JsonOption,
    NoLocalPluginsOption,
    PluginOption,
    WorkspaceOption,
)
from automl_car.cli.shared import hint, load_settings, open_workspace, plugin_overrides, print_json
from automl_car.errors import ConfigError, PluginError

if TYPE_CHECKING:
    from automl_car.catalog.manager import Catalog, PluginInfo
    from automl_car.catalog.records import Augmentation, Backbone
    from automl_car.config import Config
    from automl_car.workspace import Workspace


class KindName(StrEnum):
    """What a new plugin offers."""

    backbone = "backbone"
    augmentation = "augmentation"


@plugins_app.callback(invoke_without_command=True)
def _plugins(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        plugins_list()


@plugins_app.command("list")
def plugins_list(
    plugin: PluginOption = None,
    no_local_plugins: NoLocalPluginsOption = False,
    workspace: WorkspaceOption = HERE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List plugins with what they offer; a broken one shows its reason."""
    settings = load_settings(workspace, config, plugin_overrides(plugin, no_local=no_local_plugins))
    from automl_car.catalog.manager import load_catalog
    from automl_car.report import tables

    catalog = load_catalog(open_workspace(workspace).plugin_sources(settings))
    if as_json:
        print_json(tables.catalog_json(catalog))
    else:
        tables.print_catalog(catalog)


@plugins_app.command("new")
def plugins_new(
    name: Annotated[str, typer.Argument(help="Of the file, and of the backbone or augmentation.")],
    kind: Annotated[KindName, typer.Option(help="What the plugin offers.")],
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder that gets plugins/ and tests/. Default: the workspace.")
    ] = None,
    workspace: WorkspaceOption = HERE,
    config: ConfigOption = None,
) -> None:
    """Write a plugin that works as it is, and its test.

    The file is short, says what each part is for, and is yours to change. Nothing is ever overwritten.
    """
    settings = load_settings(workspace, config, {})
    from automl_car.catalog.manager import load_catalog
    from automl_car.plugin_kit import write_plugin

    place = open_workspace(workspace)
    catalog = load_catalog(place.plugin_sources(settings))
    taken = {*catalog.backbones, *catalog.augmentations, *(row.name for row in catalog.plugins)}
    plugin, test = write_plugin(name, kind.value, output or place.root, taken=taken)
    print(plugin)
    print(test)
    found = output is None or output.resolve() == place.root.resolve()
    more = "" if found else f" --plugin {plugin}"
    hint(f"change it as its comments say, then: automl-car plugins check {name if found else plugin}")
    hint(f"to see what it is: automl-car plugins show {name}{more}")
    fully = "--tuning full " if kind is KindName.augmentation else ""  # heads learn from fixed views, not from pictures
    hint(f"to search it: automl-car search {fully}--{kind.value} {name}{more}")


@plugins_app.command("show")
def plugins_show(
    name: Annotated[str, typer.Argument(help="Backbone or augmentation, as `automl-car plugins` lists it.")],
    sheet: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.jpg", help="Picture of what an augmentation does. Default: augmentation-NAME.jpg, here."
        ),
    ] = None,
    plugin: PluginOption = None,
    no_local_plugins: NoLocalPluginsOption = False,
    workspace: WorkspaceOption = HERE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a backbone or an augmentation is: parameters, source, licence, weights.

    Of an augmentation, a picture shows what it does to six photos of the workspace.
    """
    settings = load_settings(workspace, config, plugin_overrides(plugin, no_local=no_local_plugins))
    from automl_car.catalog.manager import load_catalog
    from automl_car.catalog.records import Augmentation
    from automl_car.report import offer

    place = open_workspace(workspace)
    record, row = _find(load_catalog(place.plugin_sources(settings)), name)
    picture = None
    if isinstance(record, Augmentation):
        picture = _write_sheet(place, settings, record, sheet or Path(f"augmentation-{name}.jpg"))
    elif sheet is not None:
        raise ConfigError(f"`{name}` is a backbone: --sheet is for augmentations.")
    if as_json:
        print_json(offer.offer_json(record, row) | ({} if picture is None else {"sheet": str(picture)}))
        return
    offer.print_offer(record, row)
    if picture is not None:
        print(f"\npicture: {picture}")


def _find(catalog: Catalog, name: str) -> tuple[Backbone | Augmentation, PluginInfo]:
    """What has that name, and the plugin that brings it."""
    from automl_car.catalog.words import did_you_mean

    everything: dict[str, Backbone | Augmentation] = {**catalog.backbones, **catalog.augmentations}
    if name in everything:
        return everything[name], next(row for row in catalog.plugins if name in (*row.backbones, *row.augmentations))
    for row in catalog.plugins:
        if row.name == name:
            why = f"it cannot be loaded: {row.error}" if row.error else "it is disabled" if row.disabled else ""
            offered = ", ".join((*row.backbones, *row.augmentations))
            raise PluginError(f"`{name}` is a plugin; {why or f'name one of those that it offers: {offered}'}.")
    raise PluginError(
        f"There is no backbone or augmentation `{name}`.{did_you_mean(name, tuple(everything))}",
        hint="`automl-car plugins` lists all that are loaded.",
    )


def _write_sheet(place: Workspace, settings: Config, augmentation: Augmentation, file: Path) -> Path:
    from automl_car.files import write_atomically
    from automl_car.pipeline.showing import augmentation_sheet

    if file.suffix.lower() not in (".jpg", ".jpeg"):
        raise ConfigError(f"`{file}`: the sheet is a JPEG.", hint="name a file such as sheet.jpg.")
    write_atomically(file, augmentation_sheet(place, settings, augmentation, hint))
    return file


@plugins_app.command("check")
def plugins_check(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME|FILE]...", help="Plugins, or files. Default: all but bundled.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Check the bundled plugins, too.")] = False,
    time_limit: Annotated[
        str | None, typer.Option(metavar="TIME", help="Time limit of each rule, such as 2m. Default: 30s.")
    ] = None,
    plugin: PluginOption = None,
    no_local_plugins: NoLocalPluginsOption = False,
    workspace: WorkspaceOption = HERE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check plugins before a search meets them.

    Each is loaded, built and run in a process of its own: one that crashes, exits, hangs or answers wrongly is told
    with the rule that it breaks. Exit code 2 if any does.
    """
    overrides = plugin_overrides(plugin, no_local=no_local_plugins) | {"plugins.time_limit": time_limit}
    settings = load_settings(workspace, config, overrides)
    from automl_car.checking import check_plugins
    from automl_car.report import checks

    sources = open_workspace(workspace).plugin_sources(settings)
    looked_at = check_plugins(sources, names or (), everything=everything, begins=lambda name: hint(f"checking {name}"))
    found = tuple(looked_at)
    if as_json:
        print_json([checks.checked_json(checked) for checked in found])
    else:
        checks.print_checks(found)
    hint(checks.summary(found, everything=everything or bool(names), limit=sources.time_limit))
    if broken := ", ".join(checked.name for checked in found if checked.broken):
        slow = any("was not done after" in breach.message for checked in found for breach in checked.broken)
        more = "; on a busy machine, `--time-limit 2m` gives each rule more time" if slow else ""
        raise PluginError(
            f"Not every plugin keeps the contract: {broken}.",
            hint=f"mend what is broken, or leave it out: `plugins: {{disabled: [{broken}]}}` in automl-car.yaml{more}.",
        )
