"""Looking at what there is: plugins, studies, the dashboard."""

from __future__ import annotations

from typing import Annotated

import typer

from automl_car.cli.app import app, plugins_app, studies_app
from automl_car.cli.options import (
    HERE,
    ConfigOption,
    JsonOption,
    PluginOption,
    StorageOption,
    StudyOption,
    WorkspaceOption,
)
from automl_car.cli.shared import hint, latest_study_name, load_settings, open_workspace, print_json


@plugins_app.callback(invoke_without_command=True)
def _plugins(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        plugins_list()


@plugins_app.command("list")
def plugins_list(
    plugin: PluginOption = None,
    workspace: WorkspaceOption = HERE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List plugins with what they offer; a broken one shows its reason."""
    overrides = {"plugins.files": [file.resolve() for file in plugin] if plugin else None}
    settings = load_settings(workspace, config, overrides)
    from automl_car.catalog.manager import load_catalog
    from automl_car.report import tables

    catalog = load_catalog(open_workspace(workspace).plugin_sources(settings))
    if as_json:
        print_json(tables.catalog_json(catalog))
    else:
        tables.print_catalog(catalog)


@studies_app.callback(invoke_without_command=True)
def _studies(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        studies_list()


@studies_app.command("list")
def studies_list(workspace: WorkspaceOption = HERE, storage: StorageOption = None, as_json: JsonOption = False) -> None:
    """List the studies of the workspace, or of a storage."""
    from automl_car.report import tables
    from automl_car.search.overview import list_studies

    rows = list_studies(open_workspace(workspace).studies, storage)
    if as_json:
        print_json([tables.study_json(row) for row in rows])
    else:
        tables.print_studies(rows)


@studies_app.command("show")
def studies_show(
    name: Annotated[str | None, typer.Argument(help="The study. Default: the latest one.")] = None,
    workspace: WorkspaceOption = HERE,
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one study.

    What was tried, each fold's log loss, why a trial ended early, and the generations of a study that has grown.
    """
    from automl_car.report import tables
    from automl_car.search.overview import show_study

    place = open_workspace(workspace)
    shown = show_study(place.studies, name or latest_study_name(place, storage), storage)
    if as_json:
        print_json(tables.shown_json(shown))
    else:
        tables.print_study(shown)


@studies_app.command("undo")
def studies_undo(
    name: Annotated[str | None, typer.Argument(help="The study. Default: the latest one.")] = None,
    workspace: WorkspaceOption = HERE,
    storage: StorageOption = None,
) -> None:
    """Go back to the generation before the last change of plugins or ranges.

    Nothing is deleted, and the folds of both generations are kept.
    """
    from automl_car.search.growth import undo

    place = open_workspace(workspace)
    study = name or latest_study_name(place, storage)
    print(undo(place.studies, study, storage))
    hint(f"`automl-car ensemble --study {study}` builds its submission again; take back the change before you search")


@app.command()
def dashboard(
    study: StudyOption = None,
    port: Annotated[int, typer.Option(metavar="N", help="Port on this machine.")] = 8080,
    host: Annotated[
        str,
        typer.Option(metavar="ADDRESS", help="Address to listen on; others than loopback show the study to anyone."),
    ] = ("127.0.0.1"),
    storage: StorageOption = None,
    workspace: WorkspaceOption = HERE,
) -> None:
    """Open optuna-dashboard, also during a search."""
    from optuna_dashboard import run_server

    from automl_car.search.opening import read_study

    place = open_workspace(workspace)
    name = study or latest_study_name(place, storage)
    shown = read_study(place.studies, name, storage)
    hint(f"study `{name}` is at http://{host}:{port}/ until Ctrl-C")
    run_server(shown._storage, host=host, port=port)
