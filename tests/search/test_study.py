"""Finding, sampling, counting and resuming the trials of studies."""

from __future__ import annotations

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from automl_car.errors import StudyError
from automl_car.search.growth import open_study
from automl_car.search.space import Space
from automl_car.search.study import (
    INTERRUPTED,
    NOT_OFFERED,
    OVERRIDES,
    RETRY_OF,
    close_interrupted,
    complete_trials,
    connect_file,
    counted_trials,
    load_study,
    make_sampler,
    storage_url,
)

IDENTITY = {"folds": "abc", "classes": 3, "settings": {"search": {"trials": 5}}}
SPACE = Space(
    backbones=("lite0",),
    augmentations=("none",),
    tunings=("head",),
    ranges={},
    full_sizes={},
    head_sizes={},
    views=(2,),
    params={},
    fixed={},
    weights={},
    weights_digests={},
    default_lr={},
)


def _open(folder: Path, *, seed: int = 0) -> optuna.Study:
    study = open_study("main", storage_url(folder, "main", None), IDENTITY, space=SPACE)
    study.sampler = make_sampler(seed, len(study.get_trials()), 3)
    return study


def _suggest(study: optuna.Study) -> float:
    trial = study.ask()
    value = trial.suggest_float("x", 0, 1)
    study.tell(trial, value)
    return value


# ---- where it is ----------------------------------------------------------------------------------------------------


def test_a_study_that_is_not_there_is_an_error_and_no_new_file(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="`other`"):
        load_study("other", storage_url(tmp_path, "other", None))
    assert list(tmp_path.iterdir()) == []


def test_a_dashboard_can_read_while_the_search_writes(tmp_path: Path) -> None:
    _open(tmp_path)
    connection = sqlite3.connect(tmp_path / "main.db")
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


# ---- the sampler ----------------------------------------------------------------------------------------------------


def test_a_resumed_study_does_not_repeat_its_points(tmp_path: Path) -> None:
    points = [_suggest(_open(tmp_path)) for _ in range(3)]
    assert len(set(points)) == 3


def test_the_same_seed_gives_the_same_points(tmp_path: Path) -> None:
    first = [_suggest(study) for study in [_open(tmp_path / "a")] for _ in range(6)]
    second = [_suggest(study) for study in [_open(tmp_path / "b")] for _ in range(6)]
    assert first == second


def test_another_seed_gives_other_points(tmp_path: Path) -> None:
    assert _suggest(_open(tmp_path / "a")) != _suggest(_open(tmp_path / "b", seed=1))


# ---- counting -------------------------------------------------------------------------------------------------------


def _add(study: optuna.Study, state: TrialState, value: float | None = None, **attributes: Any) -> None:
    study.add_trial(optuna.trial.create_trial(state=state, value=value, user_attrs=attributes))


def test_trials_count_when_they_have_ended_for_good(tmp_path: Path) -> None:
    study = _open(tmp_path)
    _add(study, TrialState.COMPLETE, 0.5)
    _add(study, TrialState.PRUNED)
    _add(study, TrialState.FAIL)
    _add(study, TrialState.FAIL, interrupted=True)
    _add(study, TrialState.WAITING)
    study.ask()
    assert counted_trials(study) == 2 + 1


def test_complete_trials_come_best_first(tmp_path: Path) -> None:
    study = _open(tmp_path)
    for value in (0.5, 0.3, 0.4):
        _add(study, TrialState.COMPLETE, value)
    _add(study, TrialState.PRUNED)
    assert [trial.number for trial in complete_trials(study)] == [1, 2, 0]


# ---- after a kill ---------------------------------------------------------------------------------------------------


def _waiting(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    return study.get_trials(states=(TrialState.WAITING,))


def test_a_trial_that_a_killed_driver_left_running_is_closed_and_its_recipe_waits(tmp_path: Path) -> None:
    study = _open(tmp_path)
    trial = study.ask()
    trial.set_user_attr(INTERRUPTED, True)
    trial.suggest_float("x", 0, 1)
    assert close_interrupted(study) == 1
    assert study.trials[0].state == TrialState.FAIL
    again = study.ask()
    assert again.suggest_float("x", 0, 1) == trial.params["x"]
    assert again.user_attrs[RETRY_OF] == 0


def test_a_recipe_is_queued_once_however_often_the_search_is_started(tmp_path: Path) -> None:
    study = _open(tmp_path)
    study.ask().set_user_attr(INTERRUPTED, True)
    assert [close_interrupted(study) for _ in range(3)] == [1, 0, 0]
    assert len(_waiting(study)) == 1


def test_a_retry_that_is_cut_off_again_waits_again(tmp_path: Path) -> None:
    study = _open(tmp_path)
    study.ask().set_user_attr(INTERRUPTED, True)
    close_interrupted(study)
    study.ask().set_user_attr(INTERRUPTED, True)
    assert close_interrupted(study) == 1
    assert _waiting(study)[0].user_attrs[RETRY_OF] == 1


def test_a_kill_right_after_the_trial_began_does_not_count_as_a_trial(tmp_path: Path) -> None:
    # Killed between `ask` and the driver's mark that the trial is unfinished.
    study = _open(tmp_path)
    study.enqueue_trial({"x": 0.25})
    study.ask()
    assert close_interrupted(study) == 1
    assert counted_trials(study) == 0
    assert study.ask().suggest_float("x", 0, 1) == 0.25


def test_a_kill_right_before_the_trial_is_told_does_not_lose_it(tmp_path: Path) -> None:
    # Killed between the driver's mark that the trial has ended and `tell`.
    study = _open(tmp_path)
    trial = study.ask()
    trial.suggest_float("x", 0, 1)
    trial.set_user_attr(INTERRUPTED, False)
    assert close_interrupted(study) == 1
    assert counted_trials(study) == 0


def test_a_kill_while_the_recipe_was_chosen_keeps_what_had_been_settled(tmp_path: Path) -> None:
    # A default that was enqueued comes back whole, and not with half of its parameters left to chance.
    study = _open(tmp_path)
    study.enqueue_trial({"x": 0.25, "y": 0.75})
    study.ask().suggest_float("x", 0, 1)
    close_interrupted(study)
    again = study.ask()
    assert (again.suggest_float("x", 0, 1), again.suggest_float("y", 0, 1)) == (0.25, 0.75)


def test_what_was_settled_before_the_trial_survives_the_retry(tmp_path: Path) -> None:
    study = _open(tmp_path)
    study.enqueue_trial({}, user_attrs={OVERRIDES: {"tuning": "full", "epochs": 4}})
    study.ask()
    close_interrupted(study)
    assert study.ask().user_attrs[OVERRIDES] == {"tuning": "full", "epochs": 4}


def test_failed_trials_are_not_tried_again(tmp_path: Path) -> None:
    study = _open(tmp_path)
    _add(study, TrialState.FAIL)
    assert close_interrupted(study) == 0


def test_an_interrupted_trial_of_what_is_no_longer_searched_is_not_tried_again(tmp_path: Path) -> None:
    study = _open(tmp_path)
    _add(study, TrialState.FAIL, **{INTERRUPTED: True, NOT_OFFERED: True})
    assert close_interrupted(study) == 0


def test_all_who_open_a_new_database_at_once_find_its_tables(tmp_path: Path) -> None:
    together, names = threading.Barrier(8), [f"{number}.db" for number in range(6)]

    def open_it(name: str) -> int:
        together.wait()
        return len(connect_file(tmp_path / name).get_all_studies())

    with ThreadPoolExecutor(8) as threads:
        for name in names:
            assert list(threads.map(open_it, [name] * 8)) == [0] * 8
