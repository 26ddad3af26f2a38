"""The best recipes of another study as the first trials of this one."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from automl_car.catalog.params import Param
from automl_car.errors import StudyError
from automl_car.records import Recipe
from automl_car.search.space import HEAD_LEARNING_RATE, Space, suggest_recipe
from automl_car.search.study import connect
from automl_car.search.warm_start import load_warm_start, recipe_params, warm_start, warm_trials

Desk = Any  # see conftest.py
MakeSpace = Callable[..., Space]
BOTH = ("full", "head")


def _trials(recipes: Sequence[Recipe]) -> list[FrozenTrial]:
    """Complete trials of these recipes, the first one best."""
    return [
        create_trial(value=0.5 + place, user_attrs={"recipe": recipe.to_json()}) for place, recipe in enumerate(recipes)
    ]


def _write_study(url: str, name: str, trials: Sequence[FrozenTrial]) -> None:
    study = optuna.create_study(study_name=name, storage=connect(url))
    for trial in trials:
        study.add_trial(trial)


def _asked(space: Space, params: dict[str, Any]) -> tuple[Recipe, dict[str, Any]]:
    """What a trial of these parameters trains, and what it was asked; Optuna warns of values out of range."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.enqueue_trial(params)
    trial = study.ask()
    return suggest_recipe(trial, space, {}), trial.params


HEAD = Recipe("small", tuning="head", learning_rate=HEAD_LEARNING_RATE * 2, shrinkage=0.4, views=2)
FULL = Recipe("large", "light", learning_rate=3e-3, weight_decay=0.02, layer_decay=0.8, mixup=0.1, cutmix=0.2)


@pytest.mark.parametrize("value", [float("inf"), float("-inf")])
def test_a_trial_whose_log_loss_is_not_finite_is_nothing_to_begin_with(tmp_path: Path, value: float) -> None:
    good, bad = create_trial(value=0.5), create_trial(value=value)
    _write_study(f"sqlite:///{tmp_path}/studies/old.db", "old", [bad, good])
    assert [trial.value for trial in load_warm_start("old", tmp_path / "studies", None)] == [0.5]


# ---- one recipe -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{}, {"tunings": BOTH}, {"tunings": ("full",)}, {"head_sizes": None}])
def test_in_its_own_space_every_recipe_comes_back_as_it_was(make_space: MakeSpace, changes: dict[str, Any]) -> None:
    if "head_sizes" in changes:
        sizes = {"large": (160, 224), "small": (160, 224)}
        changes = {"tunings": BOTH, "head_sizes": sizes, "full_sizes": sizes, "views": (1, 2, 4)}
    space = make_space(**changes)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(40):
        trial = study.ask()
        recipe = suggest_recipe(trial, space, {})
        params = recipe_params(space, recipe)
        assert params is not None
        again, asked = _asked(space, params)
        assert asked == params, "only what is asked for is settled"
        assert again.learning_rate == pytest.approx(recipe.learning_rate)
        assert replace(again, learning_rate=recipe.learning_rate) == recipe
        study.tell(trial, 1.0)


def test_the_learning_rate_is_a_multiple_of_what_is_usual_here(make_space: MakeSpace) -> None:
    space = make_space(tunings=BOTH, default_lr={"large": 6e-3, "small": 5e-4})
    head, full = recipe_params(space, HEAD), recipe_params(space, FULL)
    assert head is not None
    assert full is not None
    assert head["head.lr_multiplier"] == pytest.approx(2.0)
    assert full["lr_multiplier"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    "recipe",
    [
        replace(HEAD, backbone="gone"),
        replace(FULL, augmentation="gone"),
        replace(FULL, tuning="head", backbone="gone"),
    ],
)
def test_what_is_not_there_cannot_be_brought(make_space: MakeSpace, recipe: Recipe) -> None:
    assert recipe_params(make_space(tunings=BOTH), recipe) is None


def test_a_fine_tuning_is_nothing_to_a_search_of_heads(make_space: MakeSpace) -> None:
    assert recipe_params(make_space(tunings=("head",)), FULL) is None


def test_the_augmentation_of_a_head_does_not_matter(make_space: MakeSpace) -> None:
    space = make_space(tunings=BOTH, augmentations=("light",))
    assert recipe_params(space, HEAD) is not None


def test_numbers_outside_the_ranges_move_to_their_ends(make_space: MakeSpace) -> None:
    ranges = make_space().ranges | {"lr_multiplier": (0.5, 2.0), "mixup": (0.2, 0.3), "layer_decay": (0.9, 1.0)}
    params = recipe_params(make_space(tunings=BOTH, ranges=ranges), FULL)  # its rate is three times the usual one
    assert params is not None
    assert (params["lr_multiplier"], params["mixup"], params["layer_decay"], params["cutmix"]) == (2.0, 0.2, 0.9, 0.2)


def test_settled_settings_are_left_out(make_space: MakeSpace) -> None:
    ranges = {name: 0.5 for name in make_space().ranges}
    names = {"tunings": ("full",), "backbones": ("large",), "augmentations": ("light",)}
    params = recipe_params(make_space(**names, ranges=ranges), FULL)
    assert params == {"large.drop_path": 0.1}  # the recipe is silent on it: the plugin's default


def test_image_sizes_and_views_are_the_nearest_that_there_are(make_space: MakeSpace) -> None:
    space = make_space(tunings=BOTH, head_sizes={"large": (256,), "small": (192, 256)}, views=(1, 4))
    params = recipe_params(space, replace(HEAD, image_size=200, views=3))
    assert params is not None
    assert (params["head.image_size"], params["head.views"]) == (192, 4)


@pytest.mark.parametrize(
    ("param", "stored", "expected"),
    [
        (Param.float("p", 0.0, 0.5, default=0.1), 0.3, 0.3),
        (Param.float("p", 0.0, 0.2, default=0.1), 0.3, 0.2),
        (Param.int("p", 1, 4, default=2), 3.6, 4),
        (Param.int("p", 1, 4, default=2), "wide", 2),
        (Param.choice("p", ("a", "b"), default="a"), "b", "b"),
        (Param.choice("p", ("a", "b"), default="a"), "c", "a"),
    ],
)
def test_parameters_of_plugins_fit_what_the_plugin_declares_now(
    make_space: MakeSpace, param: Param, stored: Any, expected: Any
) -> None:
    space = make_space(tunings=BOTH, params={"large": (param,), "small": (), "light": (), "none": ()})
    params = recipe_params(space, replace(FULL, params=(("large.p", stored), ("large.gone", 7))))
    assert params is not None
    assert params["large.p"] == expected
    assert "large.gone" not in params
    assert _asked(space, params)[1] == params


# ---- several --------------------------------------------------------------------------------------------------------


def test_the_best_come_first_with_two_of_a_kind_at_most(make_space: MakeSpace) -> None:
    heads = [replace(HEAD, shrinkage=0.1 * place) for place in (1, 2, 3)]
    recipes = [*heads, FULL, replace(HEAD, backbone="large")]
    trials = warm_trials(make_space(tunings=BOTH), _trials(recipes), 5)
    assert [(p["tuning"], p["backbone"], p.get("head.shrinkage")) for p in trials] == [
        ("head", "small", pytest.approx(0.1)),
        ("head", "small", pytest.approx(0.2)),
        ("full", "large", None),
        ("head", "large", pytest.approx(0.4)),
    ]


def test_as_many_come_as_are_asked_for(make_space: MakeSpace) -> None:
    trials = _trials([HEAD, FULL, replace(HEAD, backbone="large")])
    assert len(warm_trials(make_space(tunings=BOTH), trials, 2)) == 2


def test_recipes_that_are_the_same_here_come_once(make_space: MakeSpace) -> None:
    outside = [replace(HEAD, shrinkage=value) for value in (0.9, 1.0)]  # the range ends at 0.8
    assert len(warm_trials(make_space(), _trials(outside), 5)) == 1


def test_trials_without_a_recipe_are_passed_over(make_space: MakeSpace) -> None:
    strangers = [create_trial(value=0.1), *_trials([HEAD])]
    assert len(warm_trials(make_space(), strangers, 5)) == 1


def test_a_recipe_of_another_version_is_read_as_far_as_it_is_known(make_space: MakeSpace) -> None:
    stored = {**HEAD.to_json(), "field_of_the_future": 1}
    del stored["power"]
    trial = create_trial(value=0.1, user_attrs={"recipe": stored})
    assert len(warm_trials(make_space(), [trial], 5)) == 1


# ---- reading another study ------------------------------------------------------------------------------------------


def test_a_study_of_the_workspace_is_found_by_its_name_best_trial_first(tmp_path: Path) -> None:
    _write_study(f"sqlite:///{tmp_path}/studies/old.db", "old", _trials([HEAD, FULL])[::-1])
    trials = load_warm_start("old", tmp_path / "studies", None)
    assert [trial.value for trial in trials] == [0.5, 1.5]


def test_a_name_is_looked_for_in_the_storage(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shared.db"
    _write_study(url, "old", _trials([HEAD]))
    _write_study(url, "other", [])
    assert len(load_warm_start("old", tmp_path / "studies", url)) == 1


@pytest.mark.parametrize("absolute", [True, False])
def test_a_study_of_another_workspace_is_found_by_its_path(tmp_path: Path, absolute: bool) -> None:
    _write_study(f"sqlite:///{tmp_path}/there/studies/main.db", "main", _trials([HEAD]))
    path = str(tmp_path / "there/studies/main.db") if absolute else "../there/studies/main.db"
    (tmp_path / "here/studies").mkdir(parents=True)
    assert len(load_warm_start(path, tmp_path / "here/studies", "postgresql://not/asked")) == 1


def test_a_file_that_was_renamed_is_known_by_its_only_study(tmp_path: Path) -> None:
    _write_study(f"sqlite:///{tmp_path}/kept.db", "main", _trials([HEAD]))
    assert len(load_warm_start("kept.db", tmp_path / "studies", None)) == 1


def test_of_several_studies_in_a_file_none_is_guessed(tmp_path: Path) -> None:
    for name in ("a", "b"):
        _write_study(f"sqlite:///{tmp_path}/kept.db", name, [])
    with pytest.raises(StudyError, match=r"kept\.db` holds 2 studies, and none is called `kept`"):
        load_warm_start("kept.db", tmp_path / "studies", None)


def test_trials_that_are_not_complete_are_not_brought(tmp_path: Path) -> None:
    pruned = create_trial(state=TrialState.PRUNED, user_attrs={"recipe": HEAD.to_json()})
    _write_study(f"sqlite:///{tmp_path}/studies/old.db", "old", [pruned])
    assert load_warm_start("old", tmp_path / "studies", None) == []


@pytest.mark.parametrize("name", ["gone", "gone.db"])
def test_a_study_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(StudyError, match="gone"):
        load_warm_start(name, tmp_path / "studies", None)
    assert list(tmp_path.iterdir()) == []


def test_somebody_elses_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "photos.db")) as connection:
        connection.execute("CREATE TABLE photos (name TEXT)")
    before = (tmp_path / "photos.db").read_bytes()
    with pytest.raises(StudyError, match=r"photos\.db` is not the database of a study"):
        load_warm_start("photos.db", tmp_path / "studies", None)
    assert (tmp_path / "photos.db").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["photos.db"]


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("no database at all" * 100)
    with pytest.raises(StudyError, match=r"text\.db` is not the database of a study"):
        load_warm_start("text.db", tmp_path / "studies", None)


# ---- the whole ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recipes", "note"),
    [
        ([HEAD], "1 recipe of study `old` comes first"),
        ([HEAD, replace(HEAD, backbone="large")], "2 recipes of study `old` come first"),
    ],
)
def test_a_note_says_what_came_from_where(
    tmp_path: Path, make_space: MakeSpace, recipes: list[Recipe], note: str
) -> None:
    _write_study(f"sqlite:///{tmp_path}/studies/old.db", "old", _trials(recipes))
    assert warm_start("old", make_space(), tmp_path / "studies", None).note == note


def test_a_study_of_which_nothing_can_be_used_is_named_with_what_it_used(tmp_path: Path, make_space: MakeSpace) -> None:
    recipes = [replace(HEAD, backbone="vit"), FULL, FULL]
    _write_study(f"sqlite:///{tmp_path}/studies/old.db", "old", _trials(recipes))
    with pytest.raises(StudyError) as caught:
        warm_start("old", make_space(), tmp_path / "studies", None)
    assert caught.value.message == (
        "Nothing of study `old` can be tried here: it used vit (head), large (full, light)."
    )
    assert "head of large, small" in (caught.value.hint or "")


def test_a_study_without_a_complete_trial_is_named(tmp_path: Path, make_space: MakeSpace) -> None:
    _write_study(f"sqlite:///{tmp_path}/studies/old.db", "old", [])
    with pytest.raises(StudyError, match="Study `old` has no complete trial"):
        warm_start("old", make_space(), tmp_path / "studies", None)


def test_a_search_begins_with_the_best_recipe_of_the_other(desk: Desk, tmp_path: Path) -> None:
    old = replace(desk, folder=tmp_path / "old", executor=type(desk.executor)(), view=type(desk.view)())
    best = min(old.go(6), key=lambda trial: trial.value)
    desk.first = warm_start(str(tmp_path / "old/studies/main.db"), desk.space, tmp_path / "studies", None).trials
    first = desk.go(len(desk.first))[0]
    assert first.value == pytest.approx(best.value)
    assert first.params == pytest.approx(best.params)
