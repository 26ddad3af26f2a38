"""Opens the Optuna study that remembers a search, and reads what it holds."""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.trial import FrozenTrial, TrialState

from automl_car.errors import StudyError
from automl_car.records import fingerprint

optuna.logging.set_verbosity(optuna.logging.WARNING)

METRIC = "log_loss"
INTERRUPTED = "interrupted"  # user attribute of a trial that a stop cut off; its recipe is continued later
RETRY_OF = "retry_of"
OVERRIDES = "overrides"  # user attribute: fields of the recipe that were settled before the trial was asked


def storage_url(studies: Path, name: str, storage: str | None) -> str:
    """The SQLAlchemy URL of a study: `storage`, or a SQLite file of its own in the folder `studies`."""
    return storage or f"sqlite:///{studies / name}.db"


def open_study(
    name: str,
    url: str,
    identity: Mapping[str, Any],
    *,
    pruner: optuna.pruners.BasePruner,
) -> optuna.Study:
    """Create the study, or open it again when it was made from the same data and the same space.

    Args:
        identity: what must not change between runs: "space" (JSON), "folds" (fingerprint), "classes" (count), and
            "settings" (the resolved settings, stored for people).

    Raises:
        StudyError: the study was made from other data or another space.
    """
    storage = connect(url)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # multivariate, group, metric names
        study = optuna.create_study(
            study_name=name, storage=storage, direction="minimize", pruner=pruner, load_if_exists=True
        )
        if "space" not in study.user_attrs:
            study.set_metric_names([METRIC])
    _check_identity(study, identity)
    for key in sorted(identity, key=lambda key: key == "space"):  # the space last: where it is, the rest is there too
        if study.user_attrs.get(key) != identity[key]:
            study.set_user_attr(key, identity[key])
    return study


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


def make_sampler(seed: int, ended_trials: int, startup_trials: int) -> optuna.samplers.TPESampler:
    """The sampler of the trial that comes after `ended_trials` others.

    Each trial has a sampler of its own, seeded by its place in the study: one seed for all would repeat its points when
    a search is resumed, and a search that was stopped would go on otherwise than one that was not.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # multivariate, group
        return optuna.samplers.TPESampler(
            multivariate=True,
            group=True,
            constant_liar=True,
            n_startup_trials=startup_trials,
            seed=int(fingerprint([seed, ended_trials]), 16) % 2**32,
        )


def connect(url: str) -> optuna.storages.RDBStorage:
    """The storage at `url`. SQLite is put into write-ahead mode, so that a dashboard can read while a search writes."""
    if url.startswith("sqlite:///"):
        path = Path(url.removeprefix("sqlite:///"))
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=60)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.close()
        storage = optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": {"timeout": 60}})
        sqlalchemy.event.listen(storage.engine, "connect", _spare_the_disk)
        storage.engine.dispose()  # connections that were made before do not know of it
        return storage
    return optuna.storages.RDBStorage(url, engine_kwargs={"pool_pre_ping": True})


def _spare_the_disk(connection: sqlite3.Connection, record: object) -> None:
    """Wait for the disk at checkpoints of the write-ahead log instead of at each of a trial's 40 commits.

    A killed process loses nothing by it. A power cut can lose the last commits, never the consistency; the folds
    themselves are in the fold store, which waits for the disk.
    """
    connection.execute("PRAGMA synchronous=NORMAL")


def load_study(name: str, url: str) -> optuna.Study:
    """An existing study, for reading.

    Raises:
        StudyError: there is none of that name.
    """
    if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).is_file():
        raise StudyError(f"There is no study `{name}` ({url}).", hint="`automl-car studies` lists those there are.")
    try:
        return optuna.load_study(study_name=name, storage=connect(url))
    except KeyError:
        raise StudyError(
            f"There is no study `{name}` in {url}.", hint="`automl-car studies` lists those there are."
        ) from None


def _check_identity(study: optuna.Study, identity: Mapping[str, Any]) -> None:
    stored = study.user_attrs
    if "space" not in stored:
        return
    ways_out = "go on under a new name with `--study NAME`, or restore what has changed."
    if stored["folds"] != identity["folds"]:
        raise StudyError(
            f"Study `{study.study_name}` was made from other photos, labels or folds than these.", hint=ways_out
        )
    changes = _changes(stored["space"], identity["space"])
    if changes:
        raise StudyError(
            f"What study `{study.study_name}` may choose from has changed:\n" + "\n".join(changes), hint=ways_out
        )


def _changes(old: Any, new: Any, place: str = "") -> list[str]:
    """A line for each value that differs between two JSON trees."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(set(old) | set(new))
        return [line for key in keys for line in _changes(old.get(key), new.get(key), f"{place}.{key}".strip("."))]
    return [] if old == new else [f"  {place}: {old} before, {new} now"]


# ---- reading trials -------------------------------------------------------------------------------------------------


def counted_trials(study: optuna.Study) -> int:
    """Trials that have ended for good: `--trials` is compared with this number."""
    ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL))
    return sum(not trial.user_attrs.get(INTERRUPTED) for trial in ended)


def complete_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Complete trials, best first."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return sorted(complete, key=lambda trial: (trial.value, trial.number))


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
    waiting = [trial for trial in trials if trial.user_attrs.get(INTERRUPTED) and trial.number not in retried]
    for trial in waiting:
        attributes = {RETRY_OF: trial.number, OVERRIDES: trial.user_attrs.get(OVERRIDES, {})}
        # A trial that was enqueued and killed while it chose has only some of its parameters; Optuna keeps all.
        settled = trial.system_attrs.get("fixed_params", {})
        study.enqueue_trial({**settled, **trial.params}, user_attrs=attributes)
    return len(waiting)
