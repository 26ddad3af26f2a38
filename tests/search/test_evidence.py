"""Finished folds as the driver reads them, and what unfinished trials are worth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna.trial import create_trial

from automl_car.errors import StoreError
from automl_car.fold_records import Epoch, FoldResult, FoldTask
from automl_car.records import Recipe
from automl_car.search import evidence
from automl_car.search.evidence import FOLD_LOSSES, FoldStore, expected_mean, fold_losses
from automl_car.store import FoldLogits, write_fold

LABELS = np.array([0, 1, 0, 1, 1, 0])
LOGITS = np.array([[2.0, -1.0], [0.5, 0.5], [-3.0, 1.0]], np.float32)
CURVE = (Epoch(1, 2, 1.5, 0.9, 3.25, 0.8), Epoch(2, 2, 1.0, 0.5, 6.5, 0.4))


def _write(folder: Path, recipe_id: str = "abc", fold: int = 0, temperature: float = 2.0) -> Path:
    """A finished fold of every second row, or of those between."""
    task = FoldTask(Recipe("toy"), recipe_id, fold, folder, folder)
    result = FoldResult(recipe_id, fold, "finished", 0.5, 0.6, temperature, CURVE, 1.0)
    rows = np.arange(fold, 6, 2)
    write_fold(task, result, FoldLogits(rows, LOGITS, np.zeros((0, 2), np.float32)), b"weights")
    return task.fold_directory


@pytest.fixture
def store(tmp_path: Path) -> FoldStore:
    return FoldStore(tmp_path, LABELS)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are read, in the order of reading."""
    names: list[str] = []
    read_oof, read_result = evidence.read_oof, evidence.read_result

    def oof(directory: Path) -> Any:
        names.append(f"{directory.parent.name}/{directory.name}/oof.npz")
        return read_oof(directory)

    def result(directory: Path, **options: Any) -> FoldResult | None:
        names.append(f"{directory.parent.name}/{directory.name}/record.json")
        return read_result(directory, **options)

    monkeypatch.setattr(evidence, "read_oof", oof)
    monkeypatch.setattr(evidence, "read_result", result)
    return names


# ---- the fold store -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_the_losses_of_photos_are_those_after_the_folds_temperature(
    tmp_path: Path, store: FoldStore, temperature: float
) -> None:
    _write(tmp_path, fold=1, temperature=temperature)
    trial = store.losses(7, "abc", [1])
    probabilities = np.exp(LOGITS / temperature)
    probabilities /= probabilities.sum(1, keepdims=True)
    expected = [-np.log(probabilities[row, label]) for row, label in enumerate([1, 1, 0])]  # of rows 1, 3 and 5
    assert trial.number == 7
    np.testing.assert_allclose(trial.folds[1], expected, rtol=1e-6)


def test_each_fold_is_read_once(tmp_path: Path, store: FoldStore, reads: list[str]) -> None:
    for recipe_id in ("abc", "def"):
        for fold in (0, 1):
            _write(tmp_path, recipe_id, fold)
    for _ in range(3):
        for recipe_id in ("abc", "def"):
            assert sorted(store.losses(0, recipe_id, [0, 1]).folds) == [0, 1]
            store.curve(recipe_id, 0)
    assert len(reads) == len(set(reads)) == 4


def test_only_the_folds_that_are_asked_for_are_read(tmp_path: Path, store: FoldStore, reads: list[str]) -> None:
    for fold in (0, 1):
        _write(tmp_path, fold=fold)
    store.losses(0, "abc", [1])
    assert {name.split("/")[1] for name in reads} == {"fold-1"}


def test_the_weights_of_a_fold_are_not_read(tmp_path: Path, store: FoldStore) -> None:
    (_write(tmp_path) / "model.safetensors").unlink()
    assert store.losses(0, "abc", [0]).folds[0].shape == (3,)


def test_a_missing_fold_is_named(tmp_path: Path, store: FoldStore) -> None:
    _write(tmp_path)
    with pytest.raises(StoreError, match=r"abc.fold-1` holds no finished fold"):
        store.losses(0, "abc", [0, 1])


@pytest.mark.parametrize("name", ["oof.npz", "record.json"])
def test_a_damaged_fold_is_named(tmp_path: Path, store: FoldStore, name: str) -> None:
    path = _write(tmp_path) / name
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(StoreError, match=name):
        store.losses(0, "abc", [0])


def test_a_fold_that_is_finished_later_is_found_then(tmp_path: Path, store: FoldStore) -> None:
    assert store.curve("abc", 0) == ()
    with pytest.raises(StoreError):
        store.losses(0, "abc", [0])
    _write(tmp_path)
    assert store.curve("abc", 0) == CURVE
    assert list(store.losses(0, "abc", [0]).folds) == [0]


def test_a_fold_that_is_not_there_has_no_curve(store: FoldStore) -> None:
    assert store.curve("nobody", 3) == ()


def test_what_is_forgotten_is_read_again_and_the_rest_is_not(
    tmp_path: Path, store: FoldStore, reads: list[str]
) -> None:
    for recipe_id in ("abc", "def"):
        _write(tmp_path, recipe_id)
        store.losses(0, recipe_id, [0])
    reads.clear()
    store.forget_all_but({"abc"})
    for recipe_id in ("abc", "def"):
        store.losses(0, recipe_id, [0])
    assert [name for name in reads if name.endswith("npz")] == ["def/fold-0/oof.npz"]


# ---- what the study holds -------------------------------------------------------------------------------------------


def test_log_losses_come_back_from_the_study_by_the_number_of_their_fold() -> None:
    assert fold_losses(create_trial(value=0.5, user_attrs={FOLD_LOSSES: {"3": 0.5, "10": 1}})) == {3: 0.5, 10: 1.0}


def test_a_trial_without_folds_has_no_log_losses() -> None:
    assert fold_losses(create_trial(value=0.5)) == {}


# ---- what a trial is worth ------------------------------------------------------------------------------------------

COMPLETE = [{0: 0.4, 1: 0.5, 2: 0.9}, {0: 0.6, 1: 0.7, 2: 1.1}]  # means 0.6 and 0.8: fold 2 is 0.3 harder than all are


def test_a_hard_first_fold_is_allowed_for() -> None:
    assert expected_mean({2: 1.0}, COMPLETE) == pytest.approx(1.0 - 0.3)


def test_two_folds_are_corrected_by_how_hard_they_were_together() -> None:
    # Folds 0 and 1 were 0.45 and 0.65 in the mean, both 0.15 easier than the whole.
    assert expected_mean({0: 0.5, 1: 0.7}, COMPLETE) == pytest.approx(0.6 + 0.15)


def test_with_all_folds_done_it_is_their_plain_mean() -> None:
    assert expected_mean({0: 0.1, 1: 0.2, 2: 0.9}, COMPLETE) == pytest.approx(0.4)


def test_without_complete_trials_it_is_the_mean_of_what_is_done() -> None:
    assert expected_mean({0: 0.1, 2: 0.9}, []) == pytest.approx(0.5)


def test_trials_that_differ_by_a_constant_are_ranked_alike_whatever_their_first_fold() -> None:
    worths = [expected_mean({fold: loss + 0.1}, COMPLETE) for fold, loss in COMPLETE[0].items()]
    assert worths == pytest.approx([0.7] * 3)
