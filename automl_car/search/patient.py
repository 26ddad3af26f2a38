"""The storage of a driver that holds a study on a server: it waits while the database is away, and asks it for little.

Reads are answered from memory (`mirror.py`): nobody else writes trials. A new trial goes there at once, for its id;
what is written of trials after that is collected and goes there in one transaction (`batch.py`): before a record of the
ledger, and otherwise once a second. A driver that is killed before has lost nothing of a fold: its trial goes on from
the fold store.

When an answer is lost, nobody knows whether the write was done. Batches are such that twice is once; the other writes
are looked at before they are repeated.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Container, Sequence
from datetime import datetime
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import DuplicatedStudyError
from optuna.storages import BaseStorage
from optuna.study._frozen import FrozenStudy
from optuna.study._study_direction import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from automl_car.search.batch import Batch, Writer
from automl_car.search.mirror import Mirror
from automl_car.search.outage import Waiting
from automl_car.search.server import names_in

_FLUSH_SECONDS = 1.0
_FRESH_SECONDS = 60.0  # for so long a study's attributes count as read: people write notes in the dashboard, too


class PatientStorage(BaseStorage):
    """All that Optuna asks of a storage.

    Args:
        storage: in the database.
        writer: writes trials there.
        waiting: how long for.
    """

    def __init__(self, storage: BaseStorage, writer: Writer, waiting: Waiting) -> None:
        self._storage = storage
        self._writer = writer
        self._wait = waiting
        self._mirror = Mirror()
        self._batch, self._flushed = Batch(), float("-inf")
        self._attributes: dict[tuple[str, int], tuple[float, dict[str, Any]]] = {}  # when they were read, and they

    def flush(self) -> None:
        """Write what was collected."""
        if self._batch:
            self._wait(lambda: self._writer.write(self._batch))
            self._written()

    def _flush_now_and_then(self) -> None:
        if time.monotonic() - self._flushed > _FLUSH_SECONDS:
            self.flush()

    def _written(self) -> None:
        self._batch, self._flushed = Batch(), time.monotonic()

    # ---- studies ----

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        assert study_name is not None  # all of ours have one

        def again() -> int:
            try:
                return self._storage.create_new_study(directions, study_name)
            except DuplicatedStudyError:  # it was made
                return self._storage.get_study_id_from_name(study_name)

        return self._wait(lambda: self._storage.create_new_study(directions, study_name), again)

    def delete_study(self, study_id: int) -> None:
        def again() -> None:
            if any(study._study_id == study_id for study in self._storage.get_all_studies()):
                self._storage.delete_study(study_id)

        self.flush()
        self._wait(lambda: self._storage.delete_study(study_id), again)
        self._mirror.forget(study_id)
        for table in ("study_user_attrs", "study_system_attrs"):
            self._attributes.pop((table, study_id), None)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        self._put_study("study_user_attrs", study_id, key, value)
        self.flush()

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self._put_study("study_system_attrs", study_id, key, value)

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        return self._of_study("study_user_attrs", study_id, self._storage.get_study_user_attrs)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return self._of_study("study_system_attrs", study_id, self._storage.get_study_system_attrs)

    def get_study_id_from_name(self, study_name: str) -> int:
        return self._wait(lambda: self._storage.get_study_id_from_name(study_name))

    def get_study_name_from_id(self, study_id: int) -> str:
        return self._wait(lambda: self._storage.get_study_name_from_id(study_id))

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return self._wait(lambda: self._storage.get_study_directions(study_id))

    def study_names(self) -> list[str]:
        return self._wait(lambda: names_in(self._storage))

    def get_all_studies(self) -> list[FrozenStudy]:
        self.flush()
        return self._wait(self._storage.get_all_studies)

    def _put_study(self, table: str, study_id: int, key: str, value: Any) -> None:
        self._batch.attribute(table, study_id, key, value)
        if known := self._attributes.get((table, study_id)):
            known[1][key] = json.loads(json.dumps(value))

    def _of_study(self, table: str, study_id: int, read: Callable[[int], dict[str, Any]]) -> dict[str, Any]:
        when, known = self._attributes.get((table, study_id), (float("-inf"), {}))
        if time.monotonic() - when > _FRESH_SECONDS:
            self.flush()
            known = self._wait(lambda: read(study_id))
            self._attributes[table, study_id] = (time.monotonic(), known)
        return dict(known)

    # ---- trials ----

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        self._load(study_id)
        number = self._mirror.count(study_id)
        trial = copy.deepcopy(template_trial) if template_trial else _new_trial()
        trial.number = number

        def insert() -> int:
            return self._writer.insert(study_id, number, trial)

        def again() -> int:
            made = self._writer.find(study_id, number)
            return insert() if made is None else made

        trial._trial_id = self._wait(insert, again)
        self._mirror.add(study_id, trial)
        return trial._trial_id

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        if state == TrialState.RUNNING and self.get_trial(trial_id).state != TrialState.WAITING:
            return False
        told = self._mirror.told(trial_id, state, values)
        self._batch.state(trial_id, told)
        self._flush_now_and_then()
        return True

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        self._mirror.check_parameter(trial_id, param_name, distribution)
        self._mirror.put(trial_id, "params", param_name, distribution.to_external_repr(param_value_internal))
        self._mirror.put(trial_id, "distributions", param_name, distribution)
        self._batch.parameter(trial_id, param_name, param_value_internal, distribution)

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        self._mirror.put(trial_id, "intermediate_values", step, intermediate_value)
        self._batch.step(trial_id, step, intermediate_value)
        self._flush_now_and_then()

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._put_trial("user_attrs", trial_id, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._put_trial("system_attrs", trial_id, key, value)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        trial = self._mirror.trial(trial_id)
        if trial is None:
            return self._read(trial_id)
        return trial if trial.state.is_finished() else copy.deepcopy(trial)  # Optuna writes into those that run

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        self._load(study_id)
        trials = self._mirror.trials(study_id, states)
        return copy.deepcopy(trials) if deepcopy else trials

    def get_n_trials(self, study_id: int, state: Any = None) -> int:
        self._load(study_id)
        return self._mirror.count(study_id) if state is None else super().get_n_trials(study_id, state)

    def count_ended(self, study_id: int) -> int:
        """How many trials have ended, without a look at any of them."""
        self._load(study_id)
        return self._mirror.count_ended(study_id)

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        self._load(study_id)
        trials = self._mirror.trials(study_id, None)
        if not 0 <= trial_number < len(trials):
            raise KeyError(f"There is no trial {trial_number} in the study with id {study_id}.")
        return trials[trial_number]._trial_id

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        self.flush()
        return self._wait(lambda: self._storage.get_best_trial(study_id))

    def remove_session(self) -> None:
        self._storage.remove_session()

    def _put_trial(self, table: str, trial_id: int, key: str, value: Any) -> None:
        self._mirror.put(trial_id, table, key, json.loads(json.dumps(value)))  # as it will be read
        self._batch.attribute(table, trial_id, key, value)

    def _load(self, study_id: int) -> None:
        if not self._mirror.knows(study_id):
            self._mirror.load(study_id, self._wait(lambda: self._storage.get_all_trials(study_id, deepcopy=False)))

    def _read(self, trial_id: int) -> FrozenTrial:
        return self._wait(lambda: self._storage.get_trial(trial_id))


def flush(study: optuna.Study) -> None:
    """Let the database have what was told to a study, where that is collected."""
    if isinstance(study._storage, PatientStorage):
        study._storage.flush()


def _new_trial() -> FrozenTrial:
    """One that begins now."""
    return FrozenTrial(
        number=-1,
        state=TrialState.RUNNING,
        value=None,
        datetime_start=datetime.now(),
        datetime_complete=None,
        params={},
        distributions={},
        user_attrs={},
        system_attrs={},
        intermediate_values={},
        trial_id=-1,
    )
