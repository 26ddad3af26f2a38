"""search and ensemble: what the tool is for."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from automl_car.cli.app import app
from automl_car.cli.options import (
    HERE,
    SUBMISSION,
    ConfigOption,
    DataOption,
    JsonOption,
    NoLocalPluginsOption,
    PluginOption,
    QuietOption,
    StorageOption,
    StudyOption,
    SubmissionOption,
    TopKOption,
    WorkspaceOption,
)
from automl_car.cli.shared import (
    from_here,
    hint,
    latest_study_name,
    load_settings,
    make_view,
    open_workspace,
    plugin_overrides,
    print_outcome,
    print_plan,
)


@app.command()
def search(
    trials: Annotated[int | None, typer.Option(metavar="N", help="Trials of the study in all. Default: 50.")] = None,
    sample: Annotated[bool, typer.Option("--sample", help="Use generated photos of fictional cars.")] = False,
    data: DataOption = None,
    study: Annotated[str | None, typer.Option(metavar="NAME", help="Name of the study. Default: main.")] = None,
    timeout: Annotated[
        str | None, typer.Option(metavar="TIME", help="Time limit such as 30m or 2h, submission included.")
    ] = None,
    backbone: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Search this backbone; may be repeated.")
    ] = None,
    augmentation: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Search this augmentation; may be repeated.")
    ] = None,
    tuning: Annotated[str | None, typer.Option(metavar="WORD", help="head, full, both or auto.")] = None,
    epochs: Annotated[int | None, typer.Option(metavar="N", help="Epochs of fine-tuning. Default: 30.")] = None,
    batch_size: Annotated[int | None, typer.Option(metavar="N", help="Images per step. Default: 64.")] = None,
    folds: Annotated[int | None, typer.Option(metavar="N", help="Folds of cross-validation. Default: 5.")] = None,
    learning_rate: Annotated[
        float | None, typer.Option(metavar="RATE", help="Base learning rate in place of each backbone's own.")
    ] = None,
    weights: Annotated[str | None, typer.Option(metavar="WHICH", help="pretrained, random, or a file.")] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Seed of folds, training and sampler. Default: 0.")
    ] = None,
    top_k: Annotated[int | None, typer.Option(metavar="N", help="Members of the ensemble at most. Default: 5.")] = None,
    warm_start: Annotated[
        str | None,
        typer.Option(metavar="STUDY", help="Begin with the best recipes of this study, or of a study's .db file."),
    ] = None,
    patience: Annotated[
        int | None, typer.Option(metavar="N", help="Stop when N trials brought no gain worth having. Default: never.")
    ] = None,
    executor: Annotated[
        str | None, typer.Option(metavar="NAME", help="Where folds are trained: local, ray. Default: local.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="The executor's cluster, such as auto or host:port.")
    ] = None,
    workers: Annotated[
        str | None,
        typer.Option(metavar="N", help="Training processes side by side, or auto: one a GPU. Default: auto."),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Measure for a minute what the search will cost, and stop.")
    ] = False,
    storage: StorageOption = None,
    plugin: PluginOption = None,
    no_local_plugins: NoLocalPluginsOption = False,
    workspace: WorkspaceOption = HERE,
    config: ConfigOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Search, train the folds, and leave a submission."""
    settings = load_settings(
        workspace,
        config,
        {
            "search.trials": trials,
            "search.study": study,
            "search.timeout": timeout,
            "search.backbones": backbone,
            "search.augmentations": augmentation,
            "search.tuning": tuning,
            "search.seed": seed,
            "search.storage": storage,
            "search.warm_start": from_here(warm_start),
            "search.patience": patience,
            "search.executor": executor,
            "search.address": address,
            "search.workers": workers,
            "data.directory": data.resolve() if data else None,
            "data.folds": folds,
            "training.epochs": epochs,
            "training.batch_size": batch_size,
            "training.learning_rate": learning_rate,
            "training.weights": weights,
            "ensemble.top_k": top_k,
            **plugin_overrides(plugin, no_local=no_local_plugins),
        },
    )
    from automl_car import pipeline
    from automl_car.console import start_logging

    place = open_workspace(workspace)
    terminal = sys.stderr.isatty() and not (as_json or quiet) and os.environ.get("TERM") != "dumb"
    log = start_logging(place.logs, settings.search.study or "search", to_terminal=not (terminal or quiet))
    worker_log = log.with_suffix(".worker.log")
    if plan:
        with make_view(terminal) as view:
            planned = pipeline.plan(place, settings, sample=sample, view=view, log=worker_log)
        print_plan(planned, as_json=as_json)
        return
    with make_view(terminal) as view:
        outcome = pipeline.search(place, settings, sample=sample, view=view, log=worker_log)
    print_outcome(outcome, as_json=as_json)
    if outcome.complete and not quiet:
        hint("`automl-car ensemble --top-k 5` builds another ensemble, `automl-car dashboard` shows the trials")


@app.command()
def ensemble(
    top_k: TopKOption = None,
    output: SubmissionOption = SUBMISSION,
    oof: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the out-of-fold predictions, too, and their labels.csv beside them."),
    ] = None,
    freeze: Annotated[
        bool | None,
        typer.Option("--freeze/--no-freeze", help="Keep it as the study's submission, whatever a search finds later."),
    ] = None,
    study: StudyOption = None,
    storage: StorageOption = None,
    workspace: WorkspaceOption = HERE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Pool the best trials and write the submission.

    Their out-of-fold predictions are weighted and calibrated; nothing is trained.
    """
    settings = load_settings(workspace, config, {"ensemble.top_k": top_k, "search.storage": storage})
    from automl_car import pipeline

    place = open_workspace(workspace)
    name = study or settings.search.study or latest_study_name(place, settings.search.storage)
    outcome = pipeline.ensemble(
        place, settings, study=name, output=output, oof=oof, top_k=settings.ensemble.top_k, freeze=freeze
    )
    print_outcome(outcome, as_json=as_json)
