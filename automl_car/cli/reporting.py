"""report: what a study found, for people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from automl_car.cli.app import app
from automl_car.cli.options import (
    HERE,
    ConfigOption,
    JsonOption,
    StorageOption,
    StudyOption,
    TopKOption,
    WorkspaceOption,
)
from automl_car.cli.shared import hint, latest_study_name, load_settings, open_workspace, print_json


@app.command()
def report(
    study: StudyOption = None,
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the report. Default: studies/<study>/report.")
    ] = None,
    top_k: TopKOption = None,
    storage: StorageOption = None,
    workspace: WorkspaceOption = HERE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell where the log loss comes from.

    Confused classes, hard photos, likely wrong labels and calibration, as tables, pictures and a page; nothing is
    trained, and no photo or label is changed.
    """
    settings = load_settings(workspace, config, {"ensemble.top_k": top_k, "search.storage": storage})
    from automl_car import pipeline
    from automl_car.report.loss_report import to_json
    from automl_car.report.loss_tables import print_losses

    place = open_workspace(workspace)
    name = study or settings.search.study or latest_study_name(place, settings.search.storage)
    reported = pipeline.report(place, settings, study=name, output=output, top_k=settings.ensemble.top_k)
    if as_json:
        print_json({**to_json(reported.losses), "files": [str(file) for file in reported.files]})
        return
    print_losses(reported.losses, reported.files)
    if reported.losses.suspects.listed:
        hint("suspects.csv holds suggestions: delete the lines of photos that are right before `data.exclude` names it")
