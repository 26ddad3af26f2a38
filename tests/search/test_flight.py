"""Several folds in flight: trials fill the slots, then their further folds do, and nothing is decided otherwise."""

from __future__ import annotations

import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState

from automl_car.errors import DivergedError, KilledError, MachineError, PluginError, StudyError
from automl_car.fold_records import FoldResult, FoldTask
from automl_car.search.chooser import Chooser
from automl_car.search.cost import Counts
from automl_car.search.evidence import FOLD_LOSSES
from automl_car.search.finale import Finale
from automl_car.search.flying import Fold
from automl_car.search.landing import Landings
from automl_car.search.pruning import PruningRule
from automl_car.search.study import INTERRUPTED, RETRY_OF, counted_trials

Desk = Any  # see conftest.py


@dataclass
class Harbour:
    """Stands in for an executor of several slots: who waits for folds is given one of those in flight, at random."""

    own: Any  # the desk's executor, which makes up the results
    slots_now: Callable[[], int]
    random: random.Random = field(default_factory=lambda: random.Random(0))
    flying: list[tuple[FoldTask, Future[FoldResult]]] = field(default_factory=list)
    most: int = 0
    log: list[str] = field(default_factory=list)

    def slots(self) -> int:
        return self.slots_now()

    def submit(self, task: FoldTask) -> Future[FoldResult]:
        future: Future[FoldResult] = Future()
        self.flying.append((task, future))
        self.most = max(self.most, len(self.flying))
        self.log.append(f"trial {task.trial} fold {task.fold}")
        return future

    def land(self) -> None:
        """Answer one of those that fly."""
        if not self.flying:
            return
        task, future = self.flying.pop(self.random.randrange(len(self.flying)))
        self.log.append("landed")
        answer = self.own.submit(task)
        if error := answer.exception():
            future.set_exception(error)
        else:
            future.set_result(answer.result())

    def __getattr__(self, name: str) -> Any:
        return getattr(self.own, name)


_WAIT = Landings.wait


def _before_waiting(patch: pytest.MonkeyPatch, land: Callable[[], None]) -> None:
    """Let something happen whenever the driver is about to wait, for which it does not wait any longer."""

    def wait(landings: Landings, seconds: float) -> list[Fold]:
        land()
        return _WAIT(landings, 0)

    patch.setattr(Landings, "wait", wait)


@pytest.fixture
def moor(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Harbour]:
    """Gives a desk so many slots."""

    def give(desk: Desk, slots: int | Callable[[], int], seed: int = 0) -> Harbour:
        slots_now = slots if callable(slots) else lambda: slots
        desk.executor = harbour = Harbour(desk.executor, slots_now, random.Random(seed))
        _before_waiting(monkeypatch, harbour.land)
        return harbour

    return give


def _told(trials: list[FrozenTrial]) -> list[Any]:
    """All that is decided of trials."""
    return [
        (
            trial.number,
            trial.state,
            trial.value,
            trial.params,
            trial.intermediate_values,
            {name: value for name, value in trial.user_attrs.items() if name != "seconds"},
        )
        for trial in trials
    ]


def _unlucky(task: FoldTask) -> float:
    """Made-up log losses; some recipes fail or diverge, each in one of its folds."""
    digit = int(task.recipe_id, 16)
    if digit % 7 == 0 and task.fold == digit % 3:
        raise DivergedError(f"Fold {task.fold} of {task.recipe_id}: nan.")
    if digit % 5 == 0 and task.fold == digit % 2:
        raise PluginError(f"{task.recipe_id} has no head")
    return 0.4 + digit % 89 / 100 + 0.05 * task.fold


# ---- one trial at a time, whatever the number of slots --------------------------------------------------------------


@pytest.mark.parametrize(
    ("slots", "seed"), [(3, 1), *(pytest.param(*one, marks=pytest.mark.slow) for one in ((2, 0), (4, 2), (8, 3)))]
)
def test_with_one_trial_at_a_time_the_trials_are_the_same_with_any_number_of_slots(
    desk: Desk, moor: Callable[..., Harbour], tmp_path: Path, slots: int, seed: int
) -> None:
    rule = PruningRule(folds=3, k=2, startup_trials=6)
    alone = type(desk)(tmp_path / "alone", rule=rule)
    alone.executor.train = desk.executor.train = _unlucky
    expected = _told(alone.go(12))
    desk.rule, desk.parallel_trials = rule, 1
    harbour = moor(desk, slots, seed)
    assert _told(desk.go(12)) == expected
    assert {trial[1] for trial in expected} == {TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL}
    assert harbour.most == min(slots, 3) if slots < 4 else harbour.most > 3
    assert len(alone.executor.submitted) < len(desk.executor.submitted)


def test_with_one_slot_the_person_is_told_the_same_in_the_same_order(
    desk: Desk, moor: Callable[..., Harbour], tmp_path: Path
) -> None:
    rule = PruningRule(folds=3, k=2, startup_trials=6)
    alone = type(desk)(tmp_path / "alone", rule=rule)
    alone.executor.train = desk.executor.train = _unlucky
    alone.go(12)
    desk.rule = rule
    moor(desk, 1)
    desk.go(12)
    assert desk.view.events == alone.view.events
    assert desk.view.notes == alone.view.notes


# ---- slots are filled -----------------------------------------------------------------------------------------------


def test_trials_fill_the_slots_before_any_fold_has_landed(desk: Desk, moor: Callable[..., Harbour]) -> None:
    harbour = moor(desk, 3)
    desk.go(6)
    first = harbour.log[: harbour.log.index("landed")]
    assert [line.split(" fold")[0] for line in first] == ["trial 0", "trial 1", "trial 2"]
    assert harbour.most == 3


def test_when_trials_run_out_their_further_folds_fill_the_slots(desk: Desk, moor: Callable[..., Harbour]) -> None:
    desk.first, harbour = (), moor(desk, 3)
    (trial,) = desk.go(1)
    assert harbour.log[:4] == [f"trial 0 fold {fold}" for fold in map(int, trial.user_attrs[FOLD_LOSSES])] + ["landed"]
    assert trial.state == TrialState.COMPLETE


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_no_fold_is_trained_twice_and_never_are_more_in_flight_than_there_are_slots(
    desk: Desk, moor: Callable[..., Harbour], seed: int
) -> None:
    desk.rule = PruningRule(folds=3, k=2, startup_trials=5)
    desk.executor.train = _unlucky
    harbour = moor(desk, 4, seed)
    trials = desk.go(9)
    assert counted_trials(desk.study()) == len(trials) == 9
    assert harbour.most == 4
    counts = Counter((task.recipe_id, task.fold) for task in desk.executor.submitted)
    assert set(counts.values()) == {1}


def test_slots_that_come_and_go_are_filled_and_left(desk: Desk, moor: Callable[..., Harbour]) -> None:
    in_flight: list[int] = []
    harbour: Harbour

    def slots() -> int:
        landed = harbour.log.count("landed")
        return 1 if landed < 4 else 4 if landed < 12 else 2

    harbour = moor(desk, slots)
    land = harbour.land

    def watch() -> None:
        in_flight.append(len(harbour.flying))
        land()

    with pytest.MonkeyPatch.context() as patch:
        _before_waiting(patch, watch)
        desk.go(10)
    assert (in_flight[:4], in_flight[4:12], max(in_flight[14:])) == ([1] * 4, [4] * 8, 2)


def test_trials_in_flight_are_no_more_than_the_settings_say(desk: Desk, moor: Callable[..., Harbour]) -> None:
    desk.parallel_trials = 2
    harbour = moor(desk, 4)
    desk.go(8)
    first = harbour.log[: harbour.log.index("landed")]
    assert Counter(line.split(" fold")[0] for line in first) == {"trial 0": 2, "trial 1": 2}


def test_two_trials_of_one_recipe_in_flight_share_their_folds(desk: Desk, moor: Callable[..., Harbour]) -> None:
    desk.first = ()
    settled = {"backbone": "small", "head.shrinkage": 0.3, "head.lr_multiplier": 1.0}
    for _ in range(2):
        desk.study().enqueue_trial(settled)
    moor(desk, 3)
    first, second = desk.go(2)
    assert first.value == second.value
    assert len(desk.executor.submitted) == 3


# ---- folds ahead of their turn --------------------------------------------------------------------------------------


def test_a_fold_that_was_trained_ahead_of_a_pruned_trial_is_not_looked_at(
    desk: Desk, moor: Callable[..., Harbour]
) -> None:
    desk.first, desk.rule, desk.parallel_trials = (), PruningRule(folds=3, k=2, startup_trials=1), 1
    known: list[str] = []

    def train(task: FoldTask) -> float:
        known.extend([task.recipe_id] if task.recipe_id not in known else [])
        return 5.0 if known.index(task.recipe_id) == 2 else 0.5

    desk.executor.train = train
    moor(desk, 3)
    *_, last = desk.go(3)
    assert (last.state, len(last.user_attrs[FOLD_LOSSES])) == (TrialState.PRUNED, 1)
    assert [event for event in desk.view.events if event[:2] == ("fold ended", 2)] == [
        ("fold ended", 2, int(next(iter(last.user_attrs[FOLD_LOSSES]))), False)
    ]


def test_what_goes_wrong_ahead_of_its_turn_is_told_in_its_turn(desk: Desk, moor: Callable[..., Harbour]) -> None:
    desk.first = ()
    order: list[int] = []

    def train(task: FoldTask) -> float:
        if task.fold == order[1]:
            raise DivergedError("the loss was nan")
        return 0.5

    desk.executor.train = train
    harbour = moor(desk, 3)
    land = harbour.land

    def second_first() -> None:
        order[:] = order or [task.fold for task, _ in harbour.flying]
        harbour.flying.sort(key=lambda one: one[0].fold != order[1])
        harbour.random = random.Random(0)
        harbour.random.randrange = lambda count: 0  # type: ignore[method-assign, assignment, misc]
        land()

    with pytest.MonkeyPatch.context() as patch:
        _before_waiting(patch, second_first)
        (trial,) = desk.go(1)
    assert (trial.state, trial.intermediate_values) == (TrialState.PRUNED, {0: 0.5})
    assert trial.user_attrs["reason"] == "the loss was nan"


def test_the_checkpoint_of_a_fold_in_flight_stays_when_its_trial_ends(desk: Desk, moor: Callable[..., Harbour]) -> None:
    desk.first, harbour = (), moor(desk, 3)
    seen: list[bool] = []

    def train(task: FoldTask) -> float:
        for other, _ in harbour.flying:
            other.fold_directory.mkdir(parents=True, exist_ok=True)
            (other.fold_directory / "checkpoint.json").write_text("{}")
        raise DivergedError("nan")

    desk.executor.own.train = train
    ended = desk.view.trial_ended

    def look(number: int, outcome: Any) -> None:
        seen.extend((other.fold_directory / "checkpoint.json").exists() for other, _ in harbour.flying)
        ended(number, outcome)

    desk.view.trial_ended = look
    desk.go(1)
    assert all(seen)


# ---- the first trials -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, None], ids=["in any order", "in turn"])
def test_of_the_first_trials_one_is_trained_to_its_end_and_of_the_others_the_best(
    desk: Desk, moor: Callable[..., Harbour], seed: int | None
) -> None:
    losses = [0.9, 0.8, 0.3, 0.7, 0.2, 0.95]
    desk.first, desk.rule = (), PruningRule(folds=3, k=2, startup_trials=len(losses))
    known: dict[int, float] = {}
    desk.executor.train = lambda task: known.setdefault(task.trial, losses[task.trial])
    harbour = moor(desk, 3, seed or 0)
    if seed is None:
        harbour.random.randrange = lambda count: 0  # type: ignore[method-assign, assignment, misc]
    trials = desk.go(len(losses))
    states = [trial.state.name for trial in trials]
    assert states[2] == states[4] == "COMPLETE"
    assert states.count("COMPLETE") <= 4
    assert all(trial.user_attrs[FOLD_LOSSES] for trial in trials)
    assert sum("get one fold each" in note for note in desk.view.notes) <= 1


# ---- what fails -----------------------------------------------------------------------------------------------------


def test_a_lost_process_costs_its_own_fold_a_second_attempt_and_no_other_one(
    desk: Desk, moor: Callable[..., Harbour]
) -> None:
    lost: set[tuple[str, int]] = set()

    def train(task: FoldTask) -> float:
        key = (task.recipe_id, task.fold)
        if task.fold == 1 and key not in lost:
            lost.add(key)
            raise KilledError("The training process was killed by SIGKILL.")
        return 0.5

    desk.executor.train = train
    moor(desk, 3)
    trials = desk.go(4)
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 4
    again = [task for task in desk.executor.submitted if task.workers == 0]
    assert sorted((task.recipe_id, task.fold) for task in again) == sorted(lost)
    assert {note.partition("SIGKILL. ")[2] for note in desk.view.notes} == {
        f"Fold 1 of trial {number} is trained again in a new one." for number in range(4)
    }


def test_three_equal_failures_end_the_search_and_interrupt_what_is_in_flight(
    desk: Desk, moor: Callable[..., Harbour]
) -> None:
    def train(task: FoldTask) -> float:
        raise PluginError("`toy` has no torch.nn.Linear")

    desk.executor.train = train
    moor(desk, 4)
    with pytest.raises(StudyError, match="3 trials in a row failed"):
        desk.go(50)
    trials = desk.study().get_trials()
    ended = [trial for trial in trials if trial.state == TrialState.FAIL]
    assert sum(not trial.user_attrs[INTERRUPTED] for trial in ended) == 3
    assert sum(trial.user_attrs[INTERRUPTED] for trial in ended) == len(ended) - 3 >= 3
    assert not [trial for trial in trials if trial.state == TrialState.RUNNING]


def test_what_the_machine_refuses_one_fold_stops_the_search_and_all_trials_go_on_later(
    desk: Desk, moor: Callable[..., Harbour]
) -> None:
    def train(task: FoldTask) -> float:
        raise MachineError("`x` cannot be written: No space left on device.")

    desk.executor.train, desk.first = train, ()
    moor(desk, 3)
    with pytest.raises(MachineError):
        desk.go(3)
    stopped = desk.study().get_trials()
    assert [trial.user_attrs[INTERRUPTED] for trial in stopped] == [True] * 3
    desk.executor.own.train = lambda task: 0.5
    desk.executor.flying.clear()
    desk.go(3)
    assert counted_trials(desk.study()) == 3
    assert {trial.user_attrs.get(RETRY_OF) for trial in desk.study().get_trials()} == {None, 0, 1, 2}


# ---- stops ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [1, 4, pytest.param(9, marks=pytest.mark.slow)])
def test_a_search_stopped_with_several_folds_in_flight_goes_on_and_comes_to_its_end(
    desk: Desk, moor: Callable[..., Harbour], stop: int
) -> None:
    desk.rule, train = PruningRule(folds=3, k=2, startup_trials=4), desk.executor.train

    def stopping(task: FoldTask) -> float:
        if len(desk.executor.submitted) == stop:
            raise KeyboardInterrupt
        return float(train(task))

    desk.executor.train = stopping
    harbour = moor(desk, 3)
    with pytest.raises(KeyboardInterrupt):
        desk.go(6)
    trials = desk.study().get_trials()
    assert not [trial for trial in trials if trial.state == TrialState.RUNNING]
    assert any(trial.user_attrs.get(INTERRUPTED) for trial in trials)
    before = {path: path.stat().st_mtime_ns for path in desk.folder.glob("**/record.json")}
    harbour.flying.clear()
    harbour.own.train = train
    desk.executor.submitted.clear()
    desk.go(6)
    assert counted_trials(desk.study()) == 6
    assert {path: path.stat().st_mtime_ns for path in before} == before, "a finished fold was trained again"


def test_after_the_deadline_what_is_in_flight_ends_and_nothing_begins(
    desk: Desk, moor: Callable[..., Harbour], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1e9]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    desk.deadline, desk.rule = now[0] + 100, PruningRule(folds=3, k=2, startup_trials=9)

    def train(task: FoldTask) -> float | FoldResult:
        now[0] += 15
        if now[0] <= 1e9 + 100:
            return 0.5
        return FoldResult(task.recipe_id, task.fold, "stopped", 9.0, 9.0, 1.0, (), 1.0, reason="the time is up")

    desk.executor.train = train
    moor(desk, 3)
    trials = desk.go(50)
    assert len(trials) < 10
    assert not [trial for trial in trials if trial.state == TrialState.RUNNING]
    stopped = [trial for trial in trials if trial.user_attrs.get(INTERRUPTED)]
    assert all(trial.user_attrs["reason"].endswith("the time is up") for trial in stopped)
    desk.deadline, desk.executor.own.train = None, lambda task: 0.5
    with contextlib.suppress(KeyboardInterrupt):
        desk.go(len(stopped))
    assert not desk.study().get_trials(states=(TrialState.WAITING,)) or counted_trials(desk.study()) >= len(stopped)


# ---- what is chosen -------------------------------------------------------------------------------------------------


def test_trials_in_flight_count_as_tried(desk: Desk, moor: Callable[..., Harbour]) -> None:
    desk.first = ()
    moor(desk, 4)
    chooser = Chooser(desk.job(), Counts(1000, 200, 3), 10, 5, desk.view)
    trials = desk.go(4, before_trial=chooser.before_trial)
    # Two of each backbone, which is its floor, though none of the four had landed when they were chosen.
    assert Counter(trial.user_attrs["backbone"] for trial in trials) == {"small": 2, "large": 2}


def test_the_fine_tuning_at_the_end_comes_once_though_the_last_trials_are_in_flight(
    desk: Desk, moor: Callable[..., Harbour], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 1e9)
    desk.deadline = 1e9 + 10_000
    moor(desk, 3)
    finale = Finale(8, Counts(1000, 200, 3), 10, desk.job(), desk.view)

    def before_trial() -> None:
        finale.enqueue()

    trials = desk.go(8, before_trial=before_trial)
    assert Counter(trial.user_attrs["tuning"] for trial in trials) == {"head": 7, "full": 1}


def test_the_order_of_those_that_landed_at_once_is_that_in_which_they_were_submitted(
    desk: Desk, moor: Callable[..., Harbour], monkeypatch: pytest.MonkeyPatch
) -> None:
    harbour = moor(desk, 3)

    def land_all() -> None:
        harbour.flying.reverse()
        while harbour.flying:
            harbour.land()

    _before_waiting(monkeypatch, land_all)
    desk.go(3)
    ended = [f"trial {event[1]} fold {event[2]}" for event in desk.view.events if event[0] == "fold ended"]
    assert ended == [line for line in harbour.log if line != "landed"]
