"""Writes a study from its ledger: into a database that lost it, or into memory for whoever only reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from automl_car.search.generations import (
    CARRIED_FROM,
    GENERATION,
    attributes_of,
    current_generation,
    optuna_names,
)
from automl_car.search.ledger import LEDGER, Ledger, same_trial, trial_from_json
from automl_car.search.notes import note_name
from automl_car.search.study import INTERRUPTED, NOT_OFFERED

_ORDER = {"WAITING": 0, "RUNNING": 1}  # of states; all others come after


def what_is_missing(ledger: Ledger, storage: BaseStorage, study: str) -> str:
    """What the ledger has of a study and its database has not, in words; empty where nothing is missing.

    The database may know more: it is written first.
    """
    there = set(optuna_names(storage, study))
    for generation in ledger.generations(study):
        if generation not in there:
            return "its database does not have it"
        trials = storage.get_all_trials(storage.get_study_id_from_name(generation), deepcopy=False)
        for number, told in ledger.trials(generation).items():
            if number >= len(trials) or _rank(trials[number].state.name) < _rank(told["state"]):
                return f"trial {number} is missing in its database, or not as far as it was"
            if TrialState[told["state"]].is_finished() and not same_trial(trials[number], told):
                return f"trial {number} is not in its database as it was written"
    return ""


def is_another(ledger: Ledger, storage: BaseStorage, study: str) -> bool:
    """Whether a database has trials of a study that were never written to this ledger: they belong to another one."""
    for name in optuna_names(storage, study):
        if name == study and storage.get_n_trials(storage.get_study_id_from_name(name)):
            return attributes_of(storage, name).get(LEDGER) != ledger.id
    return False


def restore(ledger: Ledger, storage: BaseStorage, study: str) -> int:
    """Write all generations of a study into a storage, in place of what is there of it.

    Returns:
        How many trials its newest generation has.
    """
    for name in optuna_names(storage, study):
        optuna.delete_study(study_name=name, storage=storage)
    count = 0
    for generation in ledger.generations(study):
        count = _write(ledger, storage, generation)
    return count


def in_memory(ledger: Ledger, study: str) -> optuna.Study:
    """The newest generation of a study as its ledger has it; what is written to it is written nowhere."""
    storage = InMemoryStorage()
    restore(ledger, storage, study)
    current = current_generation(storage, study)
    assert current is not None  # the ledger has one
    return optuna.load_study(study_name=current.optuna_name, storage=storage)


def _write(ledger: Ledger, storage: BaseStorage, generation: str) -> int:
    attributes, system = ledger.study(generation)
    number = storage.create_new_study([StudyDirection.MINIMIZE], generation)
    # What says that it is ours comes first, and what makes it count comes last: this, too, may be killed.
    for name in sorted(attributes, key=_place):
        if name in (CARRIED_FROM, LEDGER):
            storage.set_study_user_attr(number, name, attributes[name])
    for trial, notes in _trials(ledger.trials(generation)):
        given = storage.create_new_trial(number, template_trial=trial)
        for name, value in notes.items():
            storage.set_study_system_attr(number, note_name(given, name), value)
    for name, value in system.items():
        storage.set_study_system_attr(number, name, value)
    for name in sorted(attributes, key=_place):
        if name not in (CARRIED_FROM, LEDGER):
            storage.set_study_user_attr(number, name, attributes[name])
    return storage.get_n_trials(number)


def _place(name: str) -> int:
    order = (CARRIED_FROM, LEDGER)
    return order.index(name) if name in order else len(order) + (name == "space") + 2 * (name == GENERATION)


def _trials(told: Mapping[int, Mapping[str, Any]]) -> list[tuple[FrozenTrial, Mapping[str, Any]]]:
    """All trials by number; in place of a record that is lost there is a trial that does not count."""
    return [
        (trial_from_json(told[number]), told[number]["notes"]) if number in told else (_unknown(number), {})
        for number in range(max(told, default=-1) + 1)
    ]


def _unknown(number: int) -> FrozenTrial:
    attributes = {INTERRUPTED: True, NOT_OFFERED: True, "reason": "what was written of it is damaged"}
    trial = optuna.trial.create_trial(state=TrialState.FAIL, user_attrs=attributes)
    trial.number = number
    return trial


def _rank(state: str) -> int:
    return _ORDER.get(state, len(_ORDER))
