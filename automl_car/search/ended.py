"""The trials of a study that have ended, in the order in which this process saw that they had.

They do not change any more: who counts or ranks them looks at each one once, however long the study is.
"""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakKeyDictionary

import optuna
from optuna.trial import FrozenTrial, TrialState

from automl_car.search.patient import PatientStorage

_ENDED = frozenset({TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL})


class _Ended:
    """Those that were seen."""

    def __init__(self) -> None:
        self.trials: list[FrozenTrial] = []
        self._open: list[int] = []  # numbers of those that have not ended
        self._count = 0  # trials that were looked at

    def look(self, trials: Sequence[FrozenTrial]) -> None:
        """Take those that have ended meanwhile, in the order of their numbers."""
        numbers = (*self._open, *range(self._count, len(trials)))
        self._open, self._count = [], len(trials)
        for number in numbers:
            if trials[number].state in _ENDED:
                self.trials.append(trials[number])
            else:
                self._open.append(number)


_ended: WeakKeyDictionary[optuna.Study, _Ended] = WeakKeyDictionary()


def ended_trials(study: optuna.Study, seen: int = 0) -> Sequence[FrozenTrial]:
    """Trials that have ended, without the first `seen`: what comes later comes behind them.

    Those that ended since the last look are in the order of their numbers.
    """
    ended, storage = _ended.setdefault(study, _Ended()), study._storage
    known = isinstance(storage, PatientStorage) and storage.count_ended(study._study_id) == len(ended.trials)
    if not known:
        ended.look(study.get_trials(deepcopy=False))
    return ended.trials[seen:]


class NewlyEnded:
    """Gives whoever keeps it each trial of one study once, when it has ended."""

    def __init__(self) -> None:
        self._seen = 0

    def of(self, study: optuna.Study) -> Sequence[FrozenTrial]:
        """Trials that have ended since it was last asked."""
        new = ended_trials(study, self._seen)
        self._seen += len(new)
        return new
