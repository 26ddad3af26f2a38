"""The recipes that a search on new photos begins with."""

from __future__ import annotations

from collections.abc import Callable

import optuna
import pytest

from automl_car.config import SpaceConfig
from automl_car.search.first import default_params
from automl_car.search.portfolio import PORTFOLIO, Entry, portfolio_trials
from automl_car.search.space import Space, suggest_recipe

MakeSpace = Callable[..., Space]
BOTH = ("full", "head")
ENTRIES = (
    Entry("full", {"mixup": 0.4}, augmentation="none"),
    Entry("head", {"head.shrinkage": 0.2}),
    Entry("head", {"head.shrinkage": 0.6}),
)


def test_the_best_head_is_tried_on_every_backbone_and_others_on_the_first(make_space: MakeSpace) -> None:
    trials = portfolio_trials(make_space(tunings=BOTH), ("small", "large"), portfolio=ENTRIES)
    assert [(p["tuning"], p["backbone"], p.get("head.shrinkage")) for p in trials] == [
        ("head", "small", 0.2),
        ("head", "large", 0.2),
        ("head", "small", 0.6),
        ("full", "small", None),
        ("full", "large", None),
    ]


def test_what_an_entry_does_not_name_has_its_default(make_space: MakeSpace) -> None:
    space = make_space(tunings=BOTH)
    fine_tuning = portfolio_trials(space, ("small",), portfolio=ENTRIES)[-1]
    assert fine_tuning == default_params(space, "full", "small", "none") | {"mixup": 0.4}


def test_a_search_of_heads_gets_no_fine_tuning(make_space: MakeSpace) -> None:
    trials = portfolio_trials(make_space(tunings=("head",)), ("small", "large"), portfolio=ENTRIES)
    assert len(trials) == 3
    assert all("tuning" not in params and "mixup" not in params for params in trials)


def test_each_tuning_can_be_had_by_itself(make_space: MakeSpace) -> None:
    trials = portfolio_trials(make_space(tunings=BOTH), ("large",), tunings=("full",), portfolio=ENTRIES)
    assert [(params["tuning"], params["mixup"]) for params in trials] == [("full", 0.4)]


def test_an_augmentation_that_is_not_offered_gives_way_to_one_that_is(make_space: MakeSpace) -> None:
    space = make_space(tunings=("full",), augmentations=("heavy", "trivial"))
    assert portfolio_trials(space, ("small",), portfolio=ENTRIES)[0]["augmentation"] == "heavy"


def test_values_move_into_the_ranges_and_settled_ones_are_left_out(make_space: MakeSpace) -> None:
    space = make_space(ranges=make_space().ranges | {"head.shrinkage": (0.3, 0.4), "head.lr_multiplier": 1.0})
    (first, second) = portfolio_trials(space, ("small",), portfolio=ENTRIES)
    assert first == {"backbone": "small", "head.shrinkage": 0.3}
    assert second == {"backbone": "small", "head.shrinkage": 0.4}


def test_entries_that_are_the_same_here_are_tried_once(make_space: MakeSpace) -> None:
    space = make_space(ranges=make_space().ranges | {"head.shrinkage": 0.3})
    assert len(portfolio_trials(space, ("small",), portfolio=ENTRIES)) == 1


def test_the_portfolio_is_what_optuna_accepts_and_asks_for(make_space: MakeSpace) -> None:
    space = make_space(tunings=BOTH)
    for params in portfolio_trials(space, ("small", "large")):
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        study.enqueue_trial(params)
        trial = study.ask()
        suggest_recipe(trial, space, {})
        assert trial.params == params


@pytest.mark.parametrize("tuning", BOTH)
def test_there_is_an_entry_for_each_tuning(tuning: str) -> None:
    assert any(entry.tuning == tuning for entry in PORTFOLIO)


@pytest.mark.parametrize("entry", PORTFOLIO)
def test_every_value_is_one_that_the_settings_allow(entry: Entry) -> None:
    settings = SpaceConfig()
    named = {"head.lr_multiplier": "lr_multiplier", "head.shrinkage": "shrinkage", "head.power": "power"}
    for name, value in entry.values.items():
        assert name.startswith("head.") == (entry.tuning == "head"), name
        allowed = getattr(settings, named.get(name, name))
        low, high = allowed if isinstance(allowed, tuple) else (allowed, allowed)
        assert low <= value <= high, name
