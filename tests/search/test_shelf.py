"""Choosing from a part of a long study: short ones are not touched, and what TPE takes for good stays the same."""

from __future__ import annotations

import random

import optuna
import pytest
from optuna.samplers._tpe.sampler import _split_trials
from optuna.trial import FrozenTrial, TrialState

from automl_car.search.shelf import MOST, Shelf


def study_of(trials: int) -> optuna.Study:
    """Random trials, one in three of which is pruned; the same ones each time."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for number in range(trials):
        trial = study.ask()
        value = trial.suggest_float("x", 0, 1)
        trial.report(value, step=number % 4)
        study.tell(trial, None if number % 3 == 2 else value, state=TrialState.PRUNED if number % 3 == 2 else None)
    return study


def best_and_latest(ended: list[FrozenTrial], most: int = MOST) -> list[FrozenTrial]:
    """With trials that end in any order."""
    shelf = Shelf()
    for trial in random.Random(0).sample(ended, len(ended)):
        shelf.add(trial)
    return shelf.best_and_latest(most)


@pytest.mark.parametrize("trials", [5, 40, MOST])
def test_a_study_of_usual_length_is_looked_at_as_a_whole(trials: int) -> None:
    whole = study_of(trials).get_trials(deepcopy=False)
    assert best_and_latest(whole) == whole


def test_of_a_longer_one_tpe_takes_the_same_trials_for_good() -> None:
    study = study_of(3 * MOST)
    whole = study.get_trials(deepcopy=False)
    part = best_and_latest(whole)

    def good(trials: list[FrozenTrial]) -> list[int]:
        return [trial.number for trial in _split_trials(study, trials, 25)[0]]

    assert len(part) == MOST
    assert good(part) == good(whole)
    assert [trial.number for trial in part] == sorted(trial.number for trial in part)


def test_where_most_are_pruned_the_good_ones_are_the_same_too() -> None:
    study = study_of(3 * MOST)
    pruned = [trial for trial in study.get_trials(deepcopy=False) if trial.state == TrialState.PRUNED]
    assert len(pruned) == MOST
    part = best_and_latest(pruned, 100)
    good = [[trial.number for trial in _split_trials(study, trials, 25)[0]] for trials in (part, pruned)]
    assert good[0] == good[1]
