"""search and ensemble: what the tool is for."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
from automl_car.cli.search_options import (
    AddressOption,
    AugmentationOption,
    BackboneOption,
    BatchSizeOption,
    EpochsOption,
    ExecutorOption,
    FoldsOption,
    LearningRateOption,
    MembersOption,
    NewStudyOption,
    PatienceOption,
    PlanOption,
    SampleOption,
    SeedOption,
    TimeoutOption,
    TrialsOption,
    TuningOption,
    WarmStartOption,
    WeightsOption,
    WorkersOption,
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

if TYPE_CHECKING:
    from automl_car.config import Config
    from automl_car.workspace import Workspace


@app.command()
def search(
    trials: TrialsOption = None,
    sample: SampleOption = False,
    data: DataOption = None,
    study: NewStudyOption = None,
    timeout: TimeoutOption = None,
    backbone: BackboneOption = None,
    augmentation: AugmentationOption = None,
    tuning: TuningOption = None,
    epochs: EpochsOption = None,
    batch_size: BatchSizeOption = None,
    folds: FoldsOption = None,
    learning_rate: LearningRateOption = None,
    weights: WeightsOption = None,
    seed: SeedOption = None,
    top_k: MembersOption = None,
    warm_start: WarmStartOption = None,
    patience: PatienceOption = None,
    executor: ExecutorOption = None,
    address: AddressOption = None,
    workers: WorkersOption = None,
    plan: PlanOption = False,
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
    _search(open_workspace(workspace), settings, sample=sample, plan=plan, quiet=quiet, as_json=as_json)


def _search(place: Workspace, settings: Config, *, sample: bool, plan: bool, quiet: bool, as_json: bool) -> None:
    """Search, or plan a search, and print what came of it."""
    from automl_car import pipeline
    from automl_car.console import start_logging

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
