"""Trials that are carried into another space: what they were stays, what the sampler sees of them is of the new one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from automl_car.catalog.params import Param
from automl_car.search.carrying import carry
from automl_car.search.first import default_params
from automl_car.search.space import Space, suggest_recipe
from automl_car.search.study import INTERRUPTED, NOT_OFFERED, OVERRIDES, RETRY_OF, close_interrupted, counted_trials

MakeSpace = Callable[..., Space]
NOW = datetime(2030, 1, 2, 3, 4, 5)
BOTH = ("full", "head")
HEAD = {"backbone": "small", "head.lr_multiplier": 2.0, "head.shrinkage": 0.2}
ROUNDED = 0.123  # 5e-4 times this, divided by 5e-4, is more than this
FULL = {"backbone": "large", "augmentation": "light", "lr_multiplier": 0.5, "mixup": 0.25, "large.drop_path": 0.05}


def _study(space: Space, *params: dict[str, Any], tell: float | TrialState | None = 0.5, **attributes: Any) -> Any:
    """A study of one trial for each of these parameters; the rest is the sampler's."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for chosen in params:
        study.enqueue_trial(chosen, user_attrs=attributes)
        trial = study.ask()
        recipe = suggest_recipe(trial, space, trial.user_attrs.get(OVERRIDES, {}))
        trial.set_user_attr("recipe", recipe.to_json())
        if isinstance(tell, TrialState):
            study.tell(trial, state=tell)
        elif tell is not None:
            study.tell(trial, tell)
    return study


def _carry(trial: FrozenTrial, old: Space, new: Space) -> FrozenTrial:
    """The trial as a study with the new space reads it back; Optuna checks that all values are in range."""
    study = optuna.create_study()
    study.add_trial(carry(trial, old.to_json(), new, NOW))
    return study.trials[0]


def _narrow(space: Space, **ranges: Any) -> dict[str, Any]:
    return {"ranges": {**space.ranges, **ranges}}


# ---- what stays -----------------------------------------------------------------------------------------------------


def test_a_complete_trial_keeps_what_it_was(make_space: MakeSpace) -> None:
    old = make_space()
    study = optuna.create_study()
    trial = study.ask()
    trial.set_user_attr("recipe", suggest_recipe(trial, old, {}).to_json())
    trial.set_user_attr("fold_log_loss", {"0": 0.4})
    trial.report(0.4, 0)
    study.tell(trial, 0.45)
    (before,) = study.trials
    after = _carry(before, old, make_space(head_sizes={"large": (256,), "small": (192, 224)}))
    for attribute in ("state", "value", "user_attrs", "intermediate_values", "datetime_start", "datetime_complete"):
        assert getattr(after, attribute) == getattr(before, attribute)


def test_in_the_same_space_nothing_changes(make_space: MakeSpace) -> None:
    space = make_space(tunings=BOTH)
    for params in ({"tuning": "head", **HEAD}, {"tuning": "full", **FULL}):
        (before,) = _study(space, params).trials
        after = _carry(before, space, space)
        assert (after.params, after.distributions) == (before.params, before.distributions)
        assert after.system_attrs == before.system_attrs


@pytest.mark.parametrize("state", [TrialState.PRUNED, TrialState.FAIL])
def test_trials_that_ended_early_stay_so(make_space: MakeSpace, state: TrialState) -> None:
    (before,) = _study(make_space(), HEAD, tell=state).trials
    after = _carry(before, make_space(), make_space(views=(2, 4)))
    assert (after.state, after.value) == (state, before.value)


# ---- parameters -----------------------------------------------------------------------------------------------------


def test_a_categorical_has_the_new_choices(make_space: MakeSpace) -> None:
    (before,) = _study(make_space(tunings=("full",)), FULL).trials
    new = make_space(tunings=("full",), augmentations=("heavy", "light", "none"))
    after = _carry(before, make_space(tunings=("full",)), new)
    assert after.params == before.params
    assert after.distributions["augmentation"] == CategoricalDistribution(("heavy", "light", "none"))


def test_a_wider_range_becomes_the_trials_own(make_space: MakeSpace) -> None:
    (before,) = _study(make_space(), HEAD).trials
    after = _carry(before, make_space(), make_space(**_narrow(make_space(), **{"head.lr_multiplier": (0.01, 100.0)})))
    assert after.params["head.lr_multiplier"] == 2.0
    assert after.distributions["head.lr_multiplier"] == FloatDistribution(0.01, 100.0, log=True)


def test_a_value_outside_a_narrower_range_is_left_out_and_the_others_stay(make_space: MakeSpace) -> None:
    (before,) = _study(make_space(), HEAD).trials
    after = _carry(before, make_space(), make_space(**_narrow(make_space(), **{"head.shrinkage": (0.4, 0.8)})))
    assert after.params == {"backbone": "small", "head.lr_multiplier": 2.0}
    assert after.user_attrs["recipe"]["shrinkage"] == 0.2


def test_a_range_that_was_one_number_takes_it_as_the_trials_value(make_space: MakeSpace) -> None:
    (before,) = _study(make_space(), HEAD).trials
    after = _carry(before, make_space(), make_space(**_narrow(make_space(), **{"head.power": (0.25, 1.0)})))
    assert after.params == {**before.params, "head.power": 0.5}


def test_a_second_backbone_makes_the_first_one_a_parameter_of_its_trials(make_space: MakeSpace) -> None:
    alone = make_space(backbones=("small",))
    (before,) = _study(alone, {"head.shrinkage": 0.2}).trials
    assert "backbone" not in before.params
    assert _carry(before, alone, make_space()).params == {**before.params, "backbone": "small"}


def test_a_second_tuning_makes_the_first_one_a_parameter(make_space: MakeSpace) -> None:
    (before,) = _study(make_space(), HEAD).trials
    after = _carry(before, make_space(), make_space(tunings=BOTH))
    assert after.params == {**before.params, "tuning": "head"}
    assert after.distributions["tuning"] == CategoricalDistribution(BOTH)


def test_a_backbone_that_is_no_longer_searched_is_left_out(make_space: MakeSpace) -> None:
    (before,) = _study(make_space(), {**HEAD, "backbone": "large"}).trials
    new = make_space(backbones=("small",))
    after = _carry(before, make_space(), new)
    assert after.params == {"head.lr_multiplier": 2.0, "head.shrinkage": 0.2}
    assert (after.state, after.value) == (TrialState.COMPLETE, 0.5)


def test_what_was_left_out_comes_back_when_the_space_offers_it_again(make_space: MakeSpace) -> None:
    wide, narrow = make_space(), make_space(**_narrow(make_space(), **{"head.shrinkage": 0.7}))
    (before,) = _study(wide, HEAD).trials
    between = _carry(before, wide, narrow)
    assert "head.shrinkage" not in between.params
    assert _carry(between, narrow, wide).params == before.params


def test_another_default_rate_makes_the_multiple_another_one(make_space: MakeSpace) -> None:
    old = make_space(tunings=("full",))
    (before,) = _study(old, FULL).trials
    after = _carry(before, old, make_space(tunings=("full",), default_lr={"large": 5e-4, "small": 5e-4}))
    assert before.params["lr_multiplier"] == 0.5  # of 1e-3
    assert after.params["lr_multiplier"] == pytest.approx(1.0)  # of 5e-4


def test_a_rate_at_the_end_of_its_range_is_not_lost_to_rounding(make_space: MakeSpace) -> None:
    settled = make_space(**_narrow(make_space(), **{"head.lr_multiplier": ROUNDED}))
    (before,) = _study(settled, {"backbone": "small"}).trials
    after = _carry(before, settled, make_space(**_narrow(make_space(), **{"head.lr_multiplier": (0.1, ROUNDED)})))
    assert 5e-4 * ROUNDED / 5e-4 > ROUNDED
    assert after.params["head.lr_multiplier"] == ROUNDED


def test_a_plugins_own_parameter_is_kept_where_it_fits_whatever_its_kind_was(make_space: MakeSpace) -> None:
    kinds = {
        "layers": (Param.choice("layers", (1, 2, 3), default=2), Param.int("layers", 1, 5, default=2)),
        "width": (Param.float("width", 1, 8, default=4, log=True), Param.float("width", 1, 8, default=4)),
        "mode": (Param.choice("mode", ("a", "b"), default="a"), Param.int("mode", 0, 1, default=0)),
        "gate": (Param.choice("gate", (0, 1), default=0), Param.choice("gate", (False, True), default=False)),
    }
    spaces = [
        make_space(tunings=("full",), params={"large": tuple(pair[version] for pair in kinds.values())})
        for version in (0, 1)
    ]
    (before,) = _study(
        spaces[0], {**FULL, "large.layers": 3, "large.width": 5.0, "large.mode": "b", "large.gate": 1}
    ).trials
    after = _carry(before, *spaces)
    own = {name: value for name, value in after.params.items() if name.startswith("large.")}
    assert own == {"large.layers": 3, "large.width": 5.0}
    assert after.distributions["large.layers"] == IntDistribution(1, 5)


def test_a_fine_tuning_in_a_search_of_heads_keeps_its_own_parameters(make_space: MakeSpace) -> None:
    overrides = {"tuning": "full", "image_size": 96, "mixup": 0.0}
    (before,) = _study(make_space(), FULL, **{OVERRIDES: overrides}).trials
    after = _carry(before, make_space(), make_space(views=(2, 4)))
    assert after.params == before.params
    assert "head.shrinkage" not in after.params


def test_the_sampler_learns_from_carried_trials_and_tries_what_is_new(make_space: MakeSpace) -> None:
    alone = make_space(backbones=("small",))
    old = _study(alone, *({"head.shrinkage": 0.1 + 0.05 * step} for step in range(8)))
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0, n_startup_trials=3))
    study.add_trials([carry(trial, alone.to_json(), make_space(), NOW) for trial in old.trials])
    recipes = []
    for _ in range(12):
        trial = study.ask()
        recipes.append(suggest_recipe(trial, make_space(), {}))
        study.tell(trial, 0.3 if recipes[-1].backbone == "large" else 0.5)
    assert {recipe.backbone for recipe in recipes} == {"large", "small"}


# ---- defaults that were tried already -------------------------------------------------------------------------------


@pytest.mark.parametrize("backbone", ["small", "large"])
def test_a_default_that_was_tried_is_known_as_such_in_a_space_with_more_to_choose(
    make_space: MakeSpace, backbone: str
) -> None:
    alone = make_space(backbones=("small",))
    study = _study(alone, default_params(alone, "head", "small"))
    new = make_space(tunings=BOTH, **_narrow(make_space(), **{"head.power": (0.25, 1.0)}))
    carried = optuna.create_study()
    carried.add_trial(carry(study.trials[0], alone.to_json(), new, NOW))
    carried.enqueue_trial(default_params(new, "head", backbone), skip_if_exists=True)
    assert len(carried.trials) == {"small": 1, "large": 2}[backbone]


# ---- trials that are not finished -----------------------------------------------------------------------------------


def _waiting(params: dict[str, Any], **attributes: Any) -> FrozenTrial:
    study = optuna.create_study()
    study.enqueue_trial(params, user_attrs=attributes)
    return study.trials[0]


def _recipe_of(trial: FrozenTrial, space: Space) -> Any:
    """What a carried trial trains when its turn comes."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    study.add_trial(trial)
    asked = study.ask()
    assert asked.number == 0
    return suggest_recipe(asked, space, asked.user_attrs.get(OVERRIDES, {}))


def test_a_trial_that_waits_goes_on_waiting_with_what_is_settled(make_space: MakeSpace) -> None:
    new = make_space(views=(2, 4))
    after = carry(_waiting(HEAD, **{RETRY_OF: 3}), make_space().to_json(), new, NOW)
    assert (after.state, after.user_attrs) == (TrialState.WAITING, {RETRY_OF: 3})
    recipe = _recipe_of(after, new)
    assert (recipe.backbone, recipe.shrinkage, recipe.views) == ("small", 0.2, 2)


def test_a_trial_that_waits_keeps_what_its_space_had_left_no_choice_in(make_space: MakeSpace) -> None:
    alone = make_space(backbones=("small",))
    new = make_space(tunings=BOTH, **_narrow(make_space(), **{"head.power": (0.25, 1.0)}))
    after = carry(_waiting({"head.shrinkage": 0.2}), alone.to_json(), new, NOW)
    assert after.system_attrs["fixed_params"] == {
        "tuning": "head",
        "backbone": "small",
        "head.shrinkage": 0.2,
        "head.power": 0.5,
    }


def test_a_settled_value_that_is_no_longer_offered_is_the_samplers(make_space: MakeSpace) -> None:
    new = make_space(**_narrow(make_space(), **{"head.shrinkage": (0.4, 0.8)}))
    after = carry(_waiting(HEAD), make_space().to_json(), new, NOW)
    assert 0.4 <= _recipe_of(after, new).shrinkage <= 0.8  # Optuna would warn of 0.2, and take it


def test_a_trial_that_a_dead_driver_left_running_is_taken_up_again(make_space: MakeSpace) -> None:
    (before,) = _study(make_space(), HEAD, tell=None).trials
    new = make_space(tunings=BOTH)
    study = optuna.create_study()
    study.add_trial(carry(before, make_space().to_json(), new, NOW))
    (closed,) = study.trials
    assert (closed.state, closed.user_attrs[INTERRUPTED], closed.datetime_complete) == (TrialState.FAIL, True, NOW)
    assert (counted_trials(study), close_interrupted(study)) == (0, 1)
    again = suggest_recipe(study.ask(), new, {})
    assert again.to_json() == before.user_attrs["recipe"]


def test_an_interrupted_recipe_is_the_same_when_it_goes_on_in_a_wider_space(make_space: MakeSpace) -> None:
    # Another learning rate in the last bit would be another recipe, without its finished folds.
    old = make_space(**_narrow(make_space(), **{"head.lr_multiplier": 0.102}))
    (before,) = _study(old, {"backbone": "small"}, tell=TrialState.FAIL, **{INTERRUPTED: True}).trials
    study = optuna.create_study()
    study.add_trial(carry(before, old.to_json(), make_space(), NOW))
    close_interrupted(study)
    assert suggest_recipe(study.ask(), make_space(), {}).to_json() == before.user_attrs["recipe"]


GONE = {
    "backbone": ({"backbone": "large"}, {"backbones": ("small",)}),
    "tuning": ({"tuning": "full", "backbone": "small"}, {"tunings": ("head",)}),
    "augmentation": ({"tuning": "full", "augmentation": "light"}, {"augmentations": ("none",)}),
}


@pytest.mark.parametrize("what", GONE)
def test_a_trial_that_waits_for_what_is_gone_is_stopped_and_does_not_count(make_space: MakeSpace, what: str) -> None:
    params, change = GONE[what]
    old = make_space(tunings=BOTH)
    study = optuna.create_study()
    study.add_trial(carry(_waiting(params), old.to_json(), make_space(**{"tunings": BOTH, **change}), NOW))
    (stopped,) = study.trials
    assert (stopped.state, stopped.user_attrs[NOT_OFFERED]) == (TrialState.FAIL, True)
    assert "no longer offers" in stopped.user_attrs["reason"]
    assert (counted_trials(study), close_interrupted(study)) == (0, 0)


def test_a_trial_whose_backbone_comes_back_goes_on_as_it_was(make_space: MakeSpace) -> None:
    old, without = make_space(), make_space(backbones=("small",))
    params = {**HEAD, "backbone": "large"}
    stopped = carry(_waiting(params), old.to_json(), without, NOW)
    study = optuna.create_study()
    study.add_trial(carry(stopped, without.to_json(), old, NOW))
    assert close_interrupted(study) == 1
    recipe = suggest_recipe(study.ask(), old, {})
    assert (recipe.backbone, recipe.shrinkage) == ("large", 0.2)


def test_a_fine_tuning_that_waits_in_a_search_of_heads_goes_on_waiting(make_space: MakeSpace) -> None:
    new = make_space(views=(2, 4))
    after = carry(_waiting(FULL, **{OVERRIDES: {"tuning": "full"}}), make_space().to_json(), new, NOW)
    assert after.state == TrialState.WAITING
    assert _recipe_of(after, new).mixup == 0.25


def test_a_trial_that_failed_for_good_is_not_tried_again(make_space: MakeSpace) -> None:
    (before,) = _study(make_space(), HEAD, tell=TrialState.FAIL, **{INTERRUPTED: False}).trials
    study = optuna.create_study()
    study.add_trial(carry(before, make_space().to_json(), make_space(backbones=("large",)), NOW))
    assert (counted_trials(study), close_interrupted(study)) == (1, 0)
