"""Labels and duplicate groups in, K stratified folds out; written once per study and read ever after.

Every trial of a study is judged on the same folds, so folds.csv is never written twice: if the photos change, their
folds no longer fit and reading them is an error. A group of duplicates is always in one fold, because a model that
was trained on a photo's copy would be judged on what it has seen.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import unicodedata
import warnings
from array import array
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

import numpy as np

from automl_car.data.tables import csv_line
from automl_car.errors import DataError
from automl_car.files import open_atomically
from automl_car.records import Dataset, Folds, IntArray

_COLUMNS = ["path", "label", "fold", "group", "bytes"]
_TEXT = json.JSONEncoder(ensure_ascii=False).encode  # of a text, as JSON; `json.dumps` makes an encoder each time


def make_folds(labels: Sequence[int] | IntArray, groups: IntArray, *, count: int, seed: int) -> IntArray:
    """Split the rows into folds with nearly the same share of each class.

    A class may have fewer photos than there are folds: it is then missing from the validation of some folds, which
    costs nothing but a noisier estimate. What does cost is a class in one fold only, see `classes_in_one_fold`.

    Args:
        labels: class index of each row.
        groups: int64 (N,), from `group_duplicates`.
        count: of folds.
        seed: of the shuffle; the same seed gives the same folds.

    Returns:
        int64 (N,): the fold that each row is validated in.

    Raises:
        DataError: there are fewer than 2 folds, or more than the photos suffice for.
    """
    classes = np.asarray(labels, dtype=np.int64)
    _check_count(classes, groups, count)
    from sklearn.model_selection import StratifiedGroupKFold

    assignment = np.full(len(classes), -1, dtype=np.int64)
    splitter = StratifiedGroupKFold(n_splits=count, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)  # allowed, above
        for fold, (_, rows) in enumerate(splitter.split(np.zeros(len(classes)), classes, groups)):
            assignment[rows] = fold
    if len(np.unique(assignment)) < count:
        raise DataError(f"{count} folds are too many: copies of the same photos leave one of them empty.")
    return assignment


def classes_in_one_fold(labels: Sequence[int] | IntArray, assignment: IntArray) -> IntArray:
    """Classes whose photos are all in one fold: when that fold is validated, nobody has trained them.

    Happens to a class that consists of copies of one photo.

    Returns:
        int64: class indices, ascending.
    """
    pairs = np.unique(np.stack([np.asarray(labels, dtype=np.int64), assignment]), axis=1)
    classes, folds = np.unique(pairs[0], return_counts=True)
    alone: IntArray = classes[folds == 1]
    return alone


def write_folds(path: Path, dataset: Dataset, assignment: IntArray, groups: IntArray) -> Folds:
    """Write the folds of a new study.

    Args:
        path: of the CSV file: path, label, fold, group and the size of the file in bytes.
        dataset: whose training rows are split.
        assignment: int64 (N,), from `make_folds`.
        groups: int64 (N,), from `group_duplicates`.

    Raises:
        DataError: a photo is missing.
    """
    sizes = _file_sizes(dataset)
    labels = (dataset.class_names[label] for label in dataset.labels)
    rows = zip(dataset.train_paths, labels, assignment.tolist(), groups.tolist(), sizes.tolist(), strict=True)
    with open_atomically(path) as file:
        file.write(f"{csv_line(_COLUMNS)}\n".encode())
        for row in rows:
            file.write(f"{csv_line(map(str, row))}\n".encode())
    return _folds(dataset, assignment, groups, sizes)


def read_folds(path: Path, dataset: Dataset, *, check_files: bool = True) -> Folds:
    """Read the folds of an existing study.

    Args:
        path: of the CSV file that `write_folds` wrote.
        dataset: must have the photos and labels that the folds were made for, in the same order.
        check_files: also compare the sizes of the photos on the disk; processes that only see the image cache do not.

    Raises:
        DataError: the file is missing or damaged, or the photos are not those that the study began with.
    """
    columns = _columns_if_same(path, dataset)
    if columns is None:
        changes = _describe_changes(path, dataset)
    elif check_files:
        changes = _describe_changed_sizes(dataset, columns[2])
    else:
        changes = ""
    if columns is None or changes:
        raise DataError(
            f"The photos are not those that {path} was made for: {changes}.",
            hint="begin a new study with `--study NAME`, from the best recipes of this one with "
            f"`--warm-start {path.parent.name}`; or restore the photos.",
        )
    return _folds(dataset, *columns)


def _check_count(labels: IntArray, groups: IntArray, count: int) -> None:
    if count < 2:
        raise DataError(f"{count} folds are too few: a model needs photos to train on and others to be judged on.")
    distinct, largest = len(np.unique(groups)), int(np.bincount(labels).max())
    most = min(distinct, largest)
    if count > most:
        raise DataError(
            f"{count} folds are too many: there are {distinct} different photos, and at most {largest} of one class.",
            hint=f"Set data.folds to {most} or less." if most >= 2 else "Add photos.",
        )


def _folds(dataset: Dataset, assignment: IntArray, groups: IntArray, sizes: IntArray) -> Folds:
    return Folds(assignment, int(assignment.max()) + 1, _fingerprint(dataset, assignment, sizes), groups)


def _fingerprint(dataset: Dataset, assignment: IntArray, sizes: IntArray) -> str:
    """`records.fingerprint` of {"class_names": [...], "rows": [[path, size, class name, fold], ...]}.

    That JSON would take tens of megabytes for 100,000 photos; here it is hashed row by row.
    """
    names = ",".join(map(_TEXT, dataset.class_names))
    digest = hashlib.sha256(f'{{"class_names":[{names}],"rows":['.encode())
    rows = zip(_photos(dataset), sizes, assignment, strict=True)
    for number, ((path, name), size, fold) in enumerate(rows):
        digest.update(f"{',' if number else ''}[{_TEXT(path)},{size},{_TEXT(name)},{fold}]".encode())
    digest.update(b"]}")
    return digest.hexdigest()[:16]


def _photos(dataset: Dataset) -> Iterator[tuple[str, str]]:
    """Path and class name of each training row, in NFC."""
    for path, label in zip(dataset.train_paths, dataset.labels, strict=True):
        yield _nfc(path), dataset.class_names[label]


def _file_sizes(dataset: Dataset) -> IntArray:
    """Bytes, int64 (N,)."""
    # A million texts are asked for sooner than as many paths.
    sizes = (os.stat(f"{dataset.root}/{path}").st_size for path in dataset.train_paths)  # noqa: PTH116
    try:
        return np.fromiter(sizes, dtype=np.int64, count=len(dataset.train_paths))
    except OSError as error:
        raise DataError(f"The training photo `{error.filename}` cannot be read: {error.strerror}.") from error


def _columns_if_same(path: Path, dataset: Dataset) -> tuple[IntArray, IntArray, IntArray] | None:
    """Folds, groups and sizes in the file, int64 (N,) each; None if its photos and labels are not the data set's."""
    folds, groups, sizes = array("q"), array("q"), array("q")
    for row, photo in zip_longest(_read_rows(path), _photos(dataset)):
        if row is None or photo != (_nfc(row[0]), _nfc(row[1])):
            return None
        folds.append(int(row[2]))
        groups.append(int(row[3]))
        sizes.append(int(row[4]))
    return _as_array(folds), _as_array(groups), _as_array(sizes)


def _as_array(numbers: array[int]) -> IntArray:
    return np.array(numbers, dtype=np.int64)


def _read_rows(path: Path) -> Iterator[list[str]]:
    """The lines below the header, one at a time: all of them at once would take 50 MB for 100,000 photos."""
    number = 0
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for number, row in enumerate(csv.reader(file)):
                if not (_is_whole(row) if number else row == _COLUMNS):
                    raise _damaged(path)
                if number:
                    yield row
    except FileNotFoundError as error:
        raise DataError(f"The folds {path} are missing.", hint="Run the search first: it makes them.") from error
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"The folds {path} cannot be read: {error}.") from error
    if not number:
        raise _damaged(path)


def _is_whole(row: list[str]) -> bool:
    return len(row) == len(_COLUMNS) and all(value.isdecimal() for value in row[2:])


def _damaged(path: Path) -> DataError:
    return DataError(
        f"The folds {path} are damaged: not every line holds {', '.join(_COLUMNS)}.",
        hint="Restore the file, or start a new study.",
    )


def _describe_changes(path: Path, dataset: Dataset) -> str:
    """What differs in paths and labels."""
    old, new = {_nfc(row[0]): _nfc(row[1]) for row in _read_rows(path)}, dict(_photos(dataset))
    parts = [
        _count("photo was removed", "photos were removed", [path for path in old if path not in new]),
        _count("photo was added", "photos were added", [path for path in new if path not in old]),
        _count("label changed", "labels changed", [path for path in new if path in old and old[path] != new[path]]),
    ]
    return ", ".join(part for part in parts if part) or "their order changed"


def _describe_changed_sizes(dataset: Dataset, sizes: IntArray) -> str:
    """Which photos on the disk differ in size from those of the file, or "" if none does."""
    changed = [dataset.train_paths[row] for row in np.flatnonzero(_file_sizes(dataset) != sizes)]
    return _count("file has another size", "files have another size", changed)


def _count(one: str, many: str, paths: list[str]) -> str:
    if not paths:
        return ""
    return f"{len(paths)} {one if len(paths) == 1 else many} (first: {paths[0]})"


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)
