"""Compares the trial that runs with the study's complete ones: is it worth going on, and what is it worth."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from itertools import islice

import optuna
from optuna.trial import FrozenTrial, TrialState

from automl_car.curve import curve_to_beat
from automl_car.errors import StoreError
from automl_car.records import Epoch, Points, Recipe
from automl_car.search.evidence import FoldStore, fold_losses, how_much_harder
from automl_car.search.pruning import PruningRule, TrialLosses, fold_spread
from automl_car.search.study import complete_trials

_ENOUGH = 250  # of the best trials say how hard the folds are, and so many of the latest how curves go


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
        self._known: tuple[int, list[FrozenTrial]] = (0, [])
        self._harder: dict[frozenset[int], float] = {}  # by folds: how much harder than all they are

    def expected(self, done: Mapping[int, float]) -> float:
        """The log loss that a trial with these folds will probably have over all folds."""
        complete, folds = self._complete()[:_ENOUGH], frozenset(done)
        if folds not in self._harder:
            self._harder[folds] = how_much_harder(sorted(folds), [fold_losses(trial) for trial in complete])
        return statistics.fmean(done.values()) - self._harder[folds]

    def why_prune(self, number: int, recipe_id: str, done: Mapping[int, float]) -> str | None:
        """Why the trial is pruned, or None when it goes on."""
        if self._rule is None:
            return None
        rivals = self._complete()[: 2 * self._rule.k]
        self._store.forget_all_but({recipe_id} | {trial.user_attrs["recipe_id"] for trial in rivals})
        losses = self._store.losses(number, recipe_id, sorted(done))
        return self._rule.explain(losses, [read for rival in rivals if (read := self._read(rival)) is not None])

    def to_beat(self, recipe: Recipe, fold: int) -> Points:
        """What a fine-tuning has to be below during its first fold; nothing while there is too little to compare."""
        if self._rule is None or recipe.tuning == "head":
            return ()
        complete = [fold_losses(trial) for trial in self._complete()[: 2 * self._rule.k]]
        if len(complete) < self._rule.k:
            return ()
        goal = complete[self._rule.k - 1][fold] + self._rule.z * fold_spread(complete)
        trials = reversed(self._study.get_trials(deepcopy=False))
        tuned = islice((trial for trial in trials if trial.user_attrs.get("tuning") == "full"), _ENOUGH)
        done = {(trial.user_attrs["recipe_id"], finished) for trial in tuned for finished in fold_losses(trial)}
        return curve_to_beat([self._curve(*one) for one in sorted(done)], goal)

    def _curve(self, recipe_id: str, fold: int) -> tuple[Epoch, ...]:
        """Epochs of a finished fold; none where it is missing or damaged."""
        try:
            return self._store.curve(recipe_id, fold)
        except StoreError:
            return ()

    def _complete(self) -> list[FrozenTrial]:
        """Complete trials, best first; equal recipes once."""
        count = len(self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
        if count != self._known[0]:  # they do not change, so as long as there are as many, they are the same
            unique: dict[str, FrozenTrial] = {}
            for trial in complete_trials(self._study):
                unique.setdefault(trial.user_attrs["recipe_id"], trial)
            self._known = (count, list(unique.values()))
            self._harder.clear()
        return self._known[1]

    def _read(self, trial: FrozenTrial) -> TrialLosses | None:
        """Its losses, or None where a fold is missing or damaged: the next start of the search mends that."""
        try:
            return self._store.losses(trial.number, trial.user_attrs["recipe_id"], sorted(fold_losses(trial)))
        except StoreError:
            return None
