"""What a study may choose from, and how a trial becomes a recipe."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import optuna
import pytest

from automl_car.catalog.manager import Catalog, load_catalog
from automl_car.config import SpaceConfig, TrainingConfig
from automl_car.records import Recipe
from automl_car.search.first import default_params, fine_tunings, first_trials
from automl_car.search.space import Space, make_space, suggest_recipe, values_of
from automl_car.search.weights import weights_of

BOTH = ("full", "head")


@pytest.fixture(scope="module")
def bundled() -> Catalog:
    return load_catalog()


def _make(catalog: Catalog, **changes: Any) -> Space:
    options: dict[str, Any] = {
        "backbones": ("toy", "toy_large"),
        "augmentations": ("none", "light"),
        "tunings": BOTH,
        "space": SpaceConfig(),
        "training": TrainingConfig(),
        "seed": 3,
        "photo_side": 100,
    } | changes
    positional = [options.pop(name) for name in ("backbones", "augmentations", "tunings", "space", "training")]
    return make_space(catalog, *positional, **options)


def _recipe(space: Space, params: dict[str, Any], overrides: dict[str, Any] | None = None) -> Recipe:
    """What the trial of these parameters trains; Optuna itself checks that they are in range."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.enqueue_trial(params)
    return suggest_recipe(study.ask(), space, overrides or {})


def _parameters(space: Space, count: int = 60) -> dict[str, set[str]]:
    """Names of the parameters that random trials of each tuning have."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    names: dict[str, set[str]] = {"head": set(), "full": set()}
    for _ in range(count):
        trial = study.ask()
        names[suggest_recipe(trial, space, {}).tuning] |= set(trial.params)
        study.tell(trial, 1.0)
    return names


# ---- what becomes a parameter ---------------------------------------------------------------------------------------


def test_heads_and_fine_tuning_have_the_parameters_that_the_page_says(toy_catalog: Catalog) -> None:
    names = _parameters(_make(toy_catalog))
    core = {"tuning", "backbone"}
    assert names["head"] == core | {"head.lr_multiplier", "head.shrinkage", "head.power"}
    assert names["full"] == core | {
        "augmentation",
        "lr_multiplier",
        "weight_decay",
        "layer_decay",
        "label_smoothing",
        "mixup",
        "cutmix",
        "toy.width",
        "light.border",
    }


def test_a_setting_with_a_single_value_is_no_parameter(toy_catalog: Catalog) -> None:
    settings = SpaceConfig(lr_multiplier=1.0, weight_decay=0.02, shrinkage=0.4, mixup=0.0)
    space = _make(toy_catalog, backbones=("toy",), augmentations=("none",), tunings=("full",), space=settings)
    assert _parameters(space)["full"] == {"layer_decay", "label_smoothing", "cutmix", "toy.width"}
    recipe = _recipe(space, {})
    assert (recipe.weight_decay, recipe.mixup, recipe.learning_rate) == (0.02, 0.0, 0.01)


def test_several_image_sizes_are_searched(toy_catalog: Catalog) -> None:
    space = _make(toy_catalog, tunings=("full",), space=SpaceConfig(image_size=(64, 32)))
    sizes = {_recipe(space, {"image_size": size}).image_size for size in (32, 64)}
    assert sizes == {32, 64}


def test_several_numbers_of_views_are_searched_for_heads_alone(toy_catalog: Catalog) -> None:
    space = _make(toy_catalog, space=SpaceConfig(views=(4, 2)))
    names = _parameters(space)
    assert "head.views" in names["head"]
    assert "head.views" not in names["full"]
    heads = {"tuning": "head", "backbone": "toy"}
    assert {_recipe(space, heads | {"head.views": views}).views for views in (2, 4)} == {2, 4}


def test_a_single_number_of_views_is_fixed(toy_catalog: Catalog) -> None:
    assert _recipe(_make(toy_catalog, tunings=("head",), space=SpaceConfig(views=3)), {}).views == 3


def test_the_first_heads_have_the_most_views(toy_catalog: Catalog) -> None:
    space = _make(toy_catalog, tunings=("head",), space=SpaceConfig(views=(4, 2)))
    assert {params["head.views"] for params in first_trials(space, {"toy": 16, "toy_large": 32})} == {4}


def test_spaces_of_other_views_are_other_spaces(toy_catalog: Catalog) -> None:
    few, many = (_make(toy_catalog, space=SpaceConfig(views=views)) for views in (2, 4))
    assert few.fingerprint != many.fingerprint


def test_names_are_sorted_so_that_the_order_of_plugins_changes_nothing(toy_catalog: Catalog) -> None:
    forward = _make(toy_catalog)
    backward = _make(toy_catalog, backbones=("toy_large", "toy"), augmentations=("light", "none"))
    assert forward.to_json() == backward.to_json()
    assert forward.backbones == ("toy", "toy_large")


# ---- from a trial to a recipe ---------------------------------------------------------------------------------------


def test_the_learning_rate_is_the_backbones_own_times_the_multiplier(toy_catalog: Catalog) -> None:
    recipe = _recipe(_make(toy_catalog, tunings=("full",)), {"backbone": "toy", "lr_multiplier": 0.25})
    assert recipe.learning_rate == pytest.approx(0.01 * 0.25)


def test_a_configured_learning_rate_takes_the_place_of_every_backbones_own(toy_catalog: Catalog) -> None:
    space = _make(toy_catalog, tunings=("full",), training=TrainingConfig(learning_rate=2e-4))
    assert _recipe(space, {"lr_multiplier": 2.0}).learning_rate == pytest.approx(4e-4)


def test_parameters_of_a_plugin_reach_the_recipe_under_its_name(toy_catalog: Catalog) -> None:
    params = {"tuning": "full", "backbone": "toy", "augmentation": "light", "toy.width": 5, "light.border": 0.2}
    assert _recipe(_make(toy_catalog), params).params == (("light.border", 0.2), ("toy.width", 5))


def test_a_recipe_has_no_parameters_of_plugins_that_it_does_not_use(toy_catalog: Catalog) -> None:
    params = {"tuning": "full", "backbone": "toy_large", "augmentation": "none"}
    assert _recipe(_make(toy_catalog), params).params == ()


def test_heads_that_train_the_same_are_equal_recipes(toy_catalog: Catalog) -> None:
    head = {"tuning": "head", "backbone": "toy", "head.lr_multiplier": 1.0, "head.shrinkage": 0.3, "head.power": 0.5}
    first = _recipe(_make(toy_catalog), head)
    other_schedule = _make(toy_catalog, training=TrainingConfig(epochs=3, ema=0.1), space=SpaceConfig(mixup=0.4))
    assert _recipe(other_schedule, head) == first


def test_fine_tuning_takes_its_schedule_from_the_settings(toy_catalog: Catalog) -> None:
    training = TrainingConfig(
        epochs=7, batch_size=12, patience=3, warmup=0.2, clip_norm=2.0, ema=0.25, head_multiplier=4.0, plain_epochs=0.3
    )
    recipe = _recipe(_make(toy_catalog, tunings=("full",), training=training), {})
    assert (recipe.epochs, recipe.batch_size, recipe.patience, recipe.seed) == (7, 12, 3, 3)
    assert (recipe.warmup, recipe.clip_norm, recipe.ema) == (0.2, 2.0, 0.25)
    assert (recipe.head_multiplier, recipe.plain_epochs) == (4.0, 0.3)


def test_overrides_settle_fields_and_leave_the_rest_to_the_trial(toy_catalog: Catalog) -> None:
    settled = {"tuning": "full", "epochs": 2, "image_size": 96}
    recipe = _recipe(_make(toy_catalog, tunings=("head",)), {"weight_decay": 0.1}, settled)
    assert (recipe.tuning, recipe.epochs, recipe.image_size, recipe.weight_decay) == ("full", 2, 96, 0.1)


def test_fine_tuning_does_not_enlarge_photos_and_heads_use_the_networks_own_size(bundled: Catalog) -> None:
    space = _make(bundled, backbones=("efficientnet_lite0",), photo_side=130)
    assert space.full_sizes == {"efficientnet_lite0": (160,)}
    assert space.head_sizes == {"efficientnet_lite0": (224,)}


def test_photos_larger_than_the_network_are_reduced_to_its_own_size(bundled: Catalog) -> None:
    assert _make(bundled, backbones=("efficientnet_lite0",), photo_side=900).full_sizes["efficientnet_lite0"] == (224,)


@pytest.mark.parametrize(
    ("setting", "expected"), [("random", "random"), ({"toy": "a.pth"}, "a.pth"), ({"other": "random"}, "pretrained")]
)
def test_weights_can_be_set_for_all_backbones_or_for_one(setting: Any, expected: str) -> None:
    assert weights_of(TrainingConfig(weights=setting), "toy") == expected


def test_a_recipe_remembers_the_versions_of_the_plugins_that_it_uses(toy_catalog: Catalog) -> None:
    space = replace(_make(toy_catalog), versions={"toy": "11111111", "light": "22222222"})
    full = {"tuning": "full", "backbone": "toy", "augmentation": "light"}
    versions = [
        (recipe.backbone_version, recipe.augmentation_version)
        for recipe in (
            _recipe(space, full),
            _recipe(space, {**full, "backbone": "toy_large", "augmentation": "none"}),
            _recipe(space, {"tuning": "head", "backbone": "toy"}),
        )
    ]
    assert versions == [("11111111", "22222222"), ("", ""), ("11111111", "")]


def test_a_space_has_the_versions_of_plugins_that_are_not_bundled(toy_catalog: Catalog) -> None:
    version = toy_catalog.version_of("toy")
    assert _make(toy_catalog).versions == {"toy": version, "toy_large": version}
    assert _make(toy_catalog).to_json()["versions"] == {"toy": version, "toy_large": version}


@pytest.mark.parametrize("tuning", BOTH)
def test_a_recipe_tells_the_parameters_that_it_came_from(toy_catalog: Catalog, tuning: Any) -> None:
    space = _make(toy_catalog, tunings=(tuning,), space=SpaceConfig(image_size=(32, 64), views=(2, 4)))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        trial = study.ask()
        values = values_of(suggest_recipe(trial, space, {}), space)
        assert {name: values[name] for name in trial.params} == pytest.approx(trial.params)


# ---- the fingerprint ------------------------------------------------------------------------------------------------


def test_a_space_read_back_from_json_is_the_same_json(toy_catalog: Catalog) -> None:
    space = _make(toy_catalog)
    assert json.loads(json.dumps(space.to_json())) == space.to_json()


@pytest.mark.parametrize(
    "changes",
    [
        {"backbones": ("toy",)},
        {"augmentations": ("none",)},
        {"tunings": ("head",)},
        {"space": SpaceConfig(mixup=0.5)},
        {"training": TrainingConfig(epochs=2)},
        {"training": TrainingConfig(weights="random")},
        {"training": TrainingConfig(learning_rate=0.5)},
        {"seed": 4},
    ],
)
def test_whatever_changes_the_recipes_changes_the_fingerprint(toy_catalog: Catalog, changes: dict[str, Any]) -> None:
    assert _make(toy_catalog, **changes).fingerprint != _make(toy_catalog).fingerprint


# ---- where a search begins ------------------------------------------------------------------------------------------


def test_heads_come_first_and_the_smallest_photos_before_larger_ones(make_space: Callable[..., Space]) -> None:
    first = first_trials(make_space(), {"small": 224, "large": 256})
    assert [params["backbone"] for params in first] == ["small", "large"]


def test_where_heads_are_searched_too_they_alone_come_first(toy_catalog: Catalog) -> None:
    first = first_trials(_make(toy_catalog), {"toy": 32, "toy_large": 16})
    assert [(params["tuning"], params["backbone"]) for params in first] == [("head", "toy_large"), ("head", "toy")]


def test_without_heads_fine_tunings_come_first_and_the_smallest_photos_before_larger_ones(toy_catalog: Catalog) -> None:
    space = _make(toy_catalog, tunings=("full",))
    assert first_trials(space, {"toy": 32, "toy_large": 16}) == fine_tunings(space, ("toy_large", "toy"))


def test_fine_tunings_try_each_plugin_once_at_its_defaults_in_the_given_order(toy_catalog: Catalog) -> None:
    space = _make(toy_catalog, augmentations=("none", "light", "rand"))
    trials = fine_tunings(space, ("toy_large", "toy"))
    assert [(params["tuning"], params["backbone"], params["augmentation"]) for params in trials] == [
        ("full", "toy_large", "light"),
        ("full", "toy", "light"),
        ("full", "toy_large", "none"),
        ("full", "toy_large", "rand"),
    ]


def test_the_first_trials_are_what_optuna_accepts_and_change_no_default(toy_catalog: Catalog) -> None:
    space = _make(toy_catalog)
    for params in (*first_trials(space, {"toy": 16, "toy_large": 32}), *fine_tunings(space, space.backbones)):
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        study.enqueue_trial(params)
        trial = study.ask()
        suggest_recipe(trial, space, {})
        assert trial.params == params


def test_the_recipe_of_the_first_contest_project_is_tried_once_on_an_efficientnet(bundled: Catalog) -> None:
    space = _make(bundled, backbones=("efficientnet_lite0", "efficientnet_lite1", "resnet50"))
    recipes = [_recipe(space, p) for p in fine_tunings(space, ("resnet50", "efficientnet_lite1", "efficientnet_lite0"))]
    recipe = recipes[-1]
    assert recipe.learning_rate == pytest.approx(1e-4)
    assert (recipe.backbone, recipe.mixup, recipe.cutmix, recipe.layer_decay) == ("efficientnet_lite1", 0.0, 0.0, 1.0)
    assert [other.learning_rate for other in recipes].count(recipe.learning_rate) == 1


def test_a_default_outside_a_narrowed_range_moves_to_its_end(toy_catalog: Catalog) -> None:
    space = _make(toy_catalog, space=SpaceConfig(layer_decay=(0.5, 0.6), weight_decay=(0.1, 0.2)))
    params = default_params(space, "full", "toy", "none")
    assert (params["layer_decay"], params["weight_decay"]) == (0.6, 0.1)


def test_without_a_light_augmentation_the_first_by_name_is_the_usual_one(make_space: Callable[..., Space]) -> None:
    space = replace(make_space(), tunings=("full",), augmentations=("heavy", "trivial"))
    first = first_trials(space, {"small": 1, "large": 2})
    assert [params["augmentation"] for params in first] == ["heavy", "heavy", "trivial"]
