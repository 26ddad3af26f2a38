"""Reading studies for people."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState, create_trial

from automl_car.errors import DivergedError, ExecutorError, StudyError
from automl_car.fold_records import FoldTask
from automl_car.search.evidence import FOLD_LOSSES
from automl_car.search.overview import latest_study, list_studies, show_study

Desk = Any  # see conftest.py


@pytest.fixture
def searched(desk: Desk) -> Desk:
    """A study of a complete, a pruned, a failed and another complete trial, and one that was stopped."""

    def train(task: FoldTask) -> float:
        number = len(desk.study().trials) - 1
        if number == 1 and task.fold == 1:
            raise DivergedError("the loss was nan")
        if number == 2:
            raise ExecutorError("it was killed by SIGKILL")
        if number == 4 and task.fold == 1:
            raise KeyboardInterrupt
        return 0.5 if number == 0 else 0.4

    desk.first, desk.executor.train = (), train
    with pytest.raises(KeyboardInterrupt):
        desk.go(5)
    return desk


def test_a_list_of_studies_counts_how_trials_ended(searched: Desk) -> None:
    (row,) = list_studies(searched.folder / "studies", None)
    assert (row.name, row.trials, row.complete, row.pruned, row.failed) == ("main", 4, 2, 1, 1)
    assert row.best == pytest.approx(0.4)
    assert row.last.startswith("20")


def test_a_study_shows_complete_trials_best_first_and_then_the_others(searched: Desk) -> None:
    trials = show_study(searched.folder / "studies", "main", None).trials
    assert [(trial.number, trial.state) for trial in trials] == [
        (3, "complete"),
        (0, "complete"),
        (1, "pruned"),
        (2, "failed"),
        (4, "stopped"),
    ]


def test_a_shown_trial_has_its_folds_and_what_it_trained(searched: Desk) -> None:
    trial = show_study(searched.folder / "studies", "main", None).trials[0]
    assert (trial.log_loss, trial.fold_log_loss) == (pytest.approx(0.4), (0.4, 0.4, 0.4))
    assert (trial.tuning, trial.augmentation, trial.seconds) == ("head", "none", 3.0)
    assert trial.image_size == {"small": 224, "large": 256}[trial.backbone]


def test_a_trial_that_ended_early_says_why_and_has_no_log_loss(searched: Desk) -> None:
    by_number = {trial.number: trial for trial in show_study(searched.folder / "studies", "main", None).trials}
    assert (by_number[1].reason, by_number[1].log_loss) == ("the loss was nan", None)
    assert (by_number[2].reason, by_number[2].log_loss) == ("it was killed by SIGKILL", None)


def test_the_settings_of_a_study_are_shown(searched: Desk) -> None:
    searched.study().set_user_attr("settings", {"search": {"trials": 7}})
    assert show_study(searched.folder / "studies", "main", None).settings == {"search": {"trials": 7}}


def test_trials_that_wait_or_run_are_no_ended_trials(desk: Desk) -> None:
    study = desk.study()
    study.enqueue_trial({})
    study.ask()
    study.enqueue_trial({})
    (row,) = list_studies(desk.folder / "studies", None)
    assert (row.trials, row.best) == (0, None)
    assert [trial.state for trial in show_study(desk.folder / "studies", "main", None).trials] == ["running"]


def test_studies_of_a_shared_storage_are_listed_too(searched: Desk, tmp_path: Path) -> None:
    url = f"sqlite:///{searched.folder / 'studies' / 'main.db'}"
    (row,) = list_studies(tmp_path / "nowhere", url)
    assert (row.name, row.trials) == ("main", 4)


def test_a_folder_without_studies_has_an_empty_list(tmp_path: Path) -> None:
    assert list_studies(tmp_path, None) == ()


def test_the_latest_study_is_the_one_written_to_last(tmp_path: Path) -> None:
    for age, name in enumerate(["new", "old", "oldest"]):
        (tmp_path / f"{name}.db").touch()
        os.utime(tmp_path / f"{name}.db", (1e9 - age, 1e9 - age))
    assert latest_study(tmp_path) == "new"


def test_a_study_whose_last_writes_are_still_in_the_log_is_the_latest(tmp_path: Path) -> None:
    # In write-ahead mode a running (or killed) search writes to NAME.db-wal, and NAME.db stays as old as it was.
    for name, time in (("running.db", 1), ("running.db-wal", 30), ("finished.db", 20)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (1e9 + time, 1e9 + time))
    assert latest_study(tmp_path) == "running"


def test_without_a_study_there_is_no_latest_one(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="no study"):
        latest_study(tmp_path)


def test_a_study_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="`mian`"):
        show_study(tmp_path, "mian", None)


def test_a_fold_that_was_not_trained_leaves_a_gap(desk: Desk) -> None:
    desk.first = ()
    desk.go(1)
    study = desk.study()
    study.add_trial(create_trial(state=TrialState.PRUNED, user_attrs={FOLD_LOSSES: {"1": 0.5}}))
    shown = show_study(desk.folder / "studies", "main", None)
    assert shown.trials[-1].fold_log_loss == (None, 0.5)
