"""The fine-tuning that ends a search with a time limit: when it comes, and that it fits."""

from __future__ import annotations

import time
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState

from automl_car.errors import ExecutorError
from automl_car.fold_records import FoldTask, Speed, SpeedTask
from automl_car.search.cost import Counts
from automl_car.search.finale import Finale
from automl_car.search.study import OVERRIDES

Desk = Any  # see conftest.py
PHOTOS, TEST_PHOTOS, CLASSES = 1000, 200, 10


class Clock:
    """A clock that only moves when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1e9
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def _search(desk: Desk, trials: int) -> list[FrozenTrial]:
    """A search with a finale, as the pipeline sets it up."""
    finale = Finale(trials, Counts(PHOTOS, TEST_PHOTOS, 3), CLASSES, desk.job(), desk.view)

    def before_trial() -> None:
        finale.enqueue()

    return desk.go(trials, before_trial=before_trial)


def _fine_tunings(desk: Desk) -> list[FoldTask]:
    return [task for task in desk.executor.submitted if task.recipe.tuning == "full"]


def _time_needed(task: FoldTask, speed: Speed, folds: int = 3) -> float:
    """Seconds of training and judging all folds, by hand: photos and mirror images are judged."""
    training = task.recipe.epochs * PHOTOS * (folds - 1) / speed.training
    return training + (task.recipe.epochs * 2 * PHOTOS + folds * 2 * TEST_PHOTOS) / speed.validation


def test_it_comes_once_when_heads_have_had_their_trials(desk: Desk, clock: Clock) -> None:
    desk.deadline = clock.now + 10_000
    trials = _search(desk, 5)
    tunings = [trial.user_attrs["tuning"] for trial in trials]
    assert tunings == ["head"] * 4 + ["full"]


def test_it_comes_early_when_heads_have_had_their_time(desk: Desk, clock: Clock) -> None:
    desk.deadline = clock.now + 10_000
    train = desk.executor.train

    def slow(task: FoldTask) -> float:
        clock.now += 700
        return float(train(task))

    desk.executor.train = slow
    trials = _search(desk, 50)
    tunings = [trial.user_attrs["tuning"] for trial in trials if trial.state == TrialState.COMPLETE]
    assert 1 <= tunings.index("full") <= 3


def test_its_recipe_fits_into_the_time_left(desk: Desk, clock: Clock) -> None:
    desk.deadline = clock.now + 1_000
    _search(desk, 3)
    task = _fine_tunings(desk)[0]
    assert task.recipe.epochs >= 1
    assert _time_needed(task, Speed(100.0, 300.0)) <= 1_000


def test_more_time_means_more_epochs_or_larger_photos(desk: Desk, clock: Clock) -> None:
    desk.executor.speed = lambda task: Speed(1e6 / task.recipe.image_size**2, 3e6 / task.recipe.image_size**2)
    efforts = []
    for number, seconds in enumerate((1_000, 4_000, 100_000)):
        own = type(desk)(desk.folder / str(number), executor=type(desk.executor)(speed=desk.executor.speed))
        own.deadline = clock.now + seconds
        _search(own, 3)
        recipe = _fine_tunings(own)[0].recipe
        efforts.append(recipe.epochs * recipe.image_size**2)
    assert efforts == sorted(efforts)
    assert efforts[0] < efforts[-1]


def test_the_speed_is_measured_with_what_will_be_trained(desk: Desk, clock: Clock) -> None:
    desk.deadline = clock.now + 10_000
    _search(desk, 3)
    measured, trained = desk.executor.measured[-1], _fine_tunings(desk)[0].recipe
    assert (measured.recipe.backbone, measured.recipe.image_size, measured.recipe.batch_size, measured.num_classes) == (
        trained.backbone,
        trained.image_size,
        trained.batch_size,
        CLASSES,
    )


@pytest.mark.parametrize(("seconds", "folds"), [(420, 3), (280, 2), (150, 1)])
def test_where_not_all_folds_fit_it_is_made_for_as_many_as_do(
    desk: Desk, clock: Clock, seconds: int, folds: int
) -> None:
    # Five epochs of a fold take 5 (667 / 50 + 667 / 150) + 2.7 s at any size: 92 s. 88 % of the time are planned.
    desk.deadline = clock.now + seconds
    desk.executor.speed = lambda task: Speed(50.0, 150.0)
    _search(desk, 3)
    recipe = _fine_tunings(desk)[0].recipe
    assert recipe.epochs >= 5
    told = [note for note in desk.view.notes if "about" in note and "of the folds" in note]
    assert len(told) == (folds < 3)
    assert all(f"about {folds} of the folds" in note for note in told)


def test_on_a_machine_that_is_too_slow_heads_go_on_and_a_note_says_so(desk: Desk, clock: Clock) -> None:
    desk.deadline = clock.now + 100
    desk.executor.speed = lambda task: Speed(0.1, 0.3)
    trials = _search(desk, 4)
    assert [trial.user_attrs["tuning"] for trial in trials] == ["head"] * 4
    assert any("no fine-tuning" in note for note in desk.view.notes)


def test_a_speed_that_cannot_be_measured_does_not_end_the_search(desk: Desk, clock: Clock) -> None:
    def killed(task: SpeedTask) -> Speed:
        raise ExecutorError("The training process was killed by SIGKILL.")

    desk.deadline = clock.now + 10_000
    desk.executor.speed = killed
    trials = _search(desk, 4)
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 4
    assert any("SIGKILL" in note for note in desk.view.notes)


def test_before_a_head_is_complete_it_does_not_come(desk: Desk, clock: Clock) -> None:
    def failing(task: FoldTask) -> float:
        raise ExecutorError(f"reason {len(desk.executor.submitted)}")

    desk.deadline = clock.now + 10_000
    desk.executor.train = failing
    assert all(trial.user_attrs["tuning"] == "head" for trial in _search(desk, 3))


def test_a_study_that_goes_on_has_no_second_finale(desk: Desk, clock: Clock) -> None:
    desk.deadline = clock.now + 10_000
    _search(desk, 4)
    _search(desk, 8)
    assert len({task.recipe_id for task in _fine_tunings(desk)}) == 1


def test_a_stopped_finale_goes_on_with_the_same_recipe(desk: Desk, clock: Clock) -> None:
    desk.deadline = clock.now + 10_000
    train = desk.executor.train

    def stopping(task: FoldTask) -> float:
        if len(_fine_tunings(desk)) == 2:
            raise KeyboardInterrupt
        return float(train(task))

    desk.executor.train = stopping
    with pytest.raises(KeyboardInterrupt):
        _search(desk, 4)
    desk.executor.train = train
    trials = _search(desk, 4)
    assert len({task.recipe_id for task in _fine_tunings(desk)}) == 1
    first, *others = [task.fold for task in _fine_tunings(desk)]
    assert others == [(first + 1) % 3, (first + 1) % 3, (first + 2) % 3]  # the second one was cut off
    assert trials[-1].state == TrialState.COMPLETE
    assert trials[-1].user_attrs[OVERRIDES]["tuning"] == "full"
