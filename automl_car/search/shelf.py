"""The ended trials of a study by parameter, kept from one choice to the next: a long study is not read again each time.

TPE looks at the best and the latest of them (`best_and_latest`): what it costs to choose grows with the trials that it
looks at. It takes the best trials, a tenth of all and at most 25, for good, and compares them with the others, of which
it weighs older ones less (Bergstra et al., Algorithms for Hyper-Parameter Optimization, NIPS 2011; Optuna's
`default_gamma`, `default_weights`). From 250 trials on the good ones are 25 however many there are; here they stay the
same 25, and of the others the latest are taken. Shorter studies are not touched.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from weakref import WeakKeyDictionary

import optuna
from optuna.trial import FrozenTrial, TrialState

from automl_car.search.ended import NewlyEnded

MOST = 250
_BEST = 50  # more than TPE takes for good, so that those are the same
_LEARNED_FROM = (TrialState.COMPLETE, TrialState.PRUNED)


class Shelf:
    """Trials that are complete or pruned, all or those that have one parameter."""

    def __init__(self) -> None:
        self._trials: list[FrozenTrial] = []  # in the order of their numbers
        self._best: list[FrozenTrial] = []  # best first

    def __len__(self) -> int:
        return len(self._trials)

    def add(self, trial: FrozenTrial) -> None:
        """Take a trial that has ended."""
        bisect.insort(self._trials, trial, key=_number)
        bisect.insort(self._best, trial, key=_rank)
        del self._best[_BEST:]

    def best_and_latest(self, most: int = MOST) -> list[FrozenTrial]:
        """So many of the trials, in the order of their numbers; all of them, where there are no more."""
        if len(self._trials) <= most:
            return list(self._trials)
        chosen = {trial.number: trial for trial in self._best}
        for trial in reversed(self._trials):
            if len(chosen) == most:
                break
            chosen[trial.number] = trial
        return [chosen[number] for number in sorted(chosen)]

    def latest(self, most: int = MOST) -> Sequence[FrozenTrial]:
        """The last of the trials, in the order of their numbers."""
        return self._trials[-most:]


class Shelves:
    """The shelf of each parameter of a study, and that of all trials."""

    def __init__(self) -> None:
        self.all = Shelf()
        self._having: dict[str, Shelf] = {}
        self._newly_ended = NewlyEnded()

    def having(self, name: str) -> Shelf:
        """Of the trials that have this parameter."""
        return self._having.get(name) or Shelf()

    def update(self, study: optuna.Study) -> None:
        """Take the trials that have ended meanwhile; those that had do not change."""
        for trial in self._newly_ended.of(study):
            if trial.state in _LEARNED_FROM:
                self.all.add(trial)
                for name in trial.params:
                    self._having.setdefault(name, Shelf()).add(trial)


_shelves: WeakKeyDictionary[optuna.Study, Shelves] = WeakKeyDictionary()


def shelves_of(study: optuna.Study) -> Shelves:
    """The shelves of a study, as it is now."""
    shelves = _shelves.setdefault(study, Shelves())
    shelves.update(study)
    return shelves


def _number(trial: FrozenTrial) -> int:
    return trial.number


def _rank(trial: FrozenTrial) -> tuple[int, int, float]:
    """Best first, as TPE ranks: complete ones by value, then pruned ones by how far they came, then by value."""
    if trial.state == TrialState.COMPLETE:
        return 0, 0, trial.value if trial.value is not None else math.inf
    if not trial.intermediate_values:
        return 1, 1, 0.0
    step, value = max(trial.intermediate_values.items())
    return 1, -step, math.inf if math.isnan(value) else value
