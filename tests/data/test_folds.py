from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from automl_car.data.folds import classes_in_one_fold, make_folds, read_folds, write_folds
from automl_car.errors import DataError
from automl_car.records import Dataset, fingerprint

LABELS = np.repeat([0, 1, 2], [30, 20, 10])
SINGLE = np.arange(60)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Six photos (any bytes will do) of two classes; one name has a comma."""
    paths = tuple(f"train/{label}/{row}, {label}.jpg" for label in ("나", "다") for row in range(3))
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(path.encode())
    return Dataset(tmp_path, ("나", "다"), paths, (0, 0, 0, 1, 1, 1))


ASSIGNMENT = np.array([0, 1, 2, 0, 1, 2])


def _replace(dataset: Dataset, **changes: object) -> Dataset:
    return Dataset(**{**vars(dataset), **changes})  # type: ignore[arg-type]


# ---- making ---------------------------------------------------------------------------------------------------------


def test_each_fold_has_the_same_share_of_each_class() -> None:
    assignment = make_folds(LABELS, SINGLE, count=5, seed=0)
    for fold in range(5):
        assert np.bincount(LABELS[assignment == fold]).tolist() == [6, 4, 2]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 25), min_size=60, max_size=60), st.integers(2, 4))
def test_a_group_is_never_torn_and_every_row_has_a_fold(groups: list[int], count: int) -> None:
    array = np.array(groups)
    if len(set(groups)) < count:
        return
    assignment = make_folds(LABELS, array, count=count, seed=1)
    assert set(assignment) <= set(range(count))
    for group in set(groups):
        assert len(set(assignment[array == group])) == 1


def test_the_same_seed_gives_the_same_folds_and_another_seed_others() -> None:
    first = make_folds(LABELS, SINGLE, count=3, seed=7)
    np.testing.assert_array_equal(make_folds(LABELS, SINGLE, count=3, seed=7), first)
    assert (make_folds(LABELS, SINGLE, count=3, seed=8) != first).any()


def test_a_class_with_fewer_photos_than_folds_is_spread_over_different_folds() -> None:
    labels = np.array([0] * 20 + [1] * 2)
    assignment = make_folds(labels, np.arange(22), count=5, seed=0)
    assert len(set(assignment[20:])) == 2


@pytest.mark.parametrize(
    ("count", "message"), [(1, "too few"), (31, "at most 30 of one class"), (61, "60 different photos")]
)
def test_an_impossible_number_of_folds_is_an_error(count: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        make_folds(LABELS, SINGLE, count=count, seed=0)


def test_a_class_of_copies_of_one_photo_is_found_to_be_in_one_fold() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1])
    groups = np.array([0, 1, 2, 3, 3, 3])
    assert classes_in_one_fold(labels, make_folds(labels, groups, count=2, seed=0)).tolist() == [1]


# ---- writing and reading --------------------------------------------------------------------------------------------


def test_written_folds_read_back_equal(dataset: Dataset, tmp_path: Path) -> None:
    written = write_folds(tmp_path / "folds.csv", dataset, ASSIGNMENT, np.arange(6))
    read = read_folds(tmp_path / "folds.csv", dataset)
    np.testing.assert_array_equal(read.assignment, ASSIGNMENT)
    assert (read.count, read.fingerprint) == (3, written.fingerprint)


def test_the_file_is_a_plain_csv_that_a_person_can_read(dataset: Dataset, tmp_path: Path) -> None:
    write_folds(tmp_path / "folds.csv", dataset, ASSIGNMENT, np.arange(6))
    lines = (tmp_path / "folds.csv").read_text(encoding="utf-8").splitlines()
    assert lines[:2] == ["path,label,fold,group,bytes", '"train/나/0, 나.jpg",나,0,0,20']


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": (0, 0, 1, 1, 1, 1)}, "1 label changed"),
        ({"class_names": ("나", "라")}, "3 labels changed"),
    ],
)
def test_other_labels_are_an_error(dataset: Dataset, tmp_path: Path, changes: dict[str, object], message: str) -> None:
    write_folds(tmp_path / "folds.csv", dataset, ASSIGNMENT, np.arange(6))
    with pytest.raises(DataError, match=message) as error:
        read_folds(tmp_path / "folds.csv", _replace(dataset, **changes))
    assert "--study" in str(error.value.hint)
    assert "restore" in str(error.value.hint)


def test_an_added_photo_is_an_error_that_names_it(dataset: Dataset, tmp_path: Path) -> None:
    write_folds(tmp_path / "folds.csv", dataset, ASSIGNMENT, np.arange(6))
    more = _replace(dataset, train_paths=(*dataset.train_paths, "train/다/new.jpg"), labels=(*dataset.labels, 1))
    with pytest.raises(DataError, match=r"1 photo was added \(first: train/다/new.jpg\)"):
        read_folds(tmp_path / "folds.csv", more)


def test_another_order_is_an_error(dataset: Dataset, tmp_path: Path) -> None:
    write_folds(tmp_path / "folds.csv", dataset, ASSIGNMENT, np.arange(6))
    turned = _replace(dataset, train_paths=dataset.train_paths[::-1], labels=dataset.labels[::-1])
    with pytest.raises(DataError, match="order"):
        read_folds(tmp_path / "folds.csv", turned)


def test_a_photo_of_another_size_is_an_error_where_photos_are_looked_at(dataset: Dataset, tmp_path: Path) -> None:
    write_folds(tmp_path / "folds.csv", dataset, ASSIGNMENT, np.arange(6))
    (tmp_path / dataset.train_paths[2]).write_bytes(b"other")
    assert read_folds(tmp_path / "folds.csv", dataset, check_files=False).count == 3
    with pytest.raises(DataError, match="1 file has another size"):
        read_folds(tmp_path / "folds.csv", dataset)


def test_decomposed_names_of_the_same_photos_are_the_same_data(dataset: Dataset, tmp_path: Path) -> None:
    written = write_folds(tmp_path / "folds.csv", dataset, ASSIGNMENT, np.arange(6))
    decomposed = tuple(unicodedata.normalize("NFD", path) for path in dataset.train_paths)
    assert decomposed != dataset.train_paths
    read = read_folds(tmp_path / "folds.csv", _replace(dataset, train_paths=decomposed), check_files=False)
    assert read.fingerprint == written.fingerprint


def test_the_fingerprint_is_that_of_all_rows_as_one_json(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / 'train/나/a "q" \\.jpg').write_bytes(b"123")
    decomposed = unicodedata.normalize("NFD", 'train/나/a "q" \\.jpg')
    (tmp_path / decomposed).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / decomposed).write_bytes(b"123")
    more = _replace(dataset, train_paths=(*dataset.train_paths, decomposed), labels=(*dataset.labels, 0))
    assignment = np.append(ASSIGNMENT, 2)
    rows = [
        [unicodedata.normalize("NFC", path), (tmp_path / path).stat().st_size, more.class_names[label], fold]
        for path, label, fold in zip(more.train_paths, more.labels, assignment.tolist(), strict=True)
    ]
    expected = fingerprint({"rows": rows, "class_names": more.class_names})
    assert write_folds(tmp_path / "folds.csv", more, assignment, np.arange(7)).fingerprint == expected


@pytest.mark.parametrize("change", ["assignment", "labels", "class_names", "size"])
def test_the_fingerprint_changes_with_what_a_result_depends_on(dataset: Dataset, tmp_path: Path, change: str) -> None:
    before = write_folds(tmp_path / "a.csv", dataset, ASSIGNMENT, np.arange(6)).fingerprint
    assignment = ASSIGNMENT[::-1] if change == "assignment" else ASSIGNMENT
    if change == "labels":
        dataset = _replace(dataset, labels=(0, 0, 1, 1, 1, 1))
    elif change == "class_names":
        dataset = _replace(dataset, class_names=("다", "나"), labels=(1, 1, 1, 0, 0, 0))
    elif change == "size":
        (tmp_path / dataset.train_paths[0]).write_bytes(b"")
    assert write_folds(tmp_path / "b.csv", dataset, assignment, np.arange(6)).fingerprint != before


@pytest.mark.parametrize("content", ["", "path,label\n", "path,label,fold,group,bytes\na,b,x,0,1\n"])
def test_a_damaged_file_is_an_error(dataset: Dataset, tmp_path: Path, content: str) -> None:
    (tmp_path / "folds.csv").write_text(content)
    with pytest.raises(DataError, match=r"damaged|cannot be read"):
        read_folds(tmp_path / "folds.csv", dataset)


def test_a_missing_file_is_an_error(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="missing"):
        read_folds(tmp_path / "folds.csv", dataset)
