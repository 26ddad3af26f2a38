"""Recipes and folds as values: how they are named, stored and split."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from automl_car.fold_records import NO_FOLD, FoldTask
from automl_car.records import Folds, Recipe, fingerprint

FOLDS = Folds(np.array([0, 1, 2, 0, 1, 2, 2]), 3, "photos-and-folds")
RECIPE = Recipe("toy", learning_rate=3e-4, params=(("toy.alpha", 0.25), ("toy.width", 8)))


def test_a_recipe_survives_a_round_trip_through_json() -> None:
    assert Recipe.from_json(json.loads(json.dumps(RECIPE.to_json()))) == RECIPE


def test_a_recipe_read_back_keeps_its_id() -> None:
    assert Recipe.from_json(json.loads(json.dumps(RECIPE.to_json()))).id(FOLDS) == RECIPE.id(FOLDS)


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Recipe)])
def test_every_field_of_a_recipe_changes_its_id(field: str) -> None:
    value = getattr(RECIPE, field)
    other: object = (("toy.width", 9),) if field == "params" else f"{value}x" if isinstance(value, str) else value + 1
    assert dataclasses.replace(RECIPE, **{field: other}).id(FOLDS) != RECIPE.id(FOLDS)


def test_recipes_of_bundled_plugins_are_stored_as_before_there_were_versions() -> None:
    # Their folds, trained by an earlier version of this program, are found again.
    assert not {"backbone_version", "augmentation_version"} & RECIPE.to_json().keys()


def test_other_folds_change_the_id_of_a_recipe() -> None:
    assert RECIPE.id(dataclasses.replace(FOLDS, fingerprint="other")) != RECIPE.id(FOLDS)


def test_a_recipes_id_is_the_same_in_every_version_and_on_every_machine() -> None:
    # sha256 of {"a":[1,2.5],"é":null} by sha256sum: a study must find its folds again after an update of Python.
    assert fingerprint({"é": None, "a": [1, 2.5]}) == "1a4e7b3cea40d583"


def test_the_order_of_keys_does_not_change_a_fingerprint() -> None:
    assert fingerprint({"a": 1, "b": {"c": 2, "d": 3}}) == fingerprint({"b": {"d": 3, "c": 2}, "a": 1})


@pytest.mark.parametrize("fold", range(3))
def test_training_and_validation_rows_of_a_fold_are_all_rows_once(fold: int) -> None:
    rows = np.concatenate([FOLDS.training_rows(fold), FOLDS.validation_rows(fold)])
    assert sorted(rows.tolist()) == list(range(7))


def test_every_row_is_validated_in_exactly_one_fold() -> None:
    assert np.concatenate([FOLDS.validation_rows(fold) for fold in range(3)]).tolist() == [0, 3, 1, 4, 2, 5, 6]


def test_rows_of_several_folds_can_be_left_out_of_training() -> None:
    left_out = {*FOLDS.validation_rows(0).tolist(), *FOLDS.validation_rows(2).tolist()}
    assert FOLDS.training_rows(0, 2).tolist() == sorted(set(range(7)) - left_out)


def test_without_a_fold_all_rows_are_trained_on_and_none_is_validated() -> None:
    assert FOLDS.training_rows(NO_FOLD).tolist() == list(range(7))
    assert FOLDS.validation_rows(NO_FOLD).tolist() == []


@pytest.mark.parametrize(
    ("fold", "test_fold", "folder", "label"),
    [
        (2, None, "fold-2", "fold 2"),
        (2, 0, "test-0/fold-2", "fold 2 without fold 0"),
        (NO_FOLD, None, "refit-30", "refit"),
        (NO_FOLD, 0, "test-0/refit-30", "refit without fold 0"),
    ],
)
def test_what_is_trained_has_a_folder_of_its_own_in_the_store(
    fold: int, test_fold: int | None, folder: str, label: str
) -> None:
    task = FoldTask(RECIPE, "abc", fold, Path("checkpoints/main"), Path("cache"), test_fold=test_fold)
    assert task.fold_directory == Path("checkpoints/main/abc") / folder
    assert task.label == label
