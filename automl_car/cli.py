"""The command line: parse, call one journey, print. The only place that decides exit codes.

0 done · 1 a bug (with its traceback) · 2 a mistake in the input · 130 interrupted, with everything kept.
Nothing heavy is imported at the top: `automl-car --help` and `automl-car plugins` must start in a blink.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from automl_car import __version__
from automl_car.errors import AutomlCarError

if TYPE_CHECKING:
    from automl_car.config import Config
    from automl_car.pipeline import Outcome, Plan
    from automl_car.workspace import Workspace

app = typer.Typer(
    help="Search for the image classifier with the lowest log loss, and turn it into a contest submission.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
plugins_app = typer.Typer(help="What the loaded plugins offer.", rich_markup_mode=None)
studies_app = typer.Typer(help="What earlier searches found.", rich_markup_mode=None)
app.add_typer(plugins_app, name="plugins")
app.add_typer(studies_app, name="studies")

WorkspaceOption = Annotated[
    Path,
    typer.Option("--workspace", metavar="DIR", help="Folder with automl-car.yaml, data/, studies/ and checkpoints/."),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help="Settings file. Default: automl-car.yaml of the workspace, if there."
    ),
]
PluginOption = Annotated[
    list[Path] | None, typer.Option("--plugin", metavar="FILE", help="One-file plugin to load; may be repeated.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
StudyOption = Annotated[
    str | None, typer.Option("--study", metavar="NAME", help="Name of the study. Default: the latest one.")
]
StorageOption = Annotated[
    str | None,
    typer.Option("--storage", metavar="URL", help="SQLAlchemy URL of the studies. Default: studies/<study>.db."),
]
HERE = Path()


def main() -> None:
    """Run the command line and turn errors into text and exit codes."""
    code = _run()
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # `automl-car studies | head`: Python would print a traceback on its way out
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def _run() -> int:
    try:
        app(prog_name="automl-car")  # exits by itself, with 2 where the options are wrong and 130 after Ctrl-C
    except AutomlCarError as error:
        _complain(error)
        return 2
    except SystemExit as end:
        if end.code == 130:
            print("stopped; run the same command again to go on from here", file=sys.stderr)
        return end.code if isinstance(end.code, int) else 0
    return 0


def _complain(error: AutomlCarError) -> None:
    print(f"error: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"hint: {error.hint}", file=sys.stderr)


@app.callback(invoke_without_command=True)
def _top(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit


# ---- search and ensemble --------------------------------------------------------------------------------------------


@app.command()
def search(
    trials: Annotated[int | None, typer.Option(metavar="N", help="Trials of the study in all. Default: 50.")] = None,
    sample: Annotated[bool, typer.Option("--sample", help="Use generated photos of fictional cars.")] = False,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the contest's files. Default: data.")
    ] = None,
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
    plan: Annotated[
        bool, typer.Option("--plan", help="Measure for a minute what the search will cost, and stop.")
    ] = False,
    storage: StorageOption = None,
    plugin: PluginOption = None,
    workspace: WorkspaceOption = HERE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Search, train the folds, and leave a submission."""
    settings = _load(
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
            "search.warm_start": _from_here(warm_start),
            "search.patience": patience,
            "data.directory": data.resolve() if data else None,
            "data.folds": folds,
            "training.epochs": epochs,
            "training.batch_size": batch_size,
            "training.learning_rate": learning_rate,
            "training.weights": weights,
            "ensemble.top_k": top_k,
            "plugins.files": [file.resolve() for file in plugin] if plugin else None,
        },
    )
    from automl_car import pipeline
    from automl_car.console import start_logging

    place = _workspace(workspace)
    terminal = sys.stderr.isatty() and not as_json and os.environ.get("TERM") != "dumb"
    log = start_logging(place.logs, settings.search.study or "search", to_terminal=not terminal)
    worker_log = log.with_suffix(".worker.log")
    if plan:
        with _view(terminal) as view:
            planned = pipeline.plan(place, settings, sample=sample, view=view, log=worker_log)
        _print_plan(planned, as_json=as_json)
        return
    with _view(terminal) as view:
        outcome = pipeline.search(place, settings, sample=sample, view=view, log=worker_log)
    _print_outcome(outcome, as_json=as_json)
    if outcome.complete:
        _hint("`automl-car ensemble --top-k 5` builds another ensemble, `automl-car dashboard` shows the trials")


@app.command()
def ensemble(
    top_k: Annotated[int | None, typer.Option(metavar="N", help="Members at most. Default: 5.")] = None,
    output: Annotated[Path, typer.Option(metavar="FILE", help="The submission.")] = Path("submission.csv"),
    study: StudyOption = None,
    storage: StorageOption = None,
    workspace: WorkspaceOption = HERE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Pool the best trials and write the submission.

    Their out-of-fold predictions are weighted and calibrated; nothing is trained.
    """
    settings = _load(workspace, config, {"ensemble.top_k": top_k, "search.storage": storage})
    from automl_car import pipeline

    place = _workspace(workspace)
    name = study or settings.search.study or _latest(place, settings.search.storage)
    outcome = pipeline.ensemble(place, settings, study=name, output=output, top_k=settings.ensemble.top_k)
    _print_outcome(outcome, as_json=as_json)


@app.command()
def score(
    submission: Annotated[Path, typer.Argument(help="The file to judge.")],
    labels: Annotated[Path, typer.Argument(help="CSV with the true class of each id: ID,label.")],
    as_json: JsonOption = False,
) -> None:
    """Judge a submission as the contest's scorer does."""
    from automl_car.ensemble.scorer import score_submission

    result = score_submission(submission, labels)
    if as_json:
        _print_json(
            {"log_loss": result.log_loss, "accuracy": result.accuracy, "rows": result.rows, "classes": result.classes}
        )
    else:
        print(f"log loss {result.log_loss:.4f}, accuracy {result.accuracy:.4f}, {result.rows} rows")


# ---- looking --------------------------------------------------------------------------------------------------------


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
    settings = _load(workspace, config, overrides)
    from automl_car.catalog.manager import load_catalog
    from automl_car.report import tables

    catalog = load_catalog(_workspace(workspace).plugin_sources(settings))
    if as_json:
        _print_json(tables.catalog_json(catalog))
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

    rows = list_studies(_workspace(workspace).studies, storage)
    if as_json:
        _print_json([tables.study_json(row) for row in rows])
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

    place = _workspace(workspace)
    shown = show_study(place.studies, name or _latest(place, storage), storage)
    if as_json:
        _print_json(tables.shown_json(shown))
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

    place = _workspace(workspace)
    study = name or _latest(place, storage)
    print(undo(place.studies, study, storage))
    _hint(f"`automl-car ensemble --study {study}` builds its submission again; take back the change before you search")


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

    from automl_car.search.study import connect, load_study, storage_url

    place = _workspace(workspace)
    name = study or _latest(place, storage)
    url = storage_url(place.studies, name, storage)
    load_study(name, url)
    _hint(f"study `{name}` is at http://{host}:{port}/ until Ctrl-C")
    run_server(connect(url), host=host, port=port)


# ---- beginning ------------------------------------------------------------------------------------------------------


@app.command()
def init(
    directory: Annotated[Path, typer.Argument(help="Folder to begin in; made if it is not there.")] = HERE,
) -> None:
    """Make a workspace and its settings file.

    Writes the folders, and an automl-car.yaml with every setting explained.
    """
    from automl_car.init import write_workspace

    for path in write_workspace(directory):
        print(path)
    _hint("put the contest's files into data/, then: automl-car search --trials 50")


@app.command("sample-data")
def sample_data(
    directory: Annotated[Path, typer.Argument(help="Folder to write to.")],
    seed: Annotated[int, typer.Option(help="Other seeds give other photos of the same cars.")] = 0,
) -> None:
    """Draw photos of fictional cars to try things on.

    They come in the contest's layout, with the labels of the test photos for `score`.
    """
    from automl_car.data.sample import write_sample

    summary = write_sample(directory, seed=seed)
    print(summary.directory)
    _hint(f"{summary.train_images} train and {summary.test_images} test photos of {len(summary.class_names)} models")


# ---- helpers --------------------------------------------------------------------------------------------------------


def _workspace(root: Path) -> Workspace:
    from automl_car.workspace import Workspace

    return Workspace(root)


def _from_here(study: str | None) -> str | None:
    """A path on the command line begins in the current folder, one in the settings in the workspace."""
    return str(Path(study).resolve()) if study and study.endswith(".db") else study


def _load(root: Path, config: Path | None, overrides: dict[str, Any]) -> Config:
    from automl_car.config import load_config

    default = _workspace(root).config_file
    return load_config(config or (default if default.is_file() else None), overrides)


def _latest(place: Workspace, storage: str | None) -> str:
    from automl_car.search.overview import latest_study

    name = latest_study(place.studies, storage)
    _hint(f"study: {name}")
    return name


def _view(terminal: bool) -> Any:
    if terminal:
        from rich.console import Console

        from automl_car.live import LiveView

        return LiveView(Console(stderr=True))
    from automl_car.console import Lines

    return Lines()


def _print_outcome(outcome: Outcome, *, as_json: bool) -> None:
    from automl_car.report import tables

    if as_json:
        _print_json(tables.outcome_json(outcome))
    else:
        tables.print_outcome(outcome)


def _print_plan(plan: Plan, *, as_json: bool) -> None:
    from automl_car.report.plan import plan_json, print_plan

    if as_json:
        _print_json(plan_json(plan))
    else:
        print_plan(plan)


def _print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=1))


def _hint(text: str) -> None:
    print(text, file=sys.stderr)
