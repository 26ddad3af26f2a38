"""Candidates of an ensemble from what trials left in the fold store."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from automl_car.ensemble import candidates
from automl_car.ensemble.candidates import is_finite, read_candidate, rows_of
from automl_car.errors import StoreError
from automl_car.fold_records import FoldResult, FoldTask
from automl_car.records import Dataset, Folds, Recipe
from automl_car.store import FoldLogits, write_fold

FOLDS = Folds(np.array([2, 0, 1, 0, 2, 1, 1]), 3, "photos")
TEST_ROWS = 4


def _dataset(test_rows: int = TEST_ROWS) -> Dataset:
    paths = tuple(f"test/{row}.jpg" for row in range(test_rows))
    return Dataset(Path(), ("a", "b"), tuple("1234567"), (0, 1, 0, 1, 0, 1, 0), paths, paths)


def _oof(row: int) -> list[float]:
    return [row + 0.25, -row]


@pytest.fixture
def trial(tmp_path: Path) -> Path:
    """The folder of a trial whose logits name their rows; test logits of fold k are all k, or -k."""
    for fold in range(3):
        rows = FOLDS.validation_rows(fold)
        oof = np.array([_oof(int(row)) for row in rows], np.float32)
        test = np.tile(np.array([[fold, -fold]], np.float32), (TEST_ROWS, 1))
        task = FoldTask(Recipe("toy"), "abc", fold, tmp_path, tmp_path)
        result = FoldResult("abc", fold, "finished", 0.5, 0.5, 1.0, (), 1.0)
        write_fold(task, result, FoldLogits(rows, oof, test), b"")
    return tmp_path / "abc"


def test_out_of_fold_logits_stand_in_the_order_of_the_training_rows(trial: Path) -> None:
    candidate = read_candidate("trial 0", "toy", trial, [0, 1, 2], _dataset())
    np.testing.assert_array_equal(candidate.oof_logits, [_oof(row) for row in range(7)])


def test_test_logits_are_the_mean_over_the_fold_models(trial: Path) -> None:
    candidate = read_candidate("trial 0", "toy", trial, [0, 1, 2], _dataset())
    np.testing.assert_allclose(candidate.test_logits, np.tile([[1.0, -1.0]], (TEST_ROWS, 1)))


def test_a_stopped_trial_answers_for_the_rows_of_its_finished_folds(trial: Path) -> None:
    candidate = read_candidate("trial 0", "toy", trial, [2, 0], _dataset())
    rows = rows_of(FOLDS, [2, 0])
    assert rows.tolist() == [0, 1, 3, 4]
    np.testing.assert_array_equal(candidate.oof_logits, [_oof(row) for row in rows])
    np.testing.assert_allclose(candidate.test_logits, np.tile([[1.0, -1.0]], (TEST_ROWS, 1)))


def test_without_a_test_set_there_are_no_test_logits_but_all_classes(trial: Path) -> None:
    assert read_candidate("trial 0", "toy", trial, [0, 1], _dataset(0)).test_logits.shape == (0, 2)


def test_logits_are_mapped_from_a_file_without_a_name(trial: Path) -> None:
    before = sorted(trial.rglob("*"))
    candidate = read_candidate("trial 0", "toy", trial, [0, 1, 2], _dataset())
    assert isinstance(candidate.oof_logits.base, np.memmap)
    assert isinstance(candidate.test_logits.base, np.memmap)
    assert sorted(trial.rglob("*")) == before


def test_where_no_file_can_be_written_logits_stay_in_memory(trial: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(**_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(candidates, "TemporaryFile", full_disk)
    candidate = read_candidate("trial 0", "toy", trial, [0, 1, 2], _dataset())
    np.testing.assert_array_equal(candidate.oof_logits, [_oof(row) for row in range(7)])


def test_a_missing_fold_is_an_error(trial: Path) -> None:
    (trial / "fold-1" / "record.json").unlink()
    with pytest.raises(StoreError, match="fold-1"):
        read_candidate("trial 0", "toy", trial, [0, 1, 2], _dataset())


def test_the_rows_of_all_folds_are_all_rows() -> None:
    assert rows_of(FOLDS, range(3)).tolist() == list(range(7))


def test_a_candidate_knows_which_folds_it_is_from(trial: Path) -> None:
    candidate = read_candidate("trial 0", "toy", trial, [2, 0], _dataset())
    assert (candidate.recipe_id, candidate.folds) == (trial.name, (0, 2))


# ---- how many views -------------------------------------------------------------------------------------------------


def _with_views(directory: Path, losses: dict[int, tuple[float, float]]) -> Path:
    """A trial with logits from one view, all 1 less than 0, and from both, all 2 less; by fold, what each lost."""
    for fold, (one, both) in losses.items():
        rows = FOLDS.validation_rows(fold)
        parts = [
            FoldLogits(
                rows,
                np.tile(np.array([[0.0, -views]], np.float32), (len(rows), 1)),
                np.tile(np.array([[0.0, -views]], np.float32), (TEST_ROWS, 1)),
                views,
            )
            for views in (1, 2)
        ]
        result = FoldResult("def", fold, "finished", both, both, 1.0, (), 1.0, view_losses=((1, one), (2, both)))
        write_fold(
            FoldTask(Recipe("toy", views=2), "def", fold, directory, directory), result, parts[1], b"", parts[:1]
        )
    return directory / "def"


def _views_of(logits: np.ndarray[Any, Any]) -> list[int]:
    return [int(value) for value in -logits[:, 1]]


def test_a_mirror_image_that_hurts_is_left_out(tmp_path: Path) -> None:
    trial = _with_views(tmp_path, {0: (0.4, 0.5), 1: (0.4, 0.5), 2: (0.4, 0.5)})
    candidate = read_candidate("trial 0", "toy", trial, range(3), _dataset())
    assert candidate.views == 1
    assert _views_of(candidate.oof_logits) == [1] * 7
    assert _views_of(candidate.test_logits) == [1] * TEST_ROWS


def test_a_mirror_image_that_helps_is_used(tmp_path: Path) -> None:
    trial = _with_views(tmp_path, {0: (0.5, 0.4), 1: (0.5, 0.4), 2: (0.5, 0.4)})
    candidate = read_candidate("trial 0", "toy", trial, range(3), _dataset())
    assert candidate.views == 2
    assert _views_of(candidate.oof_logits) == [2] * 7
    assert _views_of(candidate.test_logits) == [2] * TEST_ROWS


def test_no_row_chooses_for_itself(tmp_path: Path) -> None:
    # One view is best in the mean of all folds, because of fold 0 alone; its own rows follow the others.
    trial = _with_views(tmp_path, {0: (0.1, 0.9), 1: (0.5, 0.4), 2: (0.5, 0.4)})
    candidate = read_candidate("trial 0", "toy", trial, range(3), _dataset())
    assert candidate.views == 1
    assert _views_of(candidate.oof_logits) == [2 if fold == 0 else 1 for fold in FOLDS.assignment]
    assert _views_of(candidate.test_logits) == [1] * TEST_ROWS


def test_folds_of_an_earlier_version_offer_all_views(trial: Path) -> None:
    assert read_candidate("trial 0", "toy", trial, range(3), _dataset()).views == 0


def test_damaged_logits_of_fewer_views_are_an_error(tmp_path: Path) -> None:
    trial = _with_views(tmp_path, {0: (0.4, 0.5), 1: (0.4, 0.5), 2: (0.4, 0.5)})
    (trial / "fold-1" / "views-1.npz").write_bytes(b"broken")
    with pytest.raises(StoreError, match=r"views-1\.npz"):
        read_candidate("trial 0", "toy", trial, range(3), _dataset())


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("part", ["oof", "test"])
def test_a_single_logit_that_is_not_finite_is_seen(trial: Path, part: str, bad: float) -> None:
    assert is_finite(read_candidate("trial 0", "toy", trial, [0, 1, 2], _dataset()))
    rows = FOLDS.validation_rows(1)
    oof, test = np.zeros((len(rows), 2), np.float32), np.zeros((TEST_ROWS, 2), np.float32)
    (oof if part == "oof" else test)[1, 1] = bad
    task = FoldTask(Recipe("toy"), "abc", 1, trial.parent, trial.parent)
    write_fold(task, FoldResult("abc", 1, "finished", 0.5, 0.5, 1.0, (), 1.0), FoldLogits(rows, oof, test), b"")
    assert not is_finite(read_candidate("trial 0", "toy", trial, [0, 1, 2], _dataset()))
