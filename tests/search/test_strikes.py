"""Plugins that fail in a search: who is to blame, and that three strikes leave out one and no other."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import optuna
import pytest
import torch
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState
from torch import nn

from automl_car.errors import (
    AutomlCarError,
    DivergedError,
    ExecutorError,
    OutOfMemoryError,
    PluginError,
    StudyError,
)
from automl_car.fold_records import FoldTask
from automl_car.records import Recipe
from automl_car.search.arms import Tally
from automl_car.search.blame import HUNG_AUGMENTATION, HUNG_BACKBONE, blame, culprits
from automl_car.search.child import describe_exit
from automl_car.search.chooser import Chooser
from automl_car.search.cost import Counts
from automl_car.search.leaving_out import LeavingOut
from automl_car.search.strikes import Strikes
from automl_car.search.study import INTERRUPTED, OVERRIDES, counted_trials
from automl_car.training.augment import augment
from automl_car.training.step import Step, passes

Desk = Any  # see conftest.py
OWNERS = {"small": "plugin `theirs` (theirs.py, version 1234abcd)", "light": "plugin `pictures` (p.py, version 1)"}
FULL = Recipe("small", "light")
HEAD = replace(FULL, tuning="head")


def failing(*names: str, error: Callable[[], AutomlCarError] = lambda: PluginError("no such layer")) -> Any:
    """A trainer by which every recipe with one of these backbones or augmentations fails, and they are blamed."""

    def train(task: FoldTask) -> float:
        recipe = task.recipe
        used = (recipe.backbone, *([recipe.augmentation] if recipe.tuning == "full" else []))
        if guilty := tuple(name for name in used if name in names):
            raised = error()
            raised.culprits = guilty
            raise raised
        return 0.5 + recipe.learning_rate

    return train


def died(code: int) -> ExecutorError:
    error = ExecutorError(describe_exit(code))
    error.exit_code = code
    return error


def fails(trials: list[FrozenTrial], name: str) -> int:
    return sum(trial.user_attrs.get("failed_by") == [name] for trial in trials)


# ---- three strikes --------------------------------------------------------------------------------------------------


def test_after_three_strikes_a_backbone_is_left_out_and_the_search_goes_on(desk: Desk) -> None:
    desk.owners, desk.executor.train = OWNERS, failing("small")
    trials = desk.go(12)
    assert fails(trials, "small") == 3
    assert [trial.state for trial in trials if "failed_by" not in trial.user_attrs] == [TrialState.COMPLETE] * 9
    assert {trial.params["backbone"] for trial in trials[-6:]} == {"large"}


def test_the_trial_and_the_screen_name_the_plugin_its_file_and_its_version(desk: Desk) -> None:
    desk.owners, desk.executor.train = OWNERS, failing("small")
    trials = desk.go(12)
    expected = "`small` of plugin `theirs` (theirs.py, version 1234abcd): no such layer"
    assert {trial.user_attrs["reason"] for trial in trials if "failed_by" in trial.user_attrs} == {expected}
    (note,) = [note for note in desk.view.notes if "left out" in note]
    assert note.startswith("`small` is left out for the rest of this search, as 3 trials have failed by it;")
    assert expected in note


def test_an_augmentation_is_left_out_without_the_study_noticing(desk: Desk) -> None:
    desk.owners, desk.executor.train = OWNERS, failing("light")
    desk.space = replace(desk.space, tunings=("full",))
    trials = desk.go(20)
    assert fails(trials, "light") == 3
    assert {trial.params["augmentation"] for trial in trials[-8:]} == {"none"}
    distributions = {trial.distributions["augmentation"] for trial in trials}
    assert distributions == {CategoricalDistribution(("light", "none"))}


def test_trials_that_wait_and_are_made_of_what_is_left_out_are_not_started_and_go_on_in_another_run(desk: Desk) -> None:
    desk.owners, train = OWNERS, desk.executor.train
    desk.executor.train = failing("small")
    desk.first = tuple({"backbone": "small", "head.shrinkage": share} for share in (0.1, 0.2, 0.4))
    desk.study().enqueue_trial({"backbone": "large"})
    for share in (0.1, 0.2, 0.4, 0.5):
        desk.study().enqueue_trial({"backbone": "small", "head.shrinkage": share})
    trials = desk.go(6)
    (waited,) = [trial for trial in trials if trial.user_attrs.get(INTERRUPTED)]
    assert "left out" in waited.user_attrs["reason"]
    desk.executor.train = train
    again = desk.go(7)
    assert again[-1].params["head.shrinkage"] == 0.5
    assert again[-1].state == TrialState.COMPLETE


def test_another_run_of_the_command_gives_another_chance(desk: Desk) -> None:
    desk.owners, desk.executor.train = OWNERS, failing("small")
    desk.go(8)
    assert fails(desk.go(16), "small") == 6


def test_when_nothing_is_left_the_search_ends_with_the_reasons(desk: Desk) -> None:
    desk.owners, desk.executor.train = {**OWNERS, "large": "plugin `b` (b.py)"}, failing("small", "large")
    with pytest.raises(StudyError) as caught:
        desk.go(50)
    assert "Nothing is left to search: 3 trials have failed by each of `large`, `small`." in caught.value.message
    assert "`large` of plugin `b` (b.py): no such layer" in caught.value.message
    assert counted_trials(desk.study()) == 6


def test_without_any_augmentation_only_heads_are_left(desk: Desk) -> None:
    desk.owners = {"light": "plugin `a` (a.py)", "none": "plugin `b` (b.py)"}
    desk.space = replace(desk.space, tunings=("full", "head"))
    desk.executor.train, desk.first = failing("light", "none"), ()
    for name in ("light", "none") * 3:
        desk.study().enqueue_trial({"tuning": "full", "augmentation": name})
    trials = desk.go(12)
    assert ["failed_by" in trial.user_attrs for trial in trials] == [True] * 6 + [False] * 6
    assert {trial.user_attrs["tuning"] for trial in trials[6:]} == {"head"}


def test_a_cause_that_is_nobodys_plugin_stops_the_search_also_beside_strikes(desk: Desk) -> None:
    desk.owners = OWNERS

    def train(task: FoldTask) -> float:
        error = PluginError("the GPU is gone")
        error.culprits = ("small",) if task.recipe.backbone == "small" else ()
        raise error

    desk.executor.train = train
    with pytest.raises(StudyError, match="3 trials in a row failed for one reason: the GPU is gone"):
        desk.go(50)
    assert counted_trials(desk.study()) <= 6


def test_who_comes_with_automl_car_cannot_be_struck(desk: Desk) -> None:
    desk.executor.train = failing("small", "large")
    with pytest.raises(StudyError, match="3 trials in a row failed for one reason: no such layer"):
        desk.go(50)


@pytest.mark.parametrize("kind", [DivergedError, OutOfMemoryError])
def test_a_trial_that_diverged_or_ran_out_of_memory_is_no_strike(kind: type[AutomlCarError], desk: Desk) -> None:
    desk.owners, desk.executor.train = OWNERS, failing("small", error=lambda: kind("too much"))
    trials = desk.go(10)
    assert {trial.state for trial in trials} == {TrialState.COMPLETE, TrialState.PRUNED}
    assert not any("failed_by" in trial.user_attrs for trial in trials)


def test_the_chooser_plays_no_arm_of_what_is_left_out(desk: Desk) -> None:
    desk.space = replace(desk.space, tunings=("full", "head"))
    desk.owners, desk.executor.train = OWNERS, failing("small")
    job = desk.job()
    chooser = Chooser(job, Counts(12, 0, 3), 2, 5, desk.view)
    job.strikes.strike(("small",), "a")
    job.strikes.strike(("small",), "b")
    assert {arm.backbone for arm in chooser._arms(Tally())} == {"small", "large"}
    job.strikes.strike(("small",), "c")
    assert {arm.backbone for arm in chooser._arms(Tally())} == {"large"}


def test_a_fine_tuning_made_to_measure_keeps_to_what_is_left(desk: Desk) -> None:
    desk.owners, desk.executor.train = OWNERS, failing("small")
    desk.go(8)
    desk.study().enqueue_trial({}, user_attrs={OVERRIDES: {"tuning": "full", "epochs": 2}})
    assert desk.go(9)[-1].state in (TrialState.COMPLETE, TrialState.FAIL)


# ---- a sampler that leaves out --------------------------------------------------------------------------------------


class _Insisting(optuna.samplers.RandomSampler):
    """Proposes `bad` always."""

    def sample_independent(self, *arguments: Any, **named: Any) -> Any:
        return "bad"


@pytest.mark.parametrize("sampler", [_Insisting(), optuna.samplers.RandomSampler(seed=0)], ids=["insisting", "random"])
def test_what_is_excluded_is_never_proposed(sampler: optuna.samplers.BaseSampler) -> None:
    study = optuna.create_study(sampler=LeavingOut(sampler, {"x": frozenset({"bad"})}, seed=0))
    seen = set()
    for _ in range(30):
        trial = study.ask()
        seen.add(trial.suggest_categorical("x", ["bad", "good", "fine"]))
        study.tell(trial, 1.0)
    assert seen == {"good", "fine"}


# ---- who is to blame ------------------------------------------------------------------------------------------------


def raised(code: Callable[[], Any]) -> BaseException:
    try:
        code()
    except Exception as error:
        return error
    raise AssertionError("it raised nothing")


def test_a_network_that_raises_is_blamed_in_both_directions() -> None:
    network = passes(nn.Linear(3, 2), Step(), torch.device("cpu"))
    images = torch.zeros(2, 3, 4, 5)
    assert blame(raised(lambda: network.forward(images)), FULL) == ("small",)
    assert blame(raised(lambda: network.backward(images, torch.zeros(2, 2))), FULL) == ("small",)


def test_a_transform_that_raises_is_blamed() -> None:
    assert blame(raised(lambda: augment("no transform", None, seed=0)), FULL) == ("light",)  # type: ignore[arg-type]


def test_a_transform_that_raises_in_a_loader_process_is_blamed_by_its_traceback() -> None:
    told = RuntimeError(f'Caught ValueError in worker 0.\n  File "{augment.__code__.co_filename}", line 48, in augment')
    assert blame(told, FULL) == ("light",)


def test_a_broken_contract_is_the_backbones() -> None:
    assert blame(PluginError("it has no torch.nn.Linear"), FULL) == ("small",)


def test_an_error_that_came_from_elsewhere_is_nobodys() -> None:
    assert blame(raised(lambda: 1 // 0), FULL) == ()


def test_a_gpu_that_fails_is_nobodys() -> None:
    def forward(images: Any) -> Any:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    network = passes(nn.Linear(3, 2), Step(), torch.device("cpu"))
    network.model.forward = forward
    assert blame(raised(lambda: network.forward(torch.zeros(1, 3, 4, 4))), FULL) == ()


@pytest.mark.parametrize(
    ("code", "recipe", "working", "expected"),
    [
        (-signal.SIGSEGV, HEAD, (), ("small",)),
        (7, HEAD, (), ("small",)),
        (-signal.SIGSEGV, FULL, (), ("small", "light")),
        (-signal.SIGSEGV, FULL, ("small",), ("light",)),
        (HUNG_BACKBONE, FULL, (), ("small",)),
        (HUNG_AUGMENTATION, FULL, (), ("light",)),
        (-signal.SIGKILL, FULL, (), ()),
        (-signal.SIGTERM, FULL, (), ()),
    ],
)
def test_a_process_that_died_is_blamed_on_what_it_trained_but_not_when_it_was_killed(
    code: int, recipe: Recipe, working: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    assert culprits(died(code), recipe, working) == expected


def test_a_process_that_hung_is_blamed_on_what_it_trained_although_it_was_killed() -> None:
    error = died(-signal.SIGKILL)
    error.hung = True
    assert culprits(error, HEAD, ()) == ("small",)


def test_the_second_process_that_died_of_the_same_tells_it_too() -> None:
    second = ExecutorError("In two processes one after the other: killed by SIGSEGV.")
    second.__cause__ = died(-signal.SIGSEGV)
    assert culprits(second, HEAD, ()) == ("small",)


def test_of_two_suspects_the_one_with_a_record_is_struck(desk: Desk) -> None:
    strikes = Strikes(OWNERS)
    assert strikes.culprits(died(-11), FULL, desk.study()) == ("small", "light")
    strikes.strike(("small",), "before")
    assert strikes.culprits(died(-11), FULL, desk.study()) == ("small",)


def test_a_plugin_that_hangs_is_told_in_words() -> None:
    said = Strikes(OWNERS).explain(died(HUNG_BACKBONE), ("small",))
    assert said.startswith("`small` of plugin `theirs` (theirs.py, version 1234abcd): it did not come back from being")


def test_what_came_from_a_transform_is_its_own_also_in_other_words() -> None:
    told = PluginError("`light` raised on a picture")
    told.__cause__ = raised(lambda: augment("no transform", None, seed=0))  # type: ignore[arg-type]
    assert blame(told, FULL) == ("light",)
