"""refit: the members of the ensemble, trained once on all photos."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from automl_car.cli.app import app
from automl_car.cli.options import (
    HERE,
    SUBMISSION,
    ConfigOption,
    JsonOption,
    NoLocalPluginsOption,
    PluginOption,
    StorageOption,
    StudyOption,
    SubmissionOption,
    TopKOption,
    WorkspaceOption,
)
from automl_car.cli.shared import (
    latest_study_name,
    load_settings,
    make_view,
    open_workspace,
    plugin_overrides,
    print_json,
)


@app.command()
def refit(
    compare: Annotated[
        bool, typer.Option("--compare", help="Find out first whether it pays, on a fold that plays the test set.")
    ] = False,
    top_k: TopKOption = None,
    output: SubmissionOption = SUBMISSION,
    study: StudyOption = None,
    storage: StorageOption = None,
    plugin: PluginOption = None,
    no_local_plugins: NoLocalPluginsOption = False,
    workspace: WorkspaceOption = HERE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train the ensemble's members on all photos.

    Each is trained once, for as many epochs as its folds found best, and predicts in place of their mean. With
    --compare the submission stays that of the folds, unless the refit is better by more than a standard error.
    """
    overrides = {
        "ensemble.top_k": top_k,
        "search.storage": storage,
        **plugin_overrides(plugin, no_local=no_local_plugins),
    }
    settings = load_settings(workspace, config, overrides)
    from automl_car import pipeline
    from automl_car.console import start_logging
    from automl_car.report import tables

    place = open_workspace(workspace)
    name = study or settings.search.study or latest_study_name(place, settings.search.storage)
    terminal = sys.stderr.isatty() and not as_json and os.environ.get("TERM") != "dumb"
    log = start_logging(place.logs, f"{name}-refit", to_terminal=not terminal).with_suffix(".worker.log")
    with make_view(terminal) as view:
        done = pipeline.refit(place, settings, study=name, output=output, comparing=compare, view=view, log=log)
    if as_json:
        print_json(pipeline.refit_json(done))
    else:
        tables.print_refit(done)
