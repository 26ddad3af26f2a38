"""A storage that waits while its database is away, and whose writes may be repeated.

When an answer is lost, nobody knows whether the write was done. Optuna sets attributes, parameters and values of steps
such that doing it twice is doing it once; the others are looked at here before they are repeated. That is safe as there
is one writer, who holds the study's lock (`holding.py`).
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.exceptions import DuplicatedStudyError, UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.study._frozen import FrozenStudy
from optuna.study._study_direction import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from automl_car.search.outage import Waiting


class PatientStorage(BaseStorage):
    """All that Optuna asks of a storage, asked of another one until it answers.

    Args:
        storage: the other one, which keeps ended trials in memory.
        waiting: how long.
    """

    def __init__(self, storage: BaseStorage, waiting: Waiting) -> None:
        self._storage = storage
        self._wait = waiting

    # ---- writes that are looked at before they are repeated ----

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        assert study_name is not None  # all of ours have one

        def create() -> int:
            return self._storage.create_new_study(directions, study_name)

        def again() -> int:
            try:
                return create()
            except DuplicatedStudyError:  # it was made
                return self._storage.get_study_id_from_name(study_name)

        return self._wait(create, again)

    def delete_study(self, study_id: int) -> None:
        def again() -> None:
            if any(study._study_id == study_id for study in self._storage.get_all_studies()):
                self._storage.delete_study(study_id)

        self._wait(lambda: self._storage.delete_study(study_id), again)

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        before = self.get_n_trials(study_id)

        def create() -> int:
            return self._storage.create_new_trial(study_id, template_trial)

        def again() -> int:
            trials = self._storage.get_all_trials(study_id, deepcopy=False)
            return trials[before]._trial_id if len(trials) > before else create()

        return self._wait(create, again)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        def tell() -> bool:
            return self._storage.set_trial_state_values(trial_id, state, values)

        def again() -> bool:
            try:
                return tell() or self._storage.get_trial(trial_id).state == state
            except UpdateFinishedTrialError:  # it was told
                if self._storage.get_trial(trial_id).state != state:
                    raise
                return True

        return self._wait(tell, again)

    # ---- writes that may be repeated ----

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        self._wait(lambda: self._storage.set_study_user_attr(study_id, key, value))

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self._wait(lambda: self._storage.set_study_system_attr(study_id, key, value))

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        self._wait(lambda: self._storage.set_trial_param(trial_id, param_name, param_value_internal, distribution))

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        self._wait(lambda: self._storage.set_trial_intermediate_value(trial_id, step, intermediate_value))

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._wait(lambda: self._storage.set_trial_user_attr(trial_id, key, value))

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._wait(lambda: self._storage.set_trial_system_attr(trial_id, key, value))

    # ---- reads ----

    def get_study_id_from_name(self, study_name: str) -> int:
        return self._wait(lambda: self._storage.get_study_id_from_name(study_name))

    def get_study_name_from_id(self, study_id: int) -> str:
        return self._wait(lambda: self._storage.get_study_name_from_id(study_id))

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return self._wait(lambda: self._storage.get_study_directions(study_id))

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        return self._wait(lambda: self._storage.get_study_user_attrs(study_id))

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return self._wait(lambda: self._storage.get_study_system_attrs(study_id))

    def get_all_studies(self) -> list[FrozenStudy]:
        return self._wait(self._storage.get_all_studies)

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        return self._wait(lambda: self._storage.get_trial_id_from_study_id_trial_number(study_id, trial_number))

    def get_trial(self, trial_id: int) -> FrozenTrial:
        return self._wait(lambda: self._storage.get_trial(trial_id))

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        return self._wait(lambda: self._storage.get_all_trials(study_id, deepcopy, states))

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        return self._wait(lambda: self._storage.get_best_trial(study_id))

    def remove_session(self) -> None:
        self._storage.remove_session()
