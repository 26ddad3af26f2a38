"""plugins: what is loaded, and whether it keeps the contract."""

from __future__ import annotations

from typing import Annotated

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
from automl_car.errors import PluginError


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
        raise PluginError(
            f"Not every plugin keeps the contract: {broken}.",
            hint=f"mend what is broken, or leave it out: `plugins: {{disabled: [{broken}]}}` in automl-car.yaml.",
        )
