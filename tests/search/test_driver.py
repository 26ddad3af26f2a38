"""The loop of a search, with an executor that makes up log losses: nothing is lost, repeated or told wrongly."""

from __future__ import annotations

import contextlib
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from automl_car.errors import DivergedError, ExecutorError, OutOfMemoryError, PluginError, StudyError
from automl_car.fold_records import FoldResult, FoldTask
from automl_car.search import driver
from automl_car.search.evidence import FOLD_LOSSES
from automl_car.search.pruning import PruningRule
from automl_car.search.space import suggest_recipe
from automl_car.search.study import INTERRUPTED, MENDED, OVERRIDES, counted_trials

Desk = Any  # see conftest.py


def _states(trials: list[FrozenTrial]) -> list[str]:
    return [trial.state.name for trial in trials]


# ---- what the study is told -----------------------------------------------------------------------------------------


def test_each_finished_fold_reports_the_running_mean(desk: Desk) -> None:
    desk.first = ()
    losses = iter([0.5, 0.9, 0.4])
    desk.executor.train = lambda task: next(losses)
    (trial,) = desk.go(1)
    assert trial.intermediate_values == pytest.approx({0: 0.5, 1: 0.7, 2: 0.6})


def test_what_is_reported_does_not_depend_on_which_fold_comes_first(desk: Desk) -> None:
    desk.executor.train = lambda task: 0.5 + [0.3, 0.0, -0.3][task.fold]  # every recipe is as good as any other
    _, *others = desk.go(6)
    assert len({next(iter(trial.user_attrs[FOLD_LOSSES])) for trial in others}) > 1
    for trial in others:
        assert trial.intermediate_values == pytest.approx(dict.fromkeys(range(3), 0.5))


def test_a_complete_trial_is_worth_the_mean_of_its_folds(desk: Desk) -> None:
    desk.first = ()
    losses = {0: 0.5, 1: 0.9, 2: 0.4}
    desk.executor.train = lambda task: losses[task.fold]
    (trial,) = desk.go(1)
    assert (trial.state, trial.value) == (TrialState.COMPLETE, pytest.approx(0.6))
    assert trial.user_attrs[FOLD_LOSSES] == {"0": 0.5, "1": 0.9, "2": 0.4}


def test_the_study_holds_the_recipe_and_where_its_folds_are(desk: Desk) -> None:
    desk.first = ()
    (trial,) = desk.go(1)
    task = desk.executor.submitted[0]
    assert trial.user_attrs["recipe"] == task.recipe.to_json()
    assert trial.user_attrs["recipe_id"] == task.recipe_id == task.fold_directory.parent.name
    assert trial.user_attrs["backbone"] == task.recipe.backbone
    assert trial.user_attrs["learning_rate"] == task.recipe.learning_rate


def test_folds_are_trained_once_each_and_begin_with_another_one_for_each_recipe(desk: Desk) -> None:
    desk.go(8)
    by_recipe: dict[str, list[int]] = {}
    for task in desk.executor.submitted:
        by_recipe.setdefault(task.recipe_id, []).append(task.fold)
    assert set(map(tuple, by_recipe.values())) == {(0, 1, 2), (1, 2, 0), (2, 0, 1)}


def test_the_person_is_told_of_each_trial_and_fold(desk: Desk) -> None:
    desk.go(1)
    order = [task.fold for task in desk.executor.submitted]
    folds = [event for fold in order for event in (("fold", 0, fold), ("fold ended", 0, fold, False))]
    assert desk.view.events == [("trial", 0), *folds, ("trial ended", 0)]


# ---- where it begins ------------------------------------------------------------------------------------------------


def test_the_first_trials_are_the_plugins_defaults_smallest_photos_first(desk: Desk) -> None:
    trials = desk.go(4)
    assert [trial.user_attrs["backbone"] for trial in trials[:2]] == ["small", "large"]
    assert all(trial.params["head.shrinkage"] == 0.3 for trial in trials[:2])
    assert trials[2].params["head.shrinkage"] != 0.3


def test_defaults_are_enqueued_once_however_often_the_search_is_started(desk: Desk) -> None:
    for trials in (1, 2, 3, 4):
        desk.go(trials)
    defaults = [trial for trial in desk.study().trials if trial.params.get("head.shrinkage") == 0.3]
    assert len(defaults) == 2


# ---- how many -------------------------------------------------------------------------------------------------------


def test_trials_is_the_total_so_a_second_run_does_nothing_more(desk: Desk) -> None:
    first = desk.go(4)
    submitted = len(desk.executor.submitted)
    assert [trial.number for trial in desk.go(4)] == [trial.number for trial in first]
    assert len(desk.executor.submitted) == submitted


def test_more_trials_go_on_where_the_study_ended(desk: Desk) -> None:
    desk.go(3)
    assert _states(desk.go(5)) == ["COMPLETE"] * 5


def test_after_the_deadline_no_trial_begins(desk: Desk) -> None:
    desk.deadline = time.monotonic() - 1
    desk.go(5)
    assert desk.executor.submitted == []


def test_the_deadline_stops_between_trials(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1e9]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    desk.deadline = now[0] + 100

    def train(task: FoldTask) -> float:
        now[0] += 15
        return 0.5

    desk.executor.train = train
    assert counted_trials(desk.study()) == 0
    assert _states(desk.go(50))[:3] == ["COMPLETE"] * 3
    assert counted_trials(desk.study()) == 3  # 45 s each: the third begins at 90 s


def test_a_fold_that_the_clock_stopped_leaves_a_trial_that_goes_on_later(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1e9]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    desk.deadline, desk.first = now[0] + 100, ()

    def train(task: FoldTask) -> float | FoldResult:
        if len(desk.executor.submitted) < 3:
            return 0.5
        now[0] += 100
        return FoldResult(task.recipe_id, task.fold, "stopped", 9.0, 9.0, 1.0, (), 1.0, reason="the time is up")

    desk.executor.train = train
    (trial,) = desk.go(50)
    assert (trial.state, trial.user_attrs[INTERRUPTED]) == (TrialState.FAIL, True)
    last = desk.executor.submitted[2].fold
    assert trial.user_attrs["reason"] == f"fold {last} was not trained: the time is up"
    desk.deadline, desk.executor.train = None, lambda task: 0.5
    desk.executor.submitted.clear()
    assert _states(desk.go(1)) == ["FAIL", "COMPLETE"]
    (task,) = desk.executor.submitted
    assert (task.recipe_id, task.fold) == (trial.user_attrs["recipe_id"], last)


# ---- trials that end early ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [DivergedError("the loss was nan in epoch 3"), OutOfMemoryError("2 GiB are missing")])
def test_a_diverged_or_too_large_trial_is_pruned_so_that_tpe_learns_from_it(desk: Desk, error: Exception) -> None:
    def train(task: FoldTask) -> float:
        if len(desk.executor.submitted) == 2:
            raise error
        return 0.5

    desk.executor.train, desk.first = train, ()
    (trial,) = desk.go(1)
    assert (trial.state, trial.user_attrs["reason"]) == (TrialState.PRUNED, str(error))
    assert trial.intermediate_values == {0: 0.5}


def test_optuna_learns_from_pruned_trials_and_not_from_failed_ones() -> None:
    # The fact behind the test above, so that a later version of Optuna that changes it is noticed.
    def regret(state: TrialState) -> float:
        sampler = optuna.samplers.TPESampler(seed=0, n_startup_trials=10)
        study = optuna.create_study(sampler=sampler)
        tail = []
        for number in range(60):
            trial = study.ask()
            x = trial.suggest_float("x", 0, 1)
            if x > 0.3:
                trial.report(100.0, step=0)
                study.tell(trial, state=state)
            else:
                study.tell(trial, 1.0)
            if number >= 30:
                tail.append(x > 0.3)
        return statistics.fmean(tail)

    assert regret(TrialState.PRUNED) < regret(TrialState.FAIL)


def test_a_pruned_trial_says_why_and_trains_no_further_fold(desk: Desk) -> None:
    desk.rule = PruningRule(folds=3, k=2, startup_trials=1)
    desk.first = ()
    desk.executor.train = lambda task: 0.5 if len(desk.executor.submitted) <= 6 else 5.0
    trials = desk.go(3)
    assert _states(trials) == ["COMPLETE", "COMPLETE", "PRUNED"]
    assert "the 2nd best" in trials[2].user_attrs["reason"]
    assert len(desk.executor.submitted) == 7


# ---- the first trials -----------------------------------------------------------------------------------------------


def _gathering(desk: Desk, losses: list[float]) -> list[FrozenTrial]:
    """As many trials as `losses`; each has the same log loss on every fold."""
    desk.first, desk.rule = (), PruningRule(folds=3, k=2, startup_trials=len(losses))
    known: dict[str, float] = {}
    desk.executor.train = lambda task: known.get(task.recipe_id) or known.setdefault(task.recipe_id, losses[len(known)])
    return list(desk.go(len(losses)))


def test_of_the_first_trials_only_the_best_go_on_after_their_first_fold(desk: Desk) -> None:
    trials = _gathering(desk, [0.9, 0.8, 0.3, 0.7, 0.2])
    assert _states(trials) == ["COMPLETE", "PRUNED", "COMPLETE", "PRUNED", "COMPLETE"]
    assert len(desk.executor.submitted) == 3 * 3 + 2


def test_the_very_first_trial_is_trained_to_its_end_before_any_other_begins(desk: Desk) -> None:
    _gathering(desk, [0.9, 0.8, 0.3])
    assert len({task.recipe_id for task in desk.executor.submitted[:3]}) == 1


def test_a_search_stopped_while_trials_wait_for_each_other_comes_to_the_same(desk: Desk, tmp_path: Path) -> None:
    rule = PruningRule(folds=3, k=2, startup_trials=6)
    undisturbed = type(desk)(tmp_path / "undisturbed", rule=rule)
    undisturbed.go(8)
    desk.rule, train = rule, desk.executor.train
    for _ in range(20):
        desk.executor.submitted.clear()
        desk.executor.train = train
        desk.executor.train = _stop_at(desk, 3)
        with contextlib.suppress(KeyboardInterrupt):
            desk.go(8)
    assert (
        _finished_folds(desk.folder / "checkpoints").keys()
        == _finished_folds(undisturbed.folder / "checkpoints").keys()
    )
    assert desk.study().best_value == undisturbed.study().best_value


def test_trials_that_waited_when_the_time_was_up_go_on_in_the_next_run(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1e9]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr("automl_car.search.driver.GATHERING_SHARE", 1.0)
    desk.deadline, train = now[0] + 100, desk.executor.train

    def slow(task: FoldTask) -> float | FoldResult:
        now[0] += 20
        if now[0] > 1e9 + 100:
            return FoldResult(task.recipe_id, task.fold, "stopped", 9.0, 9.0, 1.0, (), 1.0, reason="the time is up")
        return float(train(task))

    desk.rule, desk.executor.train = PruningRule(folds=3, k=2, startup_trials=6), slow
    trials = desk.go(6)
    assert [trial.user_attrs[INTERRUPTED] for trial in trials if trial.state != TrialState.WAITING] == [
        False,
        True,
        True,
    ]
    desk.deadline, desk.executor.train = None, train
    desk.go(6)
    assert counted_trials(desk.study()) == 6


def test_a_recipe_that_was_settled_beforehand_is_not_pruned(desk: Desk) -> None:
    desk.rule = PruningRule(folds=3, k=2, startup_trials=1)
    desk.first = ()
    desk.executor.train = lambda task: 5.0 if task.recipe.tuning == "full" else 0.5
    desk.space = replace(desk.space, tunings=("head",))
    desk.go(2)
    desk.study().enqueue_trial({}, user_attrs={OVERRIDES: {"tuning": "full", "epochs": 7}})
    assert _states(desk.go(3)) == ["COMPLETE", "COMPLETE", "COMPLETE"]


def test_a_process_that_died_fails_its_trial_and_not_the_search(desk: Desk) -> None:
    def train(task: FoldTask) -> float:
        if len(desk.executor.submitted) == 2:
            raise ExecutorError("The training process was killed by SIGKILL.", hint="its last words are in a file")
        return 0.5

    desk.executor.train = train
    trials = desk.go(3)
    assert _states(trials) == ["FAIL", "COMPLETE", "COMPLETE"]
    assert trials[0].user_attrs["reason"] == "The training process was killed by SIGKILL."
    assert "its last words" in trials[0].user_attrs["error"]


def test_three_equal_failures_in_a_row_stop_the_search_with_their_reason(desk: Desk) -> None:
    def train(task: FoldTask) -> float:
        raise PluginError("`toy` has no torch.nn.Linear")

    desk.executor.train = train
    with pytest.raises(StudyError, match=r"3 trials in a row failed for one reason: `toy` has no torch\.nn\.Linear"):
        desk.go(50)
    assert len(desk.executor.submitted) == 3


@pytest.mark.parametrize(
    ("error", "cause"), [(DivergedError, "training diverges"), (OutOfMemoryError, "too little memory")]
)
def test_three_trials_in_a_row_that_diverge_or_lack_memory_stop_a_search_in_which_nothing_is_complete(
    desk: Desk, error: type[Exception], cause: str
) -> None:
    def train(task: FoldTask) -> float:
        raise error(f"Fold {task.fold}: the loss of {task.recipe_id} was nan.")  # no two messages are the same

    desk.executor.train = train
    words = f"for one reason: {cause}, and no trial is complete. The last one: Fold"
    with pytest.raises(StudyError, match=words):
        desk.go(50)
    assert _states(desk.study().trials[:3]) == ["PRUNED"] * 3


@pytest.mark.parametrize("error", [DivergedError("the loss was nan"), OutOfMemoryError("2 GiB are missing")])
def test_where_a_trial_is_complete_the_recipes_are_to_blame_and_the_search_goes_on(
    desk: Desk, error: Exception
) -> None:
    def train(task: FoldTask) -> float:
        if task.recipe.backbone == "large":
            raise error
        return 0.5

    desk.executor.train = train
    desk.first = tuple(
        {"tuning": "head", "backbone": name, "head.lr_multiplier": rate}
        for name, rate in (("small", 1.0), ("large", 0.5), ("large", 0.6), ("large", 0.7), ("large", 0.8))
    )
    assert _states(desk.go(5)) == ["COMPLETE", *["PRUNED"] * 4]


def test_memory_that_sufficed_before_and_does_no_more_stops_the_search(desk: Desk) -> None:
    desk.go(2)  # the defaults of both backbones

    def train(task: FoldTask) -> float:
        raise OutOfMemoryError(f"{len(desk.executor.submitted)} GiB are missing")

    desk.executor.train = train
    with pytest.raises(StudyError, match="too little memory where it sufficed before"):
        desk.go(50)


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_fold_whose_log_loss_is_not_a_number_prunes_its_trial_and_is_never_best(desk: Desk, loss: float) -> None:
    desk.first = ()
    desk.executor.train = lambda task: loss if len(desk.executor.submitted) == 5 else 0.5
    trials = desk.go(2)
    assert _states(trials) == ["COMPLETE", "PRUNED"]
    fold = desk.executor.submitted[-1].fold
    assert trials[1].user_attrs["reason"] == f"Fold {fold}: its log loss was {loss}."
    assert list(trials[1].intermediate_values.values()) == [0.5]
    assert desk.study().best_trial.number == 0


def test_what_was_mended_in_a_fold_stands_in_the_trials_attributes_and_note(desk: Desk) -> None:
    desk.first = ()

    def train(task: FoldTask) -> FoldResult:
        mended = "the learning rate was halved" if task.fold == 1 else ""
        return FoldResult(task.recipe_id, task.fold, "finished", 0.5, 0.5, 1.0, (), 1.0, mended=mended)

    desk.executor.train = train
    (trial,) = desk.go(1)
    assert trial.user_attrs[MENDED] == {"1": "the learning rate was halved"}
    notes = [value for name, value in desk.study()._storage.get_study_system_attrs(1).items() if "note" in name]
    assert any("* fold 1: the learning rate was halved" in str(note) for note in notes)


@pytest.mark.parametrize(
    ("error", "left"), [(DivergedError("nan"), False), (ExecutorError("a bug"), False), (KeyboardInterrupt(), True)]
)
def test_a_checkpoint_stays_only_where_its_trial_goes_on(desk: Desk, error: BaseException, left: bool) -> None:
    desk.first = ()

    def train(task: FoldTask) -> float:
        task.fold_directory.mkdir(parents=True)
        (task.fold_directory / "checkpoint.json").write_text("{}")
        raise error

    desk.executor.train = train
    with contextlib.suppress(KeyboardInterrupt):
        desk.go(1)
    assert bool(list((desk.folder / "checkpoints").rglob("checkpoint.json"))) is left


def test_failures_for_different_reasons_do_not_stop_the_search(desk: Desk) -> None:
    def train(task: FoldTask) -> float:
        raise PluginError(f"reason {len(desk.executor.submitted)}")

    desk.executor.train = train
    assert _states(desk.go(5)) == ["FAIL"] * 5


def test_a_success_between_failures_forgives_them(desk: Desk) -> None:
    def train(task: FoldTask) -> float:
        if len(desk.study().trials) % 3 == 0:
            return 0.5
        raise PluginError("sometimes")

    desk.executor.train = train
    assert _states(desk.go(7)) == ["FAIL", "FAIL", "COMPLETE"] * 2 + ["FAIL"]


def test_with_a_time_limit_trials_wait_for_each_other_no_longer_than_a_part_of_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1e9]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    desk.deadline, train = now[0] + 1000, desk.executor.train

    def slow(task: FoldTask) -> float:
        now[0] += 40
        return float(train(task))

    desk.rule, desk.executor.train = PruningRule(folds=3, k=2, startup_trials=20), slow
    desk.go(5)
    # One trial takes 120 s and four single folds 160 s; from 250 s on nobody waits.
    assert [len(list(group)) for _, group in groupby(desk.executor.submitted, key=lambda task: task.recipe_id)][:5] == [
        3,
        1,
        1,
        1,
        1,
    ]
    assert desk.study().trials[1].state in (TrialState.COMPLETE, TrialState.PRUNED)


# ---- stops at any moment --------------------------------------------------------------------------------------------


def _stop_at(desk: Desk, stop: int) -> Callable[[FoldTask], float]:
    """A trainer that is stopped by Ctrl-C when its `stop`-th fold begins."""
    train = desk.executor.train

    def stopping(task: FoldTask) -> float:
        if len(desk.executor.submitted) == stop:
            raise KeyboardInterrupt
        return float(train(task))

    return stopping


def _finished_folds(folder: Path) -> dict[str, float]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.glob("**/record.json")}


SETTLED = tuple(
    {"backbone": name, "head.shrinkage": value, "head.lr_multiplier": 1.0}
    for name, value in [("small", 0.3), ("large", 0.3), ("small", 0.6)]
)


@pytest.fixture(scope="module")
def undisturbed() -> list[Desk]:
    """Holds the desk of a search that nobody stopped, once a test has put it there."""
    return []


@pytest.mark.parametrize("stop", range(1, 10))
def test_a_search_stopped_at_any_fold_goes_on_and_comes_to_the_same(
    tmp_path: Path, desk: Desk, undisturbed: list[Desk], stop: int
) -> None:
    if not undisturbed:
        undisturbed.append(type(desk)(tmp_path / "undisturbed", first=SETTLED))
        undisturbed[0].go(3)
    desk.first, train = SETTLED, desk.executor.train
    desk.executor.train = _stop_at(desk, stop)
    with pytest.raises(KeyboardInterrupt):
        desk.go(3)
    before = _finished_folds(tmp_path / "checkpoints")
    assert len(before) == stop - 1
    desk.executor.submitted.clear()
    desk.executor.train = train
    desk.go(3)
    after = _finished_folds(tmp_path / "checkpoints")
    assert set(after) == set(_finished_folds(undisturbed[0].folder / "checkpoints"))
    assert {path: after[path] for path in before} == before, "a finished fold was trained again"
    assert len(desk.executor.submitted) == 9 - len(before)
    assert desk.study().best_value == undisturbed[0].study().best_value
    assert counted_trials(desk.study()) == 3


def test_a_search_stopped_at_every_second_fold_comes_to_an_end(desk: Desk) -> None:
    desk.first, train, runs = SETTLED, desk.executor.train, 0
    while counted_trials(desk.study()) < 3:
        runs += 1
        desk.executor.submitted.clear()
        desk.executor.train = train
        desk.executor.train = _stop_at(desk, 2)
        with contextlib.suppress(KeyboardInterrupt):
            desk.go(3)
    assert runs <= 9  # one new fold a run, at least
    assert _states([trial for trial in desk.study().trials if not trial.user_attrs[INTERRUPTED]]) == ["COMPLETE"] * 3


def test_a_trial_that_a_killed_driver_left_running_is_closed_and_continued(desk: Desk) -> None:
    job = desk.job()
    job.study.enqueue_trial(SETTLED[1])
    trial = job.study.ask()
    trial.set_user_attr(INTERRUPTED, True)
    recipe = suggest_recipe(trial, desk.space, {})
    task = FoldTask(recipe, recipe.id(job.folds), 0, job.directory, job.cache)
    desk.executor.submit(task).result()
    desk.executor.submitted.clear()
    desk.first = ()
    trials = desk.go(1)
    assert _states(trials) == ["FAIL", "COMPLETE"]
    assert sorted(task.fold for task in desk.executor.submitted) == [1, 2]
    assert {task.recipe_id for task in desk.executor.submitted} == {task.recipe_id}
    assert "an earlier run left unfinished" in desk.view.notes[0]


def test_a_recipe_that_was_settled_beforehand_is_the_same_after_a_stop(desk: Desk) -> None:
    settled = {"tuning": "full", "epochs": 7, "image_size": 96, "mixup": 0.0}
    desk.first = ()
    desk.study().enqueue_trial({"backbone": "small"}, user_attrs={OVERRIDES: settled})
    train = desk.executor.train
    desk.executor.train = _stop_at(desk, 2)
    with pytest.raises(KeyboardInterrupt):
        desk.go(1)
    desk.executor.train = train
    desk.go(1)
    recipes = {task.recipe for task in desk.executor.submitted}
    assert len(recipes) == 1
    (recipe,) = recipes
    assert (recipe.tuning, recipe.epochs, recipe.image_size, recipe.mixup) == ("full", 7, 96, 0.0)


def test_two_trials_of_one_recipe_train_it_once(desk: Desk) -> None:
    desk.first = ()
    for _ in range(2):
        desk.study().enqueue_trial(SETTLED[0])
    first, second = desk.go(2)
    assert len(desk.executor.submitted) == 3
    assert first.value == second.value
    assert ("fold ended", 1, 0, True) in desk.view.events


# ---- damage ---------------------------------------------------------------------------------------------------------


def _damage_oof(folder: Path) -> None:
    data = bytearray((folder / "oof.npz").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "oof.npz").write_bytes(data)


def _truncate_record(folder: Path) -> None:
    (folder / "record.json").write_bytes((folder / "record.json").read_bytes()[:40])


@pytest.mark.parametrize(
    ("damage", "name"), [(_damage_oof, "oof.npz"), (_truncate_record, "record.json")], ids=["flipped byte", "truncated"]
)
def test_a_damaged_fold_is_named_set_aside_and_trained_again(
    desk: Desk, damage: Callable[[Path], None], name: str
) -> None:
    desk.executor.train, desk.first = _stop_at(desk, 3), ()
    with pytest.raises(KeyboardInterrupt):
        desk.go(1)
    damaged_fold, other_fold = (task.fold for task in desk.executor.submitted[:2])
    (last_fold,) = {0, 1, 2} - {damaged_fold, other_fold}
    damaged = desk.executor.submitted[0].fold_directory
    damage(damaged)
    desk.executor.train = lambda task: 0.5
    desk.executor.submitted.clear()
    desk.go(1)
    assert {task.fold for task in desk.executor.submitted} == {damaged_fold, last_fold}
    (note,) = [note for note in desk.view.notes if "trained again" in note]
    assert name in note
    assert (damaged.with_name(f"fold-{damaged_fold}.damaged-1") / name).is_file()


def test_a_damaged_fold_of_a_complete_trial_is_trained_again_at_the_next_start(desk: Desk) -> None:
    desk.first = ()
    desk.go(1)
    damaged = desk.executor.submitted[1].fold_directory
    _damage_oof(damaged)
    desk.executor.submitted.clear()
    desk.go(1)
    assert [task.fold_directory for task in desk.executor.submitted] == [damaged]


def test_a_search_that_is_stopped_between_trials_chooses_as_one_that_is_not(desk: Desk, tmp_path: Path) -> None:
    desk.first = ()
    for trials in range(1, 9):
        stopped = desk.go(trials)
    other = replace(desk, folder=tmp_path / "other")
    assert [trial.params for trial in other.go(8)] == [trial.params for trial in stopped]


# ---- the ledger -----------------------------------------------------------------------------------------------------


def test_a_driver_that_never_waits_writes_its_ledger_within_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now, written = [100.0], []
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    recorder = driver._Recorder(SimpleNamespace(study="study", record=written.append))  # type: ignore[arg-type]
    assert not recorder.is_late
    recorder.mark(SimpleNamespace())  # type: ignore[arg-type]
    assert not recorder.is_late
    now[0] += 0.8
    recorder.mark(SimpleNamespace())  # type: ignore[arg-type]
    now[0] += 0.3
    assert recorder.is_late  # since the first mark
    recorder.record()
    recorder.record()
    assert (written, recorder.is_late) == (["study"], False)
