"""Opens the study of a search, and lets it grow when what it may choose from has changed.

A change of the space, such as a backbone more or a wider range, begins the next generation (`generations.py`): all
trials are carried over (`carrying.py`), with their numbers, and as the fold store is that of the study, no fold is
trained again. Other photos, labels or folds are another problem: log losses could not be compared, so they are refused.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from automl_car.errors import StudyError
from automl_car.records import Folds
from automl_car.search.carrying import carry
from automl_car.search.changes import why_changed
from automl_car.search.generations import (
    CARRIED_FROM,
    GENERATION,
    SUPERSEDED_BY,
    UNDONE,
    current_generation,
    generations,
    next_name,
    remove_half_copied,
    study_of,
    utc_now,
)
from automl_car.search.holding import held
from automl_car.search.ledger import Ledger, ledger_of
from automl_car.search.lock import only_one
from automl_car.search.notes import copy_notes
from automl_car.search.opening import open_storage, read_study
from automl_car.search.outage import Waiting
from automl_car.search.salvage import trials_of_folds
from automl_car.search.space import Space
from automl_car.search.study import METRIC, connect, counted_trials, storage_url


def open_study(
    name: str,
    url: str,
    identity: Mapping[str, Any],
    *,
    space: Space,
    note: Callable[[str], None] = lambda text: None,
    ledger: Ledger | None = None,
    folds: Folds | None = None,
) -> optuna.Study:
    """Create the study of a search, or open it again; where the space has changed, its next generation.

    The caller holds the study's lock (`lock.py`).

    Args:
        identity: what is stored with it: "folds" (fingerprint) and "classes" (count), which must not change between
            runs, and "settings" (the resolved settings, stored for people).
        space: what the search may choose from.
        note: is told, on one line, when the study grows, and when it was rebuilt.
        ledger: of the study; with it, a database that is lost or damaged is rebuilt.
        folds: of the data; with them and without any record, the study is rebuilt from its finished folds alone.

    Raises:
        StudyError: the study was made from other data, or its database cannot be opened.
    """
    if ledger is None:
        storage: BaseStorage = connect(url)
        remove_half_copied(storage, name)
    else:
        storage = open_storage(name, url, ledger, note)
    current = current_generation(storage, name)
    if current is None:
        study = _create(name, storage)
    else:
        study = optuna.load_study(study_name=current.optuna_name, storage=storage, pruner=optuna.pruners.NopPruner())
    stored = study.user_attrs
    wanted = {**identity, "space": space.to_json()}
    if "space" not in stored:  # it is new, or its making was cut short
        _name_the_metric(study)
        if ledger is not None and folds is not None and not study.get_trials(deepcopy=False):
            _find_trials(study, ledger, folds, space, note)
    else:
        _refuse_other_data(name, stored, identity)
        if why := why_changed(stored["space"], wanted["space"]):
            study = _grow(study, wanted, space, why, note)
    _store(study, wanted)
    if ledger is not None:
        _record(ledger, storage, name)
    return study


def undo(studies: Path, name: str, storage: str | None) -> str:
    """Make the generation before the current one the current one again. Nothing is deleted.

    Args:
        studies: folder `studies/` of the workspace.
        storage: URL of the studies, or None for the folder.

    Returns:
        What was done, for people.

    Raises:
        StudyError: there is no such study, it is at its first generation, or a search is running on it.
    """
    read_study(studies, name, storage)  # where it is not there, no lock is made
    studies.mkdir(parents=True, exist_ok=True)
    url = storage_url(studies, name, storage)
    with only_one(studies, name), held(url, name, Waiting(0.0, None, lambda text: None)):
        ledger = Ledger(ledger_of(studies, name))
        backend = open_storage(name, url, ledger, lambda text: None)
        line = [generation for generation in generations(backend, name) if not generation.undone]
        if len(line) < 2:
            raise StudyError(
                f"Study `{name}` is at its first generation, so there is nothing to undo.",
                hint=f"`automl-car studies show {name}` tells the history of a study.",
            )
        former, last = line[-2:]
        undone = optuna.load_study(study_name=last.optuna_name, storage=backend)
        undone.set_user_attr(UNDONE, utc_now())
        restored = optuna.load_study(study_name=former.optuna_name, storage=backend)
        restored.set_user_attr(SUPERSEDED_BY, "")
        if ledger.generations(name):
            _record(ledger, backend, name)
        return (
            f"study `{name}` is back at generation {former.number} ({_trials(counted_trials(restored))}); "
            f"generation {last.number} ({_trials(counted_trials(undone))}) and all folds are kept"
        )


# ---- making ---------------------------------------------------------------------------------------------------------


def _create(name: str, storage: BaseStorage) -> optuna.Study:
    return optuna.create_study(
        study_name=name,
        storage=storage,
        direction="minimize",
        pruner=optuna.pruners.NopPruner(),  # the driver decides
        load_if_exists=True,
    )


def _name_the_metric(study: optuna.Study) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names([METRIC])


def _store(study: optuna.Study, wanted: Mapping[str, Any]) -> None:
    """Store what has changed, the space last: where it is, the rest is there too."""
    for key in sorted(wanted, key=lambda key: key == "space"):
        if study.user_attrs.get(key) != wanted[key]:
            study.set_user_attr(key, wanted[key])


def _refuse_other_data(name: str, stored: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    ways_out = f"`--study NAME` begins a new study; with `--warm-start {name}` it starts from the best recipes of this."
    if stored["classes"] != identity["classes"]:
        raise StudyError(
            f"Study `{name}` was made from photos of {stored['classes']} classes, and these are of "
            f"{identity['classes']}.",
            hint=ways_out,
        )
    if stored["folds"] != identity["folds"]:
        raise StudyError(f"Study `{name}` was made from other photos, labels or folds than these.", hint=ways_out)


def _record(ledger: Ledger, storage: BaseStorage, name: str) -> None:
    """Write down all generations of a study."""
    for generation in generations(storage, name):
        ledger.record(optuna.load_study(study_name=generation.optuna_name, storage=storage))


def _find_trials(study: optuna.Study, ledger: Ledger, folds: Folds, space: Space, note: Callable[[str], None]) -> None:
    """Make trials of the finished folds of a study that nothing else is left of."""
    found = trials_of_folds(ledger.directory, folds, space)
    study.add_trials(found)
    if found:
        complete = sum(trial.state == TrialState.COMPLETE for trial in found)
        note(
            f"study `{study.study_name}` was rebuilt from the folds in `{ledger.directory}`: {_trials(complete)} "
            f"complete, {len(found) - complete} to go on with; to begin it anew, delete that folder, too"
        )


# ---- growing --------------------------------------------------------------------------------------------------------


def _grow(
    old: optuna.Study, wanted: Mapping[str, Any], space: Space, why: str, note: Callable[[str], None]
) -> optuna.Study:
    """The next generation of a study, with all its trials."""
    name, storage = study_of(old.study_name), old._storage
    optuna_name, number = next_name(storage, name)
    new = _create(optuna_name, storage)
    new.set_user_attr(CARRIED_FROM, old.study_name)
    _name_the_metric(new)
    trials = old.get_trials(deepcopy=False)
    now, space_before = datetime.now(), old.user_attrs["space"]
    new.add_trials(carry(trial, space_before, space, now) for trial in sorted(trials, key=lambda trial: trial.number))
    copy_notes(old, new)
    _store(new, wanted)
    carried = counted_trials(old)
    new.set_user_attr(GENERATION, {"when": utc_now(), "trials": carried, "why": why})  # from here on it counts
    old.set_user_attr(SUPERSEDED_BY, optuna_name)
    note(
        f"study `{name}` grew to generation {number}: {why}; {_carried(carried)}; "
        f"`automl-car studies undo {name}` goes back"
    )
    return new


def _trials(count: int) -> str:
    return f"{count or 'no'} trial{'' if count == 1 else 's'}"


def _carried(count: int) -> str:
    return f"{'all ' if count > 1 else ''}{_trials(count)} carried over" if count else "it had no trial yet"
