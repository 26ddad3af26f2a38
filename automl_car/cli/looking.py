"""Looking at what there is: studies, the dashboard."""

from __future__ import annotations

from typing import Annotated

import typer

from automl_car.cli.app import app, studies_app
from automl_car.cli.options import HERE, JsonOption, StorageOption, StudyArgument, StudyOption, WorkspaceOption
from automl_car.cli.shared import hint, latest_study_name, open_workspace, print_json
from automl_car.errors import ConfigError


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
    name: StudyArgument = None,
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
    name: StudyArgument = None,
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
    hint(f"take back the change before you search; `automl-car ensemble --study {study}` pools its trials again")


@app.command()
def dashboard(
    study: StudyOption = None,
    port: Annotated[int, typer.Option(metavar="N", help="Port on this machine.")] = 8080,
    host: Annotated[
        str,
        typer.Option(metavar="ADDRESS", help="Address to listen on; others than loopback show the study to anyone."),
    ] = "127.0.0.1",
    storage: StorageOption = None,
    workspace: WorkspaceOption = HERE,
) -> None:
    """Open optuna-dashboard, also during a search.

    While it is open it draws pictures of each complete trial: how it learnt, how sure it is, what it takes for what,
    and its worst photos.
    """
    import threading

    from optuna_dashboard import run_server

    from automl_car.pipeline.illustrating import artifact_store, illustrate_until
    from automl_car.search.opening import read_study

    place = open_workspace(workspace)
    name = study or latest_study_name(place, storage)
    shown = read_study(place.studies, name, storage)
    stop = threading.Event()
    drawn = read_study(place.studies, name, storage)  # for the other thread alone
    threading.Thread(target=illustrate_until, args=(stop, place, name, drawn), daemon=True).start()
    if not _is_loopback(host):
        hint(f"warning: on {host}, everyone who reaches this machine can read the study, and change its notes")
    hint(f"study `{name}` is at http://{host}:{port}/ until Ctrl-C")
    try:
        run_server(shown._storage, host=host, port=port, artifact_store=artifact_store(place, name))
    except OSError as error:
        raise ConfigError(
            f"The dashboard cannot listen on {host}:{port}: {error.strerror or error}.",
            hint="`--port N` takes another port; `--host 127.0.0.1` is this machine.",
        ) from error
    finally:
        stop.set()


def _is_loopback(host: str) -> bool:
    import ipaddress

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return host == "localhost"
