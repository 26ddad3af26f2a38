"""The Optuna study that remembers a search: where it is, how it samples, and what it holds."""

from __future__ import annotations

import bisect
import math
import sqlite3
import time
import warnings
from pathlib import Path
from weakref import WeakKeyDictionary

import optuna
import sqlalchemy
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from automl_car.errors import AutomlCarError, NoStudyError, StudyError
from automl_car.paths import plain_name
from automl_car.records import fingerprint
from automl_car.search.database import is_damage, sqlite_path, unusable, why_damaged
from automl_car.search.ended import NewlyEnded
from automl_car.search.generations import current_generation
from automl_car.search.grouped import GroupedSampler
from automl_car.search.holding import held_storage
from automl_car.search.refusals import refusals_told
from automl_car.search.server import is_server, read_server
from automl_car.urls import without_password

optuna.logging.set_verbosity(optuna.logging.WARNING)

METRIC = "log_loss"
INTERRUPTED = "interrupted"  # user attribute of a trial that a stop cut off; its recipe is continued later
NOT_OFFERED = "not_offered"  # user attribute of such a trial while the space lacks what it is made of
RETRY_OF = "retry_of"
MENDED = "mended"  # user attribute: by fold, what went wrong in training and was mended, in words
DIVERGED = "diverged"  # user attribute of a trial that diverged or did not fit into the memory
OVERRIDES = "overrides"  # user attribute: fields of the recipe that were settled before the trial was asked
_TABLES_SECONDS = 10.0  # within which the tables of a new database are made
FIXED = "fixed_params"  # Optuna's own attribute: parameters that a trial was enqueued with


def storage_url(studies: Path, name: str, storage: str | None) -> str:
    """The SQLAlchemy URL of a study: `storage`, or a SQLite file of its own in the folder `studies`."""
    return storage or f"sqlite:///{studies / plain_name(name, 'study')}.db"


_WORDS = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}


def state_word(state: TrialState, *, interrupted: bool) -> str:
    """What a trial's state is called everywhere: on the screen, in tables, in JSON and in notes.

    Args:
        interrupted: whether a stop cut the trial off, which Optuna can only call a failure.
    """
    return "stopped" if state == TrialState.FAIL and interrupted else _WORDS[state]


def make_sampler(seed: int, ended_trials: int, startup_trials: int) -> BaseSampler:
    """The sampler of the trial that comes after `ended_trials` others.

    Each trial has a sampler of its own, seeded by its place in the study: one seed for all would repeat its points when
    a search is resumed, and a search that was stopped would go on otherwise than one that was not.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # multivariate
        sampler = optuna.samplers.TPESampler(
            multivariate=True,
            constant_liar=True,
            n_startup_trials=startup_trials,
            seed=int(fingerprint([seed, ended_trials]), 16) % 2**32,
        )
    return GroupedSampler(sampler)


def connect(url: str) -> BaseStorage:
    """The storage at `url`; of a server's database, the one that the search of this process holds, if it does.

    Raises:
        ConfigError: the URL is wrong, or its driver is not installed.
        MachineError: the file or the server cannot be used.
    """
    path = sqlite_path(url)
    if path is not None:
        return connect_file(path)
    if is_server(url):
        return held_storage(url) or read_server(url)
    return optuna.storages.RDBStorage(url)


def connect_file(path: Path) -> optuna.storages.RDBStorage:
    """The storage in a SQLite file, in write-ahead mode, so that a dashboard can read while a search writes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with refusals_told(path):
        connection = sqlite3.connect(path, timeout=60)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.close()
    storage: optuna.storages.RDBStorage | None = None
    began = time.monotonic()
    while storage is None:
        try:
            storage = optuna.storages.RDBStorage(f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": 60}})
        except sqlalchemy.exc.DBAPIError as error:
            if not _makes_it_too(error) or time.monotonic() - began > _TABLES_SECONDS:
                raise
            time.sleep(0.05)
    sqlalchemy.event.listen(storage.engine, "connect", _spare_the_disk)
    storage.engine.dispose()  # connections that were made before do not know of it
    return storage


def _makes_it_too(error: Exception) -> bool:
    """Whether another process opens the new file at the same moment: both make its tables, and one is second."""
    return any(words in str(error) for words in ("already exists", "UNIQUE constraint failed"))


def _spare_the_disk(connection: sqlite3.Connection, record: object) -> None:
    """Wait for the disk at checkpoints of the write-ahead log instead of at each of a trial's 40 commits.

    A killed process loses nothing by it. A power cut can lose the last commits, never the consistency; the folds
    themselves are in the fold store, which waits for the disk.
    """
    connection.execute("PRAGMA synchronous=NORMAL")


def load_study(name: str, url: str) -> optuna.Study:
    """An existing study, for reading: its current generation.

    Raises:
        StudyError: there is none of that name, or its database is damaged or cannot be opened.
    """
    path = sqlite_path(url)
    if path is not None and not (path.is_file() and path.stat().st_size):
        raise NoStudyError(f"There is no study `{name}` ({url}).", hint="`automl-car studies` lists those there are.")
    if path is not None and (why := why_damaged(path)):
        raise _damaged(path, why)
    try:
        storage = connect(url)
        current = current_generation(storage, name)
        if current is not None:
            study = optuna.load_study(study_name=current.optuna_name, storage=storage)
            study.get_trials(deepcopy=False)  # read and kept here, so that damage is found here
            return study
    except AutomlCarError:
        raise
    except Exception as error:  # a flipped bit can lead to any of them
        if path is None:
            raise
        raise (_damaged(path, str(error)) if is_damage(error) else unusable(path, error)) from error
    raise NoStudyError(
        f"There is no study `{name}` in {without_password(url)}.", hint="`automl-car studies` lists those there are."
    )


def _damaged(path: Path, why: str) -> StudyError:
    return StudyError(
        f"The study's database `{path}` is damaged: {' '.join(why.split())}.",
        hint="run the same `automl-car search` again: it rebuilds it from the folds, and trains nothing that is there.",
    )


# ---- reading trials -------------------------------------------------------------------------------------------------


class _Results:
    """What the trials that have ended came to."""

    def __init__(self) -> None:
        self.counted = 0
        self.complete: list[FrozenTrial] = []  # best first
        self._newly_ended = NewlyEnded()

    def look(self, study: optuna.Study) -> _Results:
        """Take those that have ended meanwhile."""
        for trial in self._newly_ended.of(study):
            self.counted += not trial.user_attrs.get(INTERRUPTED)
            if trial.state == TrialState.COMPLETE and trial.value is not None and math.isfinite(trial.value):
                bisect.insort(self.complete, trial, key=lambda one: (one.value, one.number))
        return self


_results: WeakKeyDictionary[optuna.Study, _Results] = WeakKeyDictionary()


def counted_trials(study: optuna.Study) -> int:
    """Trials that have ended for good: `--trials` is compared with this number."""
    return _results.setdefault(study, _Results()).look(study).counted


def complete_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Complete trials, best first. One whose value is not finite is none: no version of automl-car tells such a one."""
    return list(_results.setdefault(study, _Results()).look(study).complete)


def close_interrupted(study: optuna.Study) -> int:
    """End the trials that a dead driver left running, and queue every interrupted recipe once more.

    Returns:
        How many recipes were queued. Their finished folds are in the fold store and are not trained again.
    """
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        # The driver's own mark may be missing: it was killed before it could set it, or while it told the trial.
        study._storage.set_trial_user_attr(trial._trial_id, INTERRUPTED, True)
        study.tell(trial.number, state=TrialState.FAIL)
    trials = study.get_trials(deepcopy=False)
    retried = {trial.user_attrs.get(RETRY_OF) for trial in trials}
    waiting = [trial for trial in trials if _goes_on(trial) and trial.number not in retried]
    for trial in waiting:
        attributes = {RETRY_OF: trial.number, OVERRIDES: trial.user_attrs.get(OVERRIDES, {})}
        # A trial that was enqueued and killed while it chose has only some of its parameters; Optuna keeps all.
        settled = trial.system_attrs.get(FIXED, {})
        study.enqueue_trial({**settled, **trial.params}, user_attrs=attributes)
    return len(waiting)


def _goes_on(trial: FrozenTrial) -> bool:
    return bool(trial.user_attrs.get(INTERRUPTED)) and not trial.user_attrs.get(NOT_OFFERED)
