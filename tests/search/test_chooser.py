"""What a search settles before each trial: the arm, and whether there is time for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from automl_car.errors import ExecutorError, PluginError
from automl_car.fold_records import FoldResult, FoldTask, Speed, SpeedTask
from automl_car.search.chooser import Chooser
from automl_car.search.cost import Counts
from automl_car.search.evidence import FOLD_LOSSES
from automl_car.search.first import first_trials
from automl_car.search.pruning import PruningRule
from automl_car.search.space import Space
from automl_car.search.study import INTERRUPTED, OVERRIDES

Desk = Any  # see conftest.py
PHOTOS, TEST_PHOTOS, CLASSES, FOLDS = 1000, 200, 10, 3
QUICK, SLOW = Speed(100.0, 300.0), Speed(0.1, 0.3)  # all folds of a fine-tuning take minutes, or days


class Clock:
    """A clock that only moves when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1e9
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def both(desk: Desk, make_space: Callable[..., Space]) -> Desk:
    """A search over heads and fine-tunings of two backbones."""
    desk.space = make_space(tunings=("full", "head"))
    return desk


@pytest.fixture
def full(desk: Desk, make_space: Callable[..., Space]) -> Desk:
    """A search over fine-tunings of two backbones."""
    desk.space = make_space(tunings=("full",))
    return desk


def _search(desk: Desk, trials: int) -> list[FrozenTrial]:
    """A search whose trials are chosen, as the pipeline sets it up."""
    chooser = Chooser(desk.job(), Counts(PHOTOS, TEST_PHOTOS, FOLDS), CLASSES, 5, desk.view)
    return list(desk.go(trials, before_trial=chooser.before_trial))


def _arms(trials: list[FrozenTrial]) -> list[tuple[str, str]]:
    """Tuning and backbone of the trials that were started."""
    attributes = [trial.user_attrs for trial in trials if "backbone" in trial.user_attrs]
    return [(values["tuning"], values["backbone"]) for values in attributes]


def _backbones(trials: list[FrozenTrial]) -> list[str]:
    return [backbone for _, backbone in _arms(trials)]


def _taking(seconds: Callable[[FoldTask], float], clock: Clock | None = None) -> Callable[[FoldTask], FoldResult]:
    """A trainer whose folds all have one log loss, and take these seconds."""

    def train(task: FoldTask) -> FoldResult:
        took = seconds(task)
        if clock is not None:
            clock.now += took
        return FoldResult(task.recipe_id, task.fold, "finished", 0.5, 0.5, 1.0, (), took)

    return train


# ---- what comes first -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("losses", "order"),
    [({"small": 0.5, "large": 0.4}, ["large", "small"]), ({"small": 0.4, "large": 0.5}, ["small", "large"])],
)
def test_heads_come_first_and_their_log_losses_decide_the_order_of_fine_tunings(
    both: Desk, losses: dict[str, float], order: list[str]
) -> None:
    both.executor.train = lambda task: losses[task.recipe.backbone]
    trials = _search(both, 5)
    assert _arms(trials[:2]) == [("head", "small"), ("head", "large")]  # by the size of their photos
    assert _arms(trials[2:]) == [("full", order[0]), ("full", order[1]), ("full", order[0])]
    assert [trial.params["augmentation"] for trial in trials[2:]] == ["light", "light", "none"]
    assert both.view.notes == [f"fine-tuning begins with {order[0]}, whose head is the best so far"]


def test_several_backbones_together_get_heads_after_each_alone_and_no_fine_tuning(
    desk: Desk, make_space: Callable[..., Space]
) -> None:
    desk.space = make_space(
        tunings=("full", "head"),
        backbones=("large", "small", "large+small"),
        head_sizes={"large": (256,), "small": (224,), "large+small": (256,)},
        weights=dict.fromkeys(("large", "small", "large+small"), "random"),
        weights_digests=dict.fromkeys(("large", "small", "large+small"), ""),
    )
    desk.first = first_trials(desk.space, {"large": 256, "small": 224, "large+small": 256})
    desk.executor.train = lambda task: {"small": 0.5, "large": 0.4}.get(task.recipe.backbone, 0.3)
    arms = _arms(_search(desk, 14))
    assert arms[:3] == [("head", "small"), ("head", "large"), ("head", "large+small")]
    assert arms.count(("head", "large+small")) > 1
    assert ("full", "large+small") not in arms


def test_the_first_fine_tunings_come_once_however_often_the_search_is_started(both: Desk) -> None:
    for trials in (2, 4, 6):
        _search(both, trials)
    assert len(both.view.notes) == 1
    usual = [trial for trial in both.study().trials if trial.params.get("lr_multiplier") == 1.0]
    assert sorted((trial.params["backbone"], trial.params["augmentation"]) for trial in usual) == [
        ("large", "light"),
        ("large", "none"),
        ("small", "light"),
    ]


def test_heads_that_failed_do_not_keep_fine_tunings_from_coming(both: Desk) -> None:
    def train(task: FoldTask) -> float:
        if task.recipe.tuning == "head" and task.recipe.backbone == "large":
            raise PluginError("broken")
        return 0.5

    both.executor.train = train
    assert _arms(_search(both, 4))[2:] == [("full", "small"), ("full", "large")]


def test_an_arms_first_trial_has_its_defaults_and_the_next_ones_are_the_samplers(desk: Desk) -> None:
    desk.first = ()
    trials = _search(desk, 4)
    assert _backbones(trials) == ["small", "small", "large", "large"]
    usual = [(trial.params["head.lr_multiplier"], trial.params["head.shrinkage"]) == (1.0, 0.3) for trial in trials]
    assert usual == [True, False, True, False]


def test_where_there_is_one_arm_nothing_is_settled_after_its_defaults(
    desk: Desk, make_space: Callable[..., Space]
) -> None:
    desk.first, desk.space = (), make_space(backbones=("small",))
    trials = _search(desk, 3)
    assert ["fixed_params" in trial.system_attrs for trial in trials] == [True, False, False]


# ---- the floor, and then the gain -----------------------------------------------------------------------------------


def test_after_the_floor_the_backbone_that_gains_most_is_played(desk: Desk) -> None:
    losses = {"small": 0.9, "large": 0.4}
    desk.executor.train = lambda task: losses[task.recipe.backbone]
    assert _backbones(_search(desk, 7)) == ["small", "large", "small", "large", "large", "large", "large"]


def test_of_backbones_that_are_equally_good_the_cheap_one_is_played(desk: Desk) -> None:
    desk.executor.train = _taking(lambda task: {"small": 100.0, "large": 1.0}[task.recipe.backbone])
    assert _backbones(_search(desk, 7))[4:] == ["large"] * 3


def test_trials_that_wait_after_their_first_fold_count_as_played(desk: Desk) -> None:
    desk.first, desk.rule = (), PruningRule(folds=FOLDS, k=2, startup_trials=6)
    assert _backbones(_search(desk, 4)) == ["small", "small", "large", "large"]


def test_a_backbone_that_joins_a_study_gets_its_floor(desk: Desk, make_space: Callable[..., Space]) -> None:
    desk.space = make_space(backbones=("small",))
    _search(desk, 4)
    desk.space, desk.first = make_space(), ()
    desk.executor.train = lambda task: 5.0  # what joins is far worse than what was there
    trials = _search(desk, 7)[4:]
    assert _backbones(trials) == ["large", "large", "small"]
    usual = [(trial.params["head.lr_multiplier"], trial.params["head.shrinkage"]) == (1.0, 0.3) for trial in trials]
    assert usual == [True, False, False]


def test_a_network_that_fails_does_not_end_the_search_of_the_others(desk: Desk) -> None:
    def train(task: FoldTask) -> float:
        if task.recipe.backbone == "large":
            raise PluginError("`large` has no torch.nn.Linear")
        return 0.5

    desk.executor.train = train
    assert _backbones(_search(desk, 8)).count("small") >= 4


def test_a_network_that_fails_after_a_good_first_fold_does_not_end_it_either(desk: Desk) -> None:
    def train(task: FoldTask) -> float:
        if task.recipe.backbone == "small":
            return 0.5
        if desk.executor.submitted[-2].recipe_id == task.recipe_id:
            raise PluginError("`large` has no torch.nn.Linear")
        return 0.1

    desk.executor.train = train
    assert _backbones(_search(desk, 8)).count("small") >= 4


# ---- time -----------------------------------------------------------------------------------------------------------


def test_where_no_recipe_fits_into_the_time_left_the_search_ends_and_says_why(full: Desk, clock: Clock) -> None:
    full.first, full.deadline = (), clock.now + 1000
    full.executor.speed = lambda task: SLOW
    assert _search(full, 5) == []
    assert full.executor.submitted == []
    assert full.view.notes == ["the time that is left is too short for another trial"]


def test_what_a_trial_will_take_is_what_earlier_ones_of_its_arm_took(desk: Desk, clock: Clock) -> None:
    desk.deadline = clock.now + 1000
    desk.executor.train = _taking(lambda task: 100.0, clock)
    trials = _search(desk, 50)  # of 300 s each, so that 100 s are left after three
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 3
    assert len(desk.executor.submitted) == 9


def test_a_dear_backbone_that_does_not_fit_leaves_the_time_to_a_cheap_one(full: Desk, clock: Clock) -> None:
    full.first, full.deadline = (), clock.now + 1000
    full.executor.speed = lambda task: SLOW if task.recipe.backbone == "large" else QUICK
    assert _backbones(_search(full, 4)) == ["small"] * 4


def test_a_trial_that_does_not_fit_is_not_started_and_goes_on_later_with_more_time(full: Desk, clock: Clock) -> None:
    full.deadline = clock.now + 1000
    full.executor.speed = lambda task: SLOW if task.recipe.backbone == "large" else QUICK
    trials = _search(full, 2)
    (waiting,) = [trial for trial in trials if trial.user_attrs.get(INTERRUPTED)]
    assert _backbones(trials) == ["small", "small"]
    assert waiting.user_attrs["reason"] == "not started: the time that is left is too short for large"
    full.deadline = clock.now + 1e7
    trials = _search(full, 3)
    assert _backbones(trials) == ["small", "small", "large"]
    assert trials[-1].state == TrialState.COMPLETE
    assert trials[-1].params | waiting.system_attrs["fixed_params"] == trials[-1].params


def test_the_first_fine_tuning_is_not_started_when_it_does_not_fit(both: Desk, clock: Clock) -> None:
    both.deadline = clock.now + 1000
    both.executor.speed = lambda task: SLOW
    assert {tuning for tuning, _ in _arms(_search(both, 4))} == {"head"}


def _stopped_before_its_last_fold(desk: Desk) -> None:
    """Run a search that is stopped when two of the three folds of its first trial are done; each takes a second."""
    train = desk.executor.train

    def stopping(task: FoldTask) -> float:
        if len(desk.executor.submitted) == 3:
            raise KeyboardInterrupt
        return float(train(task))

    desk.executor.train = stopping
    with pytest.raises(KeyboardInterrupt):
        _search(desk, 1)
    desk.executor.train = train


def test_a_trial_that_lacks_a_single_fold_goes_on_when_that_fits(
    desk: Desk, clock: Clock, make_space: Callable[..., Space]
) -> None:
    desk.first, desk.space = (), make_space(backbones=("small",))
    _stopped_before_its_last_fold(desk)
    desk.deadline = clock.now + 2
    assert _search(desk, 1)[-1].state == TrialState.COMPLETE


def test_and_so_it_does_when_it_did_not_fit_the_time_before(
    desk: Desk, clock: Clock, make_space: Callable[..., Space]
) -> None:
    desk.first, desk.space = (), make_space(backbones=("small",))
    _stopped_before_its_last_fold(desk)
    for seconds in (0.5, 2):
        desk.deadline = clock.now + seconds
        trials = _search(desk, 1)
    assert trials[-1].state == TrialState.COMPLETE


def test_without_a_time_limit_no_speed_is_measured(both: Desk) -> None:
    _search(both, 6)
    assert both.executor.measured == []


def test_the_speed_of_an_arm_is_measured_once(full: Desk, clock: Clock) -> None:
    full.first, full.deadline = (), clock.now + 1000
    full.executor.speed = lambda task: SLOW if task.recipe.backbone == "large" else QUICK
    _search(full, 4)
    assert sorted(task.recipe.backbone for task in full.executor.measured) == ["large", "small"]


def test_the_speed_is_measured_with_what_will_be_trained(full: Desk, clock: Clock) -> None:
    full.deadline = clock.now + 100_000
    _search(full, 2)
    trained = {task.recipe.backbone: task.recipe for task in full.executor.submitted}
    assert {task.recipe.backbone: task.recipe for task in full.executor.measured} == trained


def test_a_speed_that_cannot_be_measured_is_no_reason_not_to_try(full: Desk, clock: Clock) -> None:
    def killed(task: SpeedTask) -> Speed:
        raise ExecutorError("The training process was killed by SIGKILL.")

    full.deadline = clock.now + 1000
    full.executor.speed = killed
    assert [trial.state for trial in _search(full, 2)[:2]] == [TrialState.COMPLETE] * 2


def test_a_recipe_that_was_made_to_measure_is_started_in_any_case(full: Desk, clock: Clock) -> None:
    full.first, full.deadline = (), clock.now + 1000
    full.executor.speed = lambda task: SLOW
    full.study().enqueue_trial({"backbone": "small"}, user_attrs={OVERRIDES: {"tuning": "full", "epochs": 1}})
    (trial,) = _search(full, 5)
    assert trial.state == TrialState.COMPLETE


def _cut_off_before_it_knew_its_seconds(desk: Desk, tuning: str) -> None:
    attributes = {"tuning": tuning, "backbone": "small", FOLD_LOSSES: {"0": 0.5}, INTERRUPTED: False}
    desk.study().add_trial(create_trial(state=TrialState.FAIL, user_attrs=attributes))


def test_a_trial_that_was_cut_off_before_it_knew_its_seconds_stops_no_search(desk: Desk, clock: Clock) -> None:
    desk.first, desk.deadline = (), clock.now + 1000
    _cut_off_before_it_knew_its_seconds(desk, "head")
    assert [trial.state for trial in _search(desk, 2)] == [TrialState.FAIL, TrialState.COMPLETE]


def test_and_it_does_not_say_that_its_arm_takes_no_time(full: Desk, clock: Clock) -> None:
    full.first, full.deadline = (), clock.now + 1000
    full.executor.speed = lambda task: SLOW
    _cut_off_before_it_knew_its_seconds(full, "full")
    _search(full, 2)
    assert full.executor.submitted == []


def _stopping(clock: Clock, seconds: float) -> Callable[[FoldTask], FoldResult]:
    """A trainer that sees after these seconds that the features will take too long."""

    def train(task: FoldTask) -> FoldResult:
        clock.now += seconds
        return FoldResult(task.recipe_id, task.fold, "stopped", 0.0, 0.0, 0.0, (), seconds, reason="it needs longer")

    return train


def _heads(desk: Desk, make_space: Callable[..., Space], **given: Any) -> None:
    desk.space = make_space(tunings=("head",), **given)
    desk.first = ()


def test_a_head_whose_features_took_too_long_is_not_begun_again_in_this_search(
    desk: Desk, make_space: Callable[..., Space], clock: Clock
) -> None:
    _heads(desk, make_space)
    desk.deadline, desk.executor.train = clock.now + 300, _stopping(clock, 20.0)
    assert _backbones(_search(desk, 50)) == ["small", "large"]  # each once, and then the search ends
    assert clock.now < desk.deadline


def test_a_head_that_the_clock_stopped_goes_on_in_the_next_search_and_is_not_doubled(
    desk: Desk, make_space: Callable[..., Space], clock: Clock
) -> None:
    _heads(desk, make_space)
    desk.deadline, desk.executor.train = clock.now + 300, _stopping(clock, 20.0)
    _search(desk, 50)
    desk.deadline, desk.executor.train = None, lambda task: 0.5
    trials = [trial for trial in _search(desk, 4) if trial.state == TrialState.COMPLETE]
    assert len({trial.user_attrs["recipe_id"] for trial in trials}) == len(trials) == 4


# ---- whether all was tried ------------------------------------------------------------------------------------------


def test_all_has_been_tried_when_every_backbone_was_tuned_in_every_way(both: Desk) -> None:
    chooser = Chooser(both.job(), Counts(PHOTOS, TEST_PHOTOS, FOLDS), CLASSES, 5, both.view)
    tried = []
    for trials in (1, 2, 3, 4):
        _search(both, trials)
        tried.append(chooser.has_tried_all())
    assert tried == [False, False, False, True]
