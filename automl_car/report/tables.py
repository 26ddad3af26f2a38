"""Tables for a terminal, and the same content as plain JSON values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from automl_car.following import missing_modules

if TYPE_CHECKING:
    from automl_car.catalog.manager import Catalog
    from automl_car.catalog.records import ExecutorKind, Tracker
    from automl_car.ensemble_records import Ensemble
    from automl_car.pipeline import Outcome, Refit
    from automl_car.search.overview import ShownStudy, ShownTrial, StudyRow

# The colour of each word for how a trial ended, in the live picture and in tables.
STATE_STYLES = {"complete": "green", "pruned": "yellow", "failed": "red", "stopped": "red", "running": "cyan"}


def new_console() -> Console:
    """A console for tables on stdout."""
    # Paths and messages stand as they are: no `[tag]` or `:name:` in them is markup. Beyond a terminal nothing is
    # folded or cut, so that `grep` and `cut` find whole lines.
    console = Console(highlight=False, markup=False, emoji=False)
    return console if console.is_terminal else Console(highlight=False, markup=False, emoji=False, width=1000)


def new_table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """A table without lines; columns named in `right` hold numbers."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def _number(value: float | None, digits: int = 4) -> str:
    return "" if value is None else f"{value:.{digits}f}"


# ---- plugins --------------------------------------------------------------------------------------------------------


def print_catalog(catalog: Catalog) -> None:
    """Backbones, augmentations, trackers, executors, and every plugin with its origin or its error."""
    console = new_console()
    backbones = new_table(
        "backbone", "px", "learning rate", "weights", "of", "licence", "source", right=("px", "learning rate")
    )
    for name, backbone in catalog.backbones.items():
        here = backbone.find_weights is None or backbone.find_weights() is not None
        weights = "here" if here else Text("not on this machine", style="yellow")
        size, rate = str(backbone.image_size), f"{backbone.default_lr:g}"
        day = backbone.weights_date or "unknown"
        backbones.add_row(name, size, rate, weights, day, backbone.license, backbone.source)
    augmentations = new_table("augmentation", "parameters", "source")
    for name, augmentation in catalog.augmentations.items():
        params = ", ".join(param.name for param in augmentation.params)
        augmentations.add_row(name, params, augmentation.source)
    trackers = new_table("tracker", "settings", "library", "what it is")
    for name, tracker in catalog.trackers.items():
        settings = ", ".join(f"{setting.name} ({setting.about})" for setting in tracker.settings)
        trackers.add_row(name, settings, _library(tracker), tracker.about)
    executors = new_table("executor", "settings", "library", "what it is")
    for name, kind in catalog.executors.items():
        settings = ", ".join(f"{setting.name} ({setting.about})" for setting in kind.settings)
        executors.add_row(name, settings, _library(kind), kind.about)
    plugins = new_table("plugin", "origin", "version", "location", "state")
    for row in catalog.plugins:
        state = Text("broken", style="red") if row.error else ("disabled" if row.disabled else "loaded")
        plugins.add_row(row.name, row.origin, row.version, row.location, state)
    for table in (backbones, augmentations, trackers, executors, plugins):
        console.print(table)
        console.print()
    for row in catalog.plugins:
        if row.error:
            console.print(Text(f"plugin `{row.name}` is broken: {row.error}", style="red"), soft_wrap=True)


def _library(record: Tracker | ExecutorKind) -> Text | str:
    missing = missing_modules(record)
    return Text(f"pip install '{record.install or ' '.join(missing)}'", style="yellow") if missing else "here"


def catalog_json(catalog: Catalog) -> dict[str, Any]:
    """The catalog as `plugins list --json` prints it."""
    return {
        "backbones": [
            {
                "name": backbone.name,
                "image_size": backbone.image_size,
                "default_lr": backbone.default_lr,
                "weights_here": backbone.find_weights is None or backbone.find_weights() is not None,
                "weights_date": backbone.weights_date,
                "params": [param.to_json() for param in backbone.params],
                "license": backbone.license,
                "source": backbone.source,
            }
            for backbone in catalog.backbones.values()
        ],
        "augmentations": [
            {"name": record.name, "params": [param.to_json() for param in record.params], "source": record.source}
            for record in catalog.augmentations.values()
        ],
        "trackers": [_with_library_json(tracker) for tracker in catalog.trackers.values()],
        "executors": [_with_library_json(kind) for kind in catalog.executors.values()],
        "plugins": [
            {
                "name": row.name,
                "origin": row.origin,
                "version": row.version,
                "location": row.location,
                "error": row.error,
                "disabled": row.disabled,
            }
            for row in catalog.plugins
        ],
    }


def _with_library_json(record: Tracker | ExecutorKind) -> dict[str, Any]:
    return {
        "name": record.name,
        "about": record.about,
        "library_here": not missing_modules(record),
        "install": record.install,
        "settings": {setting.name: setting.default for setting in record.settings},
    }


# ---- studies --------------------------------------------------------------------------------------------------------


def print_studies(rows: tuple[StudyRow, ...]) -> None:
    """One line per study."""
    numbers = ("trials", "complete", "pruned", "failed", "best log loss")
    table = new_table("study", *numbers, "last trial", right=numbers)
    for row in rows:
        counts = (str(row.trials), str(row.complete), str(row.pruned), str(row.failed))
        table.add_row(row.name, *counts, _number(row.best), row.last)
    new_console().print(table)


def study_json(row: StudyRow) -> dict[str, Any]:
    """One study as `studies list --json` prints it."""
    return {
        "name": row.name,
        "trials": row.trials,
        "complete": row.complete,
        "pruned": row.pruned,
        "failed": row.failed,
        "best_log_loss": row.best,
        "last_trial": row.last,
    }


def print_study(study: ShownStudy) -> None:
    """The trials of a study, best first, then those that ended early with their reasons, then its generations."""
    console = new_console()
    numbers = ("trial", "log loss", "seconds", "rate")
    columns = ("trial", "log loss", "state", "backbone", "tuning", "px", "augmentation", "rate", "seconds", "folds")
    table = new_table(*columns, right=numbers)
    for trial in study.trials:
        table.add_row(*_trial_cells(trial))
    console.print(table)
    reasons = [trial for trial in study.trials if trial.reason]
    if reasons:
        console.print()
        for trial in reasons:
            line = Text(f"trial {trial.number} {trial.state}: {trial.reason}", style=STATE_STYLES[trial.state])
            console.print(line, soft_wrap=True)
    if len(study.generations) > 1:
        console.print()
        console.print(_history_table(study))


def _history_table(study: ShownStudy) -> Table:
    """What the study went through; `trials` are those that each generation began with."""
    table = new_table("generation", "state", "since", "began with", "what changed", right=("generation", "began with"))
    for generation in study.generations:
        cells = (str(generation.number), generation.state, generation.when, str(generation.trials), generation.why)
        table.add_row(*cells)
    return table


def _trial_cells(trial: ShownTrial) -> tuple[str | Text, ...]:
    return (
        str(trial.number),
        _number(trial.log_loss),
        Text(trial.state, style=STATE_STYLES.get(trial.state, "")),
        trial.backbone,
        trial.tuning,
        str(trial.image_size),
        trial.augmentation,
        f"{trial.learning_rate:.2g}",
        _number(trial.seconds, 0),
        " ".join("  ·  " if loss is None else f"{loss:.3f}" for loss in trial.fold_log_loss),
    )


def shown_json(study: ShownStudy) -> dict[str, Any]:
    """One study as `studies show --json` prints it."""
    return {
        "name": study.name,
        "settings": study.settings,
        "trials": [vars(trial) for trial in study.trials],
        "generations": [vars(generation) for generation in study.generations],
    }


# ---- what a journey left --------------------------------------------------------------------------------------------


def print_outcome(outcome: Outcome) -> None:
    """What was found, what it is worth, and where it is."""
    console = new_console()
    ended = outcome.complete + outcome.pruned + outcome.failed
    counts = f"{outcome.complete} complete, {outcome.pruned} pruned, {outcome.failed} failed"
    console.print(f"study: {outcome.study}, {ended} trials ({counts})")
    if outcome.best_trial is not None:
        console.print(f"best single trial: {outcome.best_trial}, log loss {_number(outcome.best_log_loss)}")
    if outcome.ensemble is None:
        console.print("no fold is finished yet, so there is no ensemble and no submission")
        return
    _print_ensemble(console, outcome.ensemble)
    if outcome.partial:
        console.print(outcome.partial)
    if outcome.rehearsal is not None:
        console.print(f"the contest's scorer, on the same out-of-fold predictions: {outcome.rehearsal:.4f}")
    if outcome.submission is not None:
        console.print(f"submission: {outcome.submission}", soft_wrap=True)
    if outcome.kept:
        console.print(f"studies/{outcome.study}: {outcome.kept}", soft_wrap=True)


def _print_ensemble(console: Console, ensemble: Ensemble) -> None:
    numbers = ("views", "weight", "log loss", "gain")
    table = new_table("member", "backbone", *numbers, right=numbers)
    for member in ensemble.members:
        views = str(member.views) if member.views else "all"
        cells = (_number(member.weight, 3), _number(member.log_loss), _number(member.gain))
        table.add_row(member.name, member.backbone, views, *cells)
    console.print(table)
    estimate = ensemble.estimate
    console.print(
        f"ensemble: log loss {ensemble.nested_log_loss:.4f} out of fold, 95 % interval {_range(estimate.interval)} "
        f"({ensemble.rows} photos; best member alone {ensemble.best_single:.4f}); {ensemble.pool} pool, "
        f"{_calibration(ensemble)}"
    )
    if estimate.test_rows:
        console.print(
            f"expected on {estimate.test_rows} test photos: {estimate.test_log_loss:.4f}, "
            f"in 95 of 100 cases within {_range(estimate.test_range)}"
        )
    if ensemble.alternatives:
        console.print(_alternatives_table(ensemble))


def _calibration(ensemble: Ensemble) -> str:
    if ensemble.calibration == "none":
        return "no calibration, which would not have helped"
    return f"temperature {ensemble.temperature:.2f}, uniform share {ensemble.uniform:.2g}"


def _range(interval: tuple[float, float]) -> str:
    return f"{interval[0]:.4f} … {interval[1]:.4f}"


def _alternatives_table(ensemble: Ensemble) -> Table:
    table = new_table("other choices, out of fold", "log loss", right=("log loss",))
    for alternative in sorted(ensemble.alternatives, key=lambda other: -other.log_loss):
        table.add_row(alternative.name, _number(alternative.log_loss))
    table.add_row("this ensemble", _number(ensemble.nested_log_loss))
    return table


def print_refit(refit: Refit) -> None:
    """The ensemble, and which of its two kinds of members predicts."""
    print_outcome(refit.outcome)
    new_console().print(_describe_refit(refit), soft_wrap=True)


def _describe_refit(refit: Refit) -> str:
    found, written = refit.comparison, refit.outcome.submission is not None
    trained = f"the members were trained once on all photos{', and the submission is theirs' if written else ''}"
    if found is None:
        return f"{trained}; --compare finds out whether that pays"
    judged = (
        f"without fold {refit.fold}, on its {found.rows} photos: refit {found.new:.4f}, mean of the fold models "
        f"{found.usual:.4f}, gain {found.gain:.4f} ± {found.standard_error:.4f} (one standard error)"
    )
    if refit.used:
        return f"{judged}; {trained}"
    stays = ", so the submission stays that of the fold models" if written else ""
    return f"{judged}; that is no more than chance{stays}"
