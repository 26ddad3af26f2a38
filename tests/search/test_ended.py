"""Ended trials are given out once each, in the order in which they were seen to have ended."""

from __future__ import annotations

import optuna
import pytest
from optuna.trial import TrialState

from automl_car.search.ended import NewlyEnded, ended_trials


@pytest.fixture
def study() -> optuna.Study:
    return optuna.create_study()


def _numbers(study: optuna.Study, seen: int = 0) -> list[int]:
    return [trial.number for trial in ended_trials(study, seen)]


def test_a_trial_that_runs_or_waits_has_not_ended(study: optuna.Study) -> None:
    study.ask()
    study.enqueue_trial({"x": 1})
    assert _numbers(study) == []


@pytest.mark.parametrize("state", [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL])
def test_every_way_to_end_is_an_end(study: optuna.Study, state: TrialState) -> None:
    study.tell(study.ask(), 0.5 if state == TrialState.COMPLETE else None, state=state)
    assert _numbers(study) == [0]


def test_one_that_ends_later_comes_behind_those_that_were_seen_before(study: optuna.Study) -> None:
    first, second, third = study.ask(), study.ask(), study.ask()
    study.tell(second, 0.5)
    assert _numbers(study) == [1]
    study.tell(third, 0.5)
    study.tell(first, 0.5)
    assert _numbers(study) == [1, 0, 2]


def test_those_that_were_seen_are_left_out(study: optuna.Study) -> None:
    trials = [study.ask() for _ in range(3)]
    study.tell(trials[2], 0.5)
    assert _numbers(study) == [2]
    study.tell(trials[0], 0.5)
    assert _numbers(study, seen=1) == [0]
    assert _numbers(study, seen=2) == []


def test_each_is_given_once_to_each_who_keeps_track(study: optuna.Study) -> None:
    one, other = NewlyEnded(), NewlyEnded()
    study.tell(study.ask(), 0.5)
    assert [trial.number for trial in one.of(study)] == [0]
    study.tell(study.ask(), 0.5)
    assert [trial.number for trial in one.of(study)] == [1]
    assert [trial.number for trial in other.of(study)] == [0, 1]
    assert list(one.of(study)) == []


def test_two_studies_have_nothing_in_common(study: optuna.Study) -> None:
    other = optuna.create_study()
    study.tell(study.ask(), 0.5)
    assert (_numbers(study), _numbers(other)) == ([0], [])


def test_what_was_given_out_stays_as_it_was(study: optuna.Study) -> None:
    study.tell(study.ask(), 0.5)
    before = ended_trials(study)
    study.tell(study.ask(), 0.5)
    ended_trials(study)
    assert [trial.number for trial in before] == [0]
