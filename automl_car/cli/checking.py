"""check: data and machine, before a long run."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from automl_car.cli.app import app
from automl_car.cli.options import (
    HERE,
    ConfigOption,
    DataOption,
    JsonOption,
    NoLocalPluginsOption,
    PluginOption,
    WorkspaceOption,
)
from automl_car.cli.shared import load_settings, make_view, open_workspace, plugin_overrides, print_json


@app.command()
def check(
    sample: Annotated[bool, typer.Option("--sample", help="Look at the generated photos of fictional cars.")] = False,
    data: DataOption = None,
    backbone: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Try this backbone; may be repeated.")
    ] = None,
    plugin: PluginOption = None,
    no_local_plugins: NoLocalPluginsOption = False,
    workspace: WorkspaceOption = HERE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look at data and machine for a minute, before a long run.

    Photos, classes, copies, plugins, weights, memory, disk, and one real training step of each backbone. Exits with 2
    when something would stop a search.
    """
    settings = load_settings(
        workspace,
        config,
        {
            "data.directory": data.resolve() if data else None,
            "search.backbones": backbone,
            **plugin_overrides(plugin, no_local=no_local_plugins),
        },
    )
    from automl_car import pipeline
    from automl_car.console import start_logging
    from automl_car.report.checkup import checks_json, print_checks

    place = open_workspace(workspace)
    log = start_logging(place.logs, "check", to_terminal=False)
    terminal = sys.stderr.isatty() and not as_json
    with make_view(terminal) as view:
        worker_log = log.with_suffix(".worker.log")
        findings = list(pipeline.check(place, settings, sample=sample, view=view, log=worker_log))
    if as_json:
        print_json(checks_json(findings))
    else:
        print_checks(findings)
    if any(finding.level == "problem" for finding in findings):
        raise typer.Exit(2)
