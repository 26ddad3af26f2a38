"""Compares the trial that runs with the study's complete ones: is it worth going on, and what is it worth."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Mapping
from contextlib import suppress

import optuna
from optuna.trial import FrozenTrial, TrialState

from automl_car.curve import curve_to_beat
from automl_car.errors import StoreError
from automl_car.fold_records import Epoch, Points
from automl_car.records import Recipe
from automl_car.search.ended import NewlyEnded
from automl_car.search.evidence import FoldStore, fold_losses, how_much_harder
from automl_car.search.pruning import PruningRule, Rivals, TrialLosses, fold_spread
from automl_car.search.study import complete_trials

_ENOUGH = 250  # of the best trials say how hard the folds are, and so many of the latest how curves go

Curves = dict[tuple[str, int], tuple[Epoch, ...]]  # epochs by recipe id and fold


class Judge:
    """Judges the trials of one study.

    Args:
        rule: when a trial is pruned; None prunes none.
        store: where finished folds are read.
    """

    def __init__(self, study: optuna.Study, rule: PruningRule | None, store: FoldStore) -> None:
        self._study = study
        self._rule = rule
        self._store = store
        self._complete: list[FrozenTrial] = []  # best first; equal recipes once
        self._losses: list[Mapping[int, float]] = []  # of the best of them, by fold
        self._rivals: Rivals | None = None  # that a trial is compared with; None: they have to be read
        self._harder: dict[frozenset[int], float] = {}  # by folds: how much harder than all they are
        self._count = 0  # of complete trials, with equal ones
        self._curves: deque[Curves] = deque(maxlen=_ENOUGH)  # of the latest fine-tunings that have ended
        self._newly_ended = NewlyEnded()

    def expected(self, done: Mapping[int, float]) -> float:
        """The log loss that a trial with these folds will probably have over all folds."""
        self._look()
        folds = frozenset(done)
        if folds not in self._harder:
            self._harder[folds] = how_much_harder(sorted(folds), self._losses)
        return statistics.fmean(done.values()) - self._harder[folds]

    def why_prune(self, number: int, recipe_id: str, done: Mapping[int, float]) -> str | None:
        """Why the trial is pruned, or None when it goes on."""
        if self._rule is None:
            return None
        self._look()
        if self._rivals is None:
            rivals = self._complete[: 2 * self._rule.k]
            running = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            self._store.forget_all_but({trial.user_attrs.get("recipe_id", "") for trial in (*rivals, *running)})
            self._rivals = self._rule.rivals([read for rival in rivals if (read := self._read(rival)) is not None])
        return self._rule.explain_against(self._store.losses(number, recipe_id, sorted(done)), self._rivals)

    def to_beat(self, recipe: Recipe, fold: int) -> Points:
        """What a fine-tuning has to be below during its first fold; nothing while there is too little to compare."""
        if self._rule is None or recipe.tuning == "head":
            return ()
        self._look()
        complete = self._losses[: 2 * self._rule.k]
        if len(complete) < self._rule.k:
            return ()
        goal = complete[self._rule.k - 1][fold] + self._rule.z * fold_spread(complete)
        return curve_to_beat(list(self._tuned_curves().values()), goal)

    def _tuned_curves(self) -> Curves:
        """Of the finished folds of the latest fine-tunings, and of those that run."""
        new = self._newly_ended.of(self._study)
        running = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        ended, going_on = ([self._curves_of(trial) for trial in some if _is_tuned(trial)] for some in (new, running))
        self._curves.extend(ended)
        return {fold: curve for curves in (*self._curves, *going_on) for fold, curve in curves.items()}

    def _curves_of(self, trial: FrozenTrial) -> Curves:
        """Of each of its finished folds; without folds that are missing or damaged."""
        recipe_id, curves = trial.user_attrs.get("recipe_id", ""), {}
        for fold in fold_losses(trial):
            with suppress(StoreError):
                curves[recipe_id, fold] = self._store.curve(recipe_id, fold)
        return {fold: curve for fold, curve in curves.items() if curve}

    def _look(self) -> None:
        """See whether further trials are complete: those that were do not change."""
        complete = complete_trials(self._study)
        if len(complete) == self._count:
            return
        self._count = len(complete)
        unique: dict[str, FrozenTrial] = {}
        for trial in complete:
            unique.setdefault(trial.user_attrs["recipe_id"], trial)
        self._complete = list(unique.values())
        self._losses = [fold_losses(trial) for trial in self._complete[:_ENOUGH]]
        self._rivals = None
        self._harder.clear()

    def _read(self, trial: FrozenTrial) -> TrialLosses | None:
        """Its losses, or None where a fold is missing or damaged: the next start of the search mends that."""
        try:
            return self._store.losses(trial.number, trial.user_attrs["recipe_id"], sorted(fold_losses(trial)))
        except StoreError:
            return None


def _is_tuned(trial: FrozenTrial) -> bool:
    return trial.user_attrs.get("tuning") == "full"
