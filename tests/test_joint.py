"""Heads on several backbones side by side: names, recipes, features, searches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from automl_car.catalog.joint import is_joint, joint_name, joint_version, parts_of, single, versions_of
from automl_car.catalog.manager import Catalog
from automl_car.catalog.records import Backbone
from automl_car.config import SpaceConfig, TrainingConfig, load_config
from automl_car.data.prepare import Prepared
from automl_car.errors import ConfigError, DivergedError, PluginError
from automl_car.fold_records import FoldTask, Progress
from automl_car.joint import part_recipes
from automl_car.pipeline.choices import largest_size, pick_backbones, tunings_of
from automl_car.records import Recipe
from automl_car.search.blame import blame, used
from automl_car.search.first import first_trials
from automl_car.search.space import Space, make_space
from automl_car.search.strikes import Strikes
from automl_car.search.weights import weights_of
from automl_car.store import read_model
from automl_car.training.checkpoint import from_safetensors
from automl_car.training.fold import train_fold
from automl_car.training.head import fit_discriminant
from automl_car.training.rows import Rows
from automl_car.training.side_by_side import SideBySide

NAME = "toy+toy_large"
HEAD = Recipe(NAME, tuning="head", image_size=32, epochs=1, weights="random", views=2)


# ---- names ----------------------------------------------------------------------------------------------------------


def test_one_name_serves_whatever_the_order() -> None:
    assert joint_name(["b", "a", "b"]) == joint_name(["a", "b"]) == "a+b"
    assert parts_of("a+b") == ("a", "b")


def test_a_single_backbone_is_its_own_part() -> None:
    assert (parts_of("a"), is_joint("a"), is_joint("a+b")) == (("a",), False, True)


def test_all_that_are_named_alone_or_together_are_found_once() -> None:
    assert single(["c", "a+b", "b"]) == ("a", "b", "c")


@pytest.mark.parametrize("versions", [("", "1.2"), ("1.0+local", ""), ("", ""), ("a", "b", "")])
def test_versions_come_apart_as_they_were_put_together(versions: tuple[str, ...]) -> None:
    assert versions_of(joint_version(versions), len(versions)) == versions


def test_the_version_is_that_of_all_plugins(toy_catalog: Catalog) -> None:
    version = toy_catalog.version_of("toy")
    assert toy_catalog.version_of(NAME) == f"{version} {version}"
    assert toy_catalog.version_of("efficientnet_lite0+toy") == f"- {version}"
    assert toy_catalog.version_of("efficientnet_lite0+efficientnet_lite1") == ""


def test_an_unknown_part_is_named(toy_catalog: Catalog) -> None:
    with pytest.raises(PluginError, match="Unknown backbone `toi`"):
        toy_catalog.parts("toi+toy_large")


# ---- the recipes of the parts ---------------------------------------------------------------------------------------


def test_at_their_own_size_together_each_has_its_own(toy_catalog: Catalog) -> None:
    parts = part_recipes(HEAD, toy_catalog.parts(NAME))
    assert [(part.backbone, part.image_size) for part in parts] == [("toy", 16), ("toy_large", 32)]


def test_at_any_other_size_all_have_that(toy_catalog: Catalog) -> None:
    parts = part_recipes(replace(HEAD, image_size=24), toy_catalog.parts(NAME))
    assert [part.image_size for part in parts] == [24, 24]


def test_the_recipe_of_a_single_backbone_stays(toy_catalog: Catalog) -> None:
    recipe = replace(HEAD, backbone="toy", image_size=20)
    assert part_recipes(recipe, toy_catalog.parts("toy")) == (recipe,)


# ---- features -------------------------------------------------------------------------------------------------------


@pytest.fixture
def train(toy_catalog: Catalog, tiny_prepared: Prepared, tmp_path: Path) -> Callable[..., FoldTask]:
    """Trains fold 0 of a recipe, and returns its task."""

    def run(recipe: Recipe, catalog: Catalog = toy_catalog, seen: list[Any] | None = None) -> FoldTask:
        task = FoldTask(recipe, recipe.id(tiny_prepared.folds), 0, tmp_path / "study", tmp_path / "cache")
        train_fold(task, catalog, tiny_prepared, (seen if seen is not None else []).append)
        return task

    return run


def test_side_by_side_they_read_as_one_array() -> None:
    arrays = tuple(np.random.default_rng(0).normal(size=(6, width)).astype(np.float16) for width in (3, 2))
    found, rows = SideBySide(arrays), np.array([4, 1, 4])
    assert found.shape == (6, 5)
    np.testing.assert_array_equal(found[rows], np.concatenate(arrays, axis=1)[rows])


def test_a_head_on_them_is_the_head_on_their_concatenation(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    views = [tuple(random.normal(size=(40, width)).astype(np.float16) for width in (4, 3)) for _ in range(2)]
    labels, rows = torch.arange(40) % 3, np.arange(40)
    beside = fit_discriminant(Rows([SideBySide(view) for view in views], rows), labels, 3, 0.3)
    whole = [np.concatenate(view, axis=1) for view in views]
    expected = fit_discriminant(Rows(whole, rows), labels, 3, 0.3)
    torch.testing.assert_close(beside.head.weight, expected.head.weight)


def test_backbones_together_use_the_features_of_each_alone(train: Callable[..., FoldTask], tmp_path: Path) -> None:
    for name, size in (("toy", 16), ("toy_large", 32)):
        train(replace(HEAD, backbone=name, image_size=size))
    seen: list[Any] = []
    train(HEAD, seen=seen)
    assert not [message for message in seen if isinstance(message, Progress)]  # nothing was computed
    assert len(list((tmp_path / "cache").glob("features/*/photo"))) == 2


def test_the_head_has_a_weight_for_each_feature_of_each(train: Callable[..., FoldTask]) -> None:
    model = from_safetensors(read_model(train(HEAD).fold_directory))
    assert tuple(model["weight"].shape) == (3, 12 + 12)


# ---- what a search chooses from -------------------------------------------------------------------------------------


def _space(catalog: Catalog, *backbones: str, **training: Any) -> Space:
    return make_space(
        catalog,
        backbones,
        ("none",),
        ("full", "head"),
        SpaceConfig(),
        TrainingConfig(**training),
        seed=0,
        photo_side=100,
    )


def test_only_heads_have_several_and_come_to_them_last(toy_catalog: Catalog) -> None:
    space = _space(toy_catalog, NAME, "toy_large", "toy")
    assert space.backbones == ("toy", "toy_large", NAME)
    assert space.backbones_for("full") == ("toy", "toy_large")
    assert NAME not in {*space.full_sizes, *space.default_lr}
    order = [params["backbone"] for params in first_trials(space, {name: 16 for name in space.backbones})]
    assert order == ["toy", "toy_large", NAME]


def test_their_own_size_is_that_of_the_largest(toy_catalog: Catalog) -> None:
    assert _space(toy_catalog, NAME).head_sizes == {NAME: (32,)}


def test_weights_that_differ_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"`training.weights` of `toy\+toy_large` is pretrained and random"):
        weights_of(TrainingConfig(weights={"toy": "random"}), NAME)
    assert weights_of(TrainingConfig(weights="random"), NAME) == "random"


class _View:
    def note(self, text: str) -> None: ...


def test_a_person_may_name_them(toy_catalog: Catalog) -> None:
    config = load_config(None, {"search.backbones": ["toy_large+toy", "toy"]})
    names = pick_backbones(toy_catalog, config, _View())  # type: ignore[arg-type]
    assert names == ("toy", NAME)
    assert tunings_of(names, ("full", "head")) == ("full", "head")
    assert largest_size(config, toy_catalog, names) == 32


def test_they_need_heads() -> None:
    with pytest.raises(ConfigError, match=r"`toy\+toy_large` can only have a head") as error:
        tunings_of((NAME,), ("full",))
    assert "--tuning head" in str(error.value.hint)


def test_alone_they_leave_nothing_to_fine_tune() -> None:
    assert tunings_of((NAME,), ("full", "head")) == ("head",)


def test_none_stands_beside_itself(toy_catalog: Catalog) -> None:
    config = load_config(None, {"search.backbones": ["toy+toy"]})
    with pytest.raises(ConfigError, match="beside itself"):
        pick_backbones(toy_catalog, config, _View())  # type: ignore[arg-type]


# ---- whose fault it is ----------------------------------------------------------------------------------------------


def test_a_part_that_is_left_out_leaves_them_out(toy_catalog: Catalog) -> None:
    strikes = Strikes({"toy": "plugin `toys`"})
    for _ in range(3):
        strikes.strike(("toy",), "it failed")
    assert strikes.backbones(_space(toy_catalog, "toy", "toy_large", NAME)) == ("toy_large",)


def test_all_of_them_are_suspects(toy_catalog: Catalog) -> None:
    assert used(HEAD) == ("toy", "toy_large")


def _with_large(catalog: Catalog, forward: Callable[[torch.nn.Module, torch.Tensor], torch.Tensor]) -> Catalog:
    """The catalog with another `toy_large`, which computes this."""

    class Network(torch.nn.Module):
        def __init__(self, classes: int) -> None:
            super().__init__()
            self.head = torch.nn.Linear(3, classes)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return forward(self.head, images)

    large = Backbone("toy_large", lambda classes, *, pretrained=True: Network(classes), image_size=32)
    return replace(catalog, backbones={**catalog.backbones, "toy_large": large})


def test_the_one_whose_network_fails_is_blamed(toy_catalog: Catalog, train: Callable[..., FoldTask]) -> None:
    def forward(head: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
        raise KeyError("no")

    with pytest.raises(KeyError) as error:
        train(HEAD, catalog=_with_large(toy_catalog, forward))
    assert blame(error.value, HEAD) == ("toy_large",)


def test_features_that_are_not_finite_name_the_backbone(toy_catalog: Catalog, train: Callable[..., FoldTask]) -> None:
    infinite = _with_large(toy_catalog, lambda head, images: head(images.mean((2, 3)) * torch.inf))
    with pytest.raises(DivergedError, match="Features of `toy_large` at 32 px are not finite"):
        train(HEAD, catalog=infinite)
