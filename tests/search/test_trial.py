"""One trial: the order of its folds, and the end of one that falls behind in its first fold."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from optuna.trial import TrialState

from automl_car.fold_records import FoldResult, FoldTask
from automl_car.records import fingerprint
from automl_car.search.evidence import FOLD_LOSSES
from automl_car.search.judge import Judge
from automl_car.search.study import INTERRUPTED, OVERRIDES
from automl_car.search.trial import fold_order

Desk = Any  # see conftest.py
TO_BEAT = ((0.3, 1.0), (1.0, 0.5))


# ---- the order of folds ---------------------------------------------------------------------------------------------


def test_folds_are_trained_in_turn_from_one_that_the_recipe_decides() -> None:
    # Hexadecimal: 0x10 = 16 is 1 more than a multiple of 5, and 0xff = 255 is one.
    assert fold_order("0000000000000010", 5) == (1, 2, 3, 4, 0)
    assert fold_order("00000000000000ff", 5) == (0, 1, 2, 3, 4)


def test_the_order_is_the_same_each_time() -> None:
    recipe_id = fingerprint("a recipe")
    assert len({fold_order(recipe_id, 5) for _ in range(3)}) == 1


def test_recipes_begin_equally_often_with_each_fold() -> None:
    first = Counter(fold_order(fingerprint(number), 5)[0] for number in range(1000))
    assert set(first) == set(range(5))
    assert all(abs(count - 200) < 60 for count in first.values())  # four standard errors and more


# ---- a first fold that falls behind ---------------------------------------------------------------------------------


def _beaten(task: FoldTask) -> FoldResult:
    reason = "it would not have caught up"
    return FoldResult(task.recipe_id, task.fold, "beaten", 0.7, 0.8, 1.0, (), 12.3, reason=reason)


def test_a_trial_that_is_beaten_in_its_first_fold_is_pruned_there_and_says_why(desk: Desk) -> None:
    desk.first, desk.executor.train = (), _beaten
    (trial,) = desk.go(1)
    (task,) = desk.executor.submitted
    assert (trial.state, trial.user_attrs[INTERRUPTED]) == (TrialState.PRUNED, False)
    assert trial.user_attrs["reason"] == f"fold {task.fold}: it would not have caught up"
    assert desk.view.outcomes[-1].word == "pruned"


def test_what_a_beaten_fold_had_reached_is_what_the_sampler_learns(desk: Desk) -> None:
    desk.first, desk.executor.train = (), _beaten
    (trial,) = desk.go(1)
    assert trial.intermediate_values == {0: 0.7}
    assert trial.user_attrs["seconds"] == 12.3


def test_a_beaten_fold_is_none_of_the_trials_folds(desk: Desk) -> None:
    desk.first, desk.executor.train = (), _beaten
    (trial,) = desk.go(1)
    assert FOLD_LOSSES not in trial.user_attrs


def test_only_the_first_fold_has_something_to_beat(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Judge, "to_beat", lambda self, recipe, fold: TO_BEAT)
    desk.first = ()
    desk.go(1)
    assert [task.to_beat for task in desk.executor.submitted] == [TO_BEAT, (), ()]


def test_a_recipe_that_was_settled_beforehand_has_nothing_to_beat(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Judge, "to_beat", lambda self, recipe, fold: TO_BEAT)
    desk.first, desk.space = (), replace(desk.space, tunings=("full",))
    desk.study().enqueue_trial({}, user_attrs={OVERRIDES: {"epochs": 7}})
    desk.go(1)
    assert [task.to_beat for task in desk.executor.submitted] == [(), (), ()]
