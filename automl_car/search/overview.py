"""Reads studies for people: which there are, and what their trials came to."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from automl_car.data.cells import csv_text
from automl_car.errors import NoStudyError, StudyError
from automl_car.search.evidence import fold_losses
from automl_car.search.generations import generations, study_names
from automl_car.search.ledger import ledger_of
from automl_car.search.opening import read_study
from automl_car.search.study import INTERRUPTED, connect, state_word
from automl_car.urls import without_password

logger = logging.getLogger("automl_car")


@dataclass(frozen=True)
class StudyRow:
    """One study in a list. `last` is the time at which its last trial ended or began."""

    name: str
    trials: int
    complete: int
    pruned: int
    failed: int
    best: float | None
    last: str


@dataclass(frozen=True)
class ShownTrial:
    """One trial as people want to see it; `fold_log_loss` in the order of the folds, None where one was not trained."""

    number: int
    state: str
    log_loss: float | None
    backbone: str
    tuning: str
    image_size: int
    augmentation: str
    learning_rate: float
    seconds: float | None
    fold_log_loss: tuple[float | None, ...]
    reason: str


@dataclass(frozen=True)
class ShownGeneration:
    """One generation of a study in its history.

    Attributes:
        state: "current"; "former": a later one went on with its trials; "undone".
        when: local time at which it began; empty for a study without trials.
        trials: that it began with.
        why: what had changed; empty for the first one.
    """

    number: int
    state: str
    when: str
    trials: int
    why: str


@dataclass(frozen=True)
class ShownStudy:
    """A study with its trials, complete ones by log loss, then the others by number; and its generations by number."""

    name: str
    settings: dict[str, Any]
    trials: tuple[ShownTrial, ...]
    generations: tuple[ShownGeneration, ...] = ()


def list_studies(folder: Path, storage: str | None) -> tuple[StudyRow, ...]:
    """All studies of the folder `studies/`, or of a storage, by name; one that cannot be read is told of in the log."""
    names = study_names(connect(storage)) if storage else _in_folder(folder)
    found = {name: _try(folder, name, storage) for name in names}
    return tuple(_row(name, study) for name, study in found.items() if study is not None)


def _in_folder(folder: Path) -> list[str]:
    """Names that a study may have there: of its database, and of its records where that was lost."""
    return sorted({path.stem for path in folder.glob("*.db")} | {path.parent.name for path in _ledgers(folder)})


def _ledgers(folder: Path) -> list[Path]:
    everywhere = ledger_of(folder, "*")
    return list(everywhere.parent.parent.glob(f"*/{everywhere.name}"))


def _try(folder: Path, name: str, storage: str | None) -> optuna.Study | None:
    """The study, or None: somebody else's database may lie in the folder, or a damaged one."""
    try:
        return read_study(folder, name, storage)
    except NoStudyError:
        return None
    except StudyError as error:
        logger.warning("%s %s", error.message, error.hint or "")
        return None


def latest_study(folder: Path, storage: str | None = None) -> str:
    """Name of the study that was written to last, in the folder `studies/` or in a storage.

    Raises:
        StudyError: there is none.
    """
    if storage:
        rows = sorted(list_studies(folder, storage), key=lambda row: row.last)
        if not rows:
            raise StudyError(
                f"There is no study in {without_password(storage)}.",
                hint="`automl-car search --storage URL` makes one.",
            )
        return rows[-1].name
    names = _in_folder(folder)
    if not names:
        raise StudyError(f"There is no study in `{folder}`.", hint="`automl-car search` makes one.")
    return max(names, key=lambda name: (_last_write(folder, name), name))


def _last_write(folder: Path, name: str) -> float:
    """Unix time of the last write; in write-ahead mode it may be to the log beside the database."""
    files = (folder / f"{name}.db", folder / f"{name}.db-wal", ledger_of(folder, name))
    return max(file.stat().st_mtime for file in files if file.exists())


def show_study(folder: Path, name: str, storage: str | None) -> ShownStudy:
    """One study with its trials.

    Raises:
        StudyError: there is none of that name.
    """
    study = read_study(folder, name, storage)
    ended = [_shown(trial) for trial in study.get_trials(deepcopy=False) if trial.state != TrialState.WAITING]
    complete = sorted((trial for trial in ended if trial.log_loss is not None), key=_by_log_loss)
    others = [trial for trial in ended if trial.log_loss is None]
    return ShownStudy(name, study.user_attrs.get("settings", {}), (*complete, *others), _history(name, study))


def trials_csv(study: optuna.Study) -> str:
    """Every trial with its parameters and attributes as CSV, for a spreadsheet or a notebook."""
    table = study.trials_dataframe(
        attrs=("number", "value", "state", "datetime_start", "duration", "params", "user_attrs")
    )
    table = table.drop(columns=["user_attrs_recipe"], errors="ignore").astype(object)
    return csv_text(list(table.columns), table.to_numpy().tolist(), digits=17)


def _history(name: str, study: optuna.Study) -> tuple[ShownGeneration, ...]:
    shown = []
    for found in generations(study._storage, name):
        state = "undone" if found.undone else "current" if found.optuna_name == study.study_name else "former"
        when = _local(datetime.fromisoformat(found.when).astimezone()) if found.when else _first_time(study)
        shown.append(ShownGeneration(found.number, state, when, found.trials, found.why))
    return tuple(shown)


def _first_time(study: optuna.Study) -> str:
    """When the first trial began."""
    times = [trial.datetime_start for trial in study.get_trials(deepcopy=False) if trial.datetime_start]
    return _local(min(times)) if times else ""


def _local(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def _by_log_loss(trial: ShownTrial) -> tuple[float, int]:
    assert trial.log_loss is not None
    return trial.log_loss, trial.number


def _row(name: str, study: optuna.Study) -> StudyRow:
    trials = study.get_trials(deepcopy=False)
    words = [_word(trial) for trial in trials]
    complete = [trial.value for trial in trials if trial.state == TrialState.COMPLETE]
    times = [trial.datetime_complete or trial.datetime_start for trial in trials]
    return StudyRow(
        name=name,
        trials=sum(word in ("complete", "pruned", "failed") for word in words),
        complete=words.count("complete"),
        pruned=words.count("pruned"),
        failed=words.count("failed"),
        best=min((value for value in complete if value is not None), default=None),
        last=max((_local(moment) for moment in times if moment), default=""),
    )


def _shown(trial: FrozenTrial) -> ShownTrial:
    attributes = trial.user_attrs
    return ShownTrial(
        number=trial.number,
        state=_word(trial),
        log_loss=trial.value if trial.state == TrialState.COMPLETE else None,
        backbone=attributes.get("backbone", ""),
        tuning=attributes.get("tuning", ""),
        image_size=attributes.get("image_size", 0),
        augmentation=attributes.get("augmentation", ""),
        learning_rate=attributes.get("learning_rate", 0.0),
        seconds=attributes.get("seconds"),
        fold_log_loss=_by_fold(fold_losses(trial)),
        reason=attributes.get("reason", ""),
    )


def _by_fold(losses: dict[int, float]) -> tuple[float | None, ...]:
    """Up to the last fold that was trained: trials begin with different ones."""
    return tuple(losses.get(fold) for fold in range(max(losses, default=-1) + 1))


def _word(trial: FrozenTrial) -> str:
    return state_word(trial.state, interrupted=bool(trial.user_attrs.get(INTERRUPTED)))
