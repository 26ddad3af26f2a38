from __future__ import annotations

import io
import math
from pathlib import Path

import pytest
from optuna.trial import TrialState
from rich.console import Console

from automl_car.console import logger
from automl_car.fold_records import NO_FOLD, Epoch, FoldResult, FoldTask, Machine, Progress
from automl_car.live import ROWS, LiveView
from automl_car.picture import BLOCKS, Flying, State, TrialRow, render, sparkline
from automl_car.records import Recipe
from automl_car.search.job import Outcome

RECIPE = Recipe("lite0", tuning="head", image_size=224)
NOW = 10_000.0


def drawn(state: State, *, width: int = 160) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(render(state, NOW))
    picture = console.file.getvalue()  # type: ignore[attr-defined]
    assert isinstance(picture, str)
    return picture


@pytest.fixture
def view(monkeypatch: pytest.MonkeyPatch) -> LiveView:
    """A view that is never started: its state is looked at, not drawn."""
    monkeypatch.setattr(logger, "disabled", True)
    return LiveView(Console(file=io.StringIO()))


def state_of(view: LiveView) -> State:
    return view._state


def result(fold: int, log_loss: float) -> FoldResult:
    return FoldResult("abc", fold, "finished", log_loss, log_loss, 1.0, (), 1.0)


def task(tmp_path: Path) -> FoldTask:
    return FoldTask(RECIPE, "abc", 1, tmp_path, tmp_path)


def test_a_refit_is_shown_without_a_trial_and_without_a_log_loss(view: LiveView, tmp_path: Path) -> None:
    view.trained(FoldTask(RECIPE, "abc", NO_FOLD, tmp_path, tmp_path), Epoch(2, 5, 1.5, math.nan, 3.0))
    shown = state_of(view)
    assert (shown.activity, shown.done, shown.total, shown.curve) == ("refit", 2, 5, ())
    assert "▸ refit" in drawn(shown)


# ---- the picture ----------------------------------------------------------------------------------------------------


def test_the_picture_tells_trials_the_best_one_and_why_one_was_pruned() -> None:
    complete = TrialRow(3, "lite0, 224 px, head", (0.61, 0.63), "complete", 0.62)
    pruned = TrialRow(4, "lite1, 240 px, head", (0.9,), "pruned", None, "0.3 worse than trial 3")
    running = TrialRow(5, "lite2, 260 px, head", (0.7,))
    state = State(
        study="main", machine="a CPU, 2 cores", wanted=50, began=NOW - 200, complete=1, pruned=1, best=complete,
        trials=(complete, pruned, running), activity="fold 1", done=2, total=10, curve=(2.0, 1.0), notes=("a note",),
    )  # fmt: skip
    picture = drawn(state)
    for words in (
        "automl-car · main",
        "2 of 50 trials  1 complete  1 pruned  0 failed",
        "best 0.6200 (trial 3)",
        "3 min 20 s, about 1 h 20 min left",
        "a CPU, 2 cores",
        "lite0, 224 px, head",
        "0.610 0.630",
        "pruned: 0.3 worse than trial 3",
        "running",
        "▸ fold 1",
        "2/10",
        "log loss █▁ 1.000",
        "· a note",
    ):
        assert words in picture


@pytest.mark.parametrize("width", [40, 80, 160])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    row = TrialRow(3, "a recipe that is told at some length, " * 4, (0.5,) * 10, "failed", None, "why " * 50)
    state = State(study="main", wanted=50, began=NOW - 5, trials=(row,) * ROWS, notes=("note " * 60,), total=3)
    assert {len(line) for line in drawn(state, width=width).splitlines()} == {width}


def test_the_picture_before_the_first_trial_tells_what_is_being_done() -> None:
    picture = drawn(State(began=NOW - 12, activity="reading photos", done=30, total=100))
    assert "12 s" in picture
    assert "▸ reading photos" in picture
    assert "30/100" in picture
    assert "left" not in picture


def test_the_time_left_is_the_shorter_of_what_trials_and_clock_say() -> None:
    by_clock = State(wanted=100, complete=10, began=NOW - 100, deadline=NOW + 60)
    by_trials = State(wanted=20, complete=10, began=NOW - 100, deadline=NOW + 6000)
    assert "about 1 min 00 s left" in drawn(by_clock)
    assert "about 1 min 40 s left" in drawn(by_trials)


def test_why_the_last_trial_ended_early_can_be_read_whole_in_a_narrow_terminal() -> None:
    reason = "after 1 fold it would end 0.010 above trial 12, the 5th best; 0.007 is allowed"
    rows = (TrialRow(3, "a", (0.9,), "pruned", None, "an older one"), TrialRow(4, "b", (0.9,), "pruned", None, reason))
    picture = drawn(State(wanted=50, trials=rows), width=80)
    words = " ".join(picture.replace("│", " ").split())
    assert f"trial 4 pruned: {reason}" in words
    assert "trial 3 pruned" not in words


def test_brackets_in_a_reason_are_shown_and_are_no_markup() -> None:
    row = TrialRow(0, "r", state="failed", reason="[red]oops[/]")
    assert "[red]oops[/]" in drawn(State(trials=(row,), began=NOW))


def test_a_picture_on_a_real_terminal_is_drawn_and_taken_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logger, "disabled", True)
    screen = io.StringIO()
    with LiveView(Console(file=screen, force_terminal=True, width=100)) as view:
        view.note("hello")
    assert "hello" in screen.getvalue()
    assert screen.getvalue().count("\x1b[?25l") == screen.getvalue().count("\x1b[?25h") == 1, "the cursor is back"


# ---- how the state follows the search -------------------------------------------------------------------------------


def test_trials_are_counted_by_how_they_ended(view: LiveView) -> None:
    for number, outcome in enumerate(
        [
            Outcome(TrialState.COMPLETE, 0.7),
            Outcome(TrialState.PRUNED, reason="worse"),
            Outcome(TrialState.FAIL, reason="a bug"),
            Outcome(TrialState.FAIL, reason="the time is up", interrupted=True),
        ]
    ):
        view.trial_began(number, RECIPE)
        view.trial_ended(number, outcome)
    state = state_of(view)
    assert (state.complete, state.pruned, state.failed) == (1, 1, 1)
    assert [row.state for row in state.trials] == ["complete", "pruned", "failed", "stopped"]


def test_the_best_trial_is_the_one_with_the_lowest_log_loss(view: LiveView) -> None:
    for number, loss in enumerate([0.7, 0.5, 0.6]):
        view.trial_began(number, RECIPE)
        view.trial_ended(number, Outcome(TrialState.COMPLETE, loss))
    best = state_of(view).best
    assert best is not None
    assert (best.number, best.log_loss) == (1, 0.5)


def test_the_last_trials_stay_in_the_picture(view: LiveView) -> None:
    for number in range(ROWS + 3):
        view.trial_began(number, RECIPE)
    assert [row.number for row in state_of(view).trials] == list(range(3, ROWS + 3))


def test_finished_folds_join_the_row_of_their_trial(view: LiveView) -> None:
    view.trial_began(0, RECIPE)
    view.fold_ended(0, result(0, 0.5), stored=False)
    view.fold_ended(0, result(1, 0.6), stored=True)
    assert state_of(view).trials[-1].folds == (0.5, 0.6)


def test_the_curve_grows_with_epochs_and_begins_anew_with_each_fold(view: LiveView, tmp_path: Path) -> None:
    view.trial_began(0, RECIPE)
    view.fold_began(0, 1)
    view.trained(task(tmp_path), Epoch(1, 10, 2.0, 1.5, 0.1))
    view.trained(task(tmp_path), Epoch(2, 10, 1.0, 1.2, 0.2))
    state = state_of(view)
    assert (state.curve, state.done, state.total) == ((1.5, 1.2), 2, 10)
    view.fold_began(0, 2)
    assert state_of(view).curve == ()


def test_each_of_several_folds_in_flight_has_a_line(view: LiveView, tmp_path: Path) -> None:
    for number in (0, 1):
        view.trial_began(number, RECIPE)
        view.fold_began(number, 1)
    view.trained(FoldTask(RECIPE, "abc", 1, tmp_path, tmp_path, trial=0), Epoch(1, 10, 2.0, 1.5, 0.1))
    view.trained(FoldTask(RECIPE, "abc", 1, tmp_path, tmp_path, trial=1), Epoch(4, 10, 1.0, 1.2, 0.2))
    picture = drawn(state_of(view))
    lines = [line for line in picture.splitlines() if "▸" in line]
    assert ["trial 0, fold 1" in line and "1/10" in line and "1.500" in line for line in lines] == [True, False]
    assert ["trial 1, fold 1" in line and "4/10" in line and "1.200" in line for line in lines] == [False, True]
    view.fold_ended(0, result(1, 0.5), stored=False)
    view.trial_ended(0, Outcome(TrialState.PRUNED, reason="worse"))
    assert [one.key for one in state_of(view).flying] == [(1, 1)]


def test_of_many_folds_in_flight_the_rest_are_counted() -> None:
    flying = tuple(Flying((number, 0), f"trial {number}, fold 0") for number in range(11))
    picture = drawn(State(began=NOW, flying=flying))
    assert picture.count("▸") == 8
    assert "and 3 folds more" in picture


def test_a_trial_that_left_the_picture_may_still_become_the_best(view: LiveView) -> None:
    for number in range(ROWS + 2):
        view.trial_began(number, RECIPE)
    view.trial_ended(0, Outcome(TrialState.COMPLETE, 0.5))
    best = state_of(view).best
    assert best is not None
    assert (best.number, best.log_loss) == (0, 0.5)


def test_progress_inside_a_fold_is_shown(view: LiveView, tmp_path: Path) -> None:
    view.trained(task(tmp_path), Progress("features of lite0", 3, 9))
    state = state_of(view)
    assert (state.activity, state.done, state.total) == ("features of lite0", 3, 9)


def test_the_time_that_the_work_at_hand_takes_is_shown() -> None:
    assert "3/9 about 1 min 00 s left" in drawn(State(activity="reading photos", done=3, total=9, since=NOW - 30))
    assert "left" not in drawn(State(activity="reading photos", done=9, total=9, since=NOW - 30))


def test_the_time_of_work_is_counted_from_its_beginning(view: LiveView, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [NOW]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    view.progress("reading photos", 1, 9)
    now[0] += 50
    view.progress("reading photos", 2, 9)
    assert state_of(view).since == NOW
    view.progress("something else", 1, 9)
    assert state_of(view).since == NOW + 50


def test_the_machine_is_shown_with_its_cores_where_it_is_a_cpu(view: LiveView) -> None:
    view.search_begins("main", 5, None, Machine("cpu", "a CPU", 2))
    assert state_of(view).machine == "a CPU, 2 cores"
    view.search_begins("main", 5, None, Machine("cuda", "a GPU", 2))
    assert state_of(view).machine == "a GPU"


# ---- sparkline ------------------------------------------------------------------------------------------------------


def test_the_largest_value_is_the_tallest_bar_and_the_smallest_the_lowest() -> None:
    bars = sparkline((4.0, 2.0, 1.0))
    assert bars[0] == BLOCKS[-1]
    assert bars[-1] == BLOCKS[0]


def test_equal_values_are_equal_bars() -> None:
    assert sparkline((0.5, 0.5, 0.5)) == BLOCKS[0] * 3


def test_only_the_last_values_are_drawn() -> None:
    assert sparkline((9.0, 1.0, 2.0), width=2) == BLOCKS[0] + BLOCKS[-1]
