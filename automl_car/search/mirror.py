"""What a driver has read and written of its studies, in memory: one that holds a study's lock need not read twice.

Optuna asks for all trials many times a trial, and a database then sends every trial that runs. With 64 of them that
would be most of a driver's time.
"""

from __future__ import annotations

import copy
from collections.abc import Container, Iterable, Sequence
from datetime import datetime
from typing import Any

from optuna.distributions import BaseDistribution, check_distribution_compatibility
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState


class Mirror:
    """The trials of some studies, with the ids that they have in the database.

    A trial is never changed, but replaced by a changed copy: lists that were given out stay as they were.
    """

    def __init__(self) -> None:
        self._trials: dict[int, list[FrozenTrial]] = {}  # by study, in the order of their numbers
        self._states: dict[int, dict[TrialState, dict[int, FrozenTrial]]] = {}  # the same by study, state and number
        self._places: dict[int, tuple[int, int]] = {}  # by trial: its study and its number
        self._distributions: dict[int, dict[str, BaseDistribution]] = {}  # by study: the last one of each parameter

    def knows(self, study_id: int) -> bool:
        return study_id in self._trials

    def load(self, study_id: int, trials: Iterable[FrozenTrial]) -> None:
        """Take all trials of a study, in the order of their numbers."""
        self._trials[study_id], self._distributions[study_id] = [], {}
        self._states[study_id] = {state: {} for state in TrialState}
        for trial in trials:
            self.add(study_id, trial)

    def add(self, study_id: int, trial: FrozenTrial) -> None:
        """Take the study's next trial."""
        assert trial.number == len(self._trials[study_id])
        self._trials[study_id].append(trial)
        self._states[study_id][trial.state][trial.number] = trial
        self._places[trial._trial_id] = (study_id, trial.number)
        self._distributions[study_id].update(trial.distributions)

    def forget(self, study_id: int) -> None:
        for trial in self._trials.pop(study_id, ()):
            del self._places[trial._trial_id]
        self._distributions.pop(study_id, None)
        self._states.pop(study_id, None)

    def trials(self, study_id: int, states: Container[TrialState] | None) -> list[FrozenTrial]:
        if states is None:
            return list(self._trials[study_id])
        chosen: dict[int, FrozenTrial] = {}
        for state in TrialState:
            if state in states:
                chosen |= self._states[study_id][state]
        return [chosen[number] for number in sorted(chosen)]

    def trial(self, trial_id: int) -> FrozenTrial | None:
        """The trial, or None where it is of a study that was not loaded."""
        place = self._places.get(trial_id)
        return None if place is None else self._trials[place[0]][place[1]]

    def count(self, study_id: int) -> int:
        return len(self._trials[study_id])

    def count_ended(self, study_id: int) -> int:
        return sum(len(trials) for state, trials in self._states[study_id].items() if state.is_finished())

    # ---- changes ----

    def check_parameter(self, trial_id: int, name: str, distribution: BaseDistribution) -> None:
        """Raise ValueError where other trials have another kind of parameter under this name."""
        known = self._distributions[self._places[trial_id][0]]
        if name in known:
            check_distribution_compatibility(known[name], distribution)
        known[name] = distribution

    def put(self, trial_id: int, part: str, key: Any, value: Any) -> None:
        """Set an entry of a trial that runs: of its user_attrs, system_attrs, params, distributions or values."""
        trial = self._changeable(trial_id)
        setattr(trial, part, {**getattr(trial, part), key: value})
        self._replace(trial)

    def told(self, trial_id: int, state: TrialState, values: Sequence[float] | None) -> FrozenTrial:
        """Set the state of a trial that has not ended, its values, and when it began or ended: now."""
        trial = self._changeable(trial_id)
        trial.state = state
        if values is not None:
            trial.values = list(values)
        if state == TrialState.RUNNING:
            trial.datetime_start = datetime.now()
        if state.is_finished():
            trial.datetime_complete = datetime.now()
        self._replace(trial)
        return trial

    def _changeable(self, trial_id: int) -> FrozenTrial:
        study, number = self._places[trial_id]
        trial = self._trials[study][number]
        if trial.state.is_finished():
            raise UpdateFinishedTrialError(f"Trial {number} has ended and cannot be changed.")
        return copy.copy(trial)

    def _replace(self, trial: FrozenTrial) -> None:
        study, number = self._places[trial._trial_id]
        del self._states[study][self._trials[study][number].state][number]
        self._states[study][trial.state][number] = trial
        self._trials[study][number] = trial
