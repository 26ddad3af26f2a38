"""What a prediction file says, as probabilities: values (N, columns) in; rows (N, classes) that sum to 1 out.

Two columns may stand for one class. `submission` files the whole probability of such a class in both, so that a row
sums to more than 1, and dividing it by its sum would take the more from a file the surer it is of that class. Where
two columns are equal in every row of every file, and counting them once brings more rows to the sum 1, they are
therefore taken for one class. Columns that are equal by chance, such as two that nobody gives anything, do not change
sums and stay what they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from automl_car.ensemble.predictions import Predictions, shorten
from automl_car.errors import DataError
from automl_car.records import FloatArray, IntArray

SUM_TOLERANCE = 1e-3
"""Files are often rounded to four or five digits; a sum that is further from 1 is worth a word."""


def require_probabilities(name: str, file: Predictions) -> None:
    """Refuse files without a class column, NaN, values outside 0 … 1, and rows of zeros.

    Raises:
        DataError: with the number of such values, and the id and column of the first.
    """
    if not file.columns:
        raise DataError(
            f"{name} has a single column, so no probabilities.",
            hint="Cells are separated by commas, not by semicolons.",
        )
    outside = np.argwhere(~((file.values >= 0) & (file.values <= 1)))  # NaN fails both comparisons
    if len(outside):
        row, column = outside[0]
        logits = np.isfinite(file.values[row, column])
        raise DataError(
            f"{len(outside)} values in {name} are not between 0 and 1; the first is {file.values[row, column]:g}, "
            f"of id {file.ids[row]!r} in column {file.columns[column]!r}.",
            hint="Probabilities are wanted: logits first go through a softmax." if logits else None,
        )
    empty = [file.ids[row] for row in np.flatnonzero(~file.values.any(axis=1))]
    if empty:
        raise DataError(f"{len(empty)} rows of {name} have 0 in every column: {shorten(empty)}.")


def find_classes(files: Sequence[FloatArray]) -> IntArray:
    """For each column the index of its class; two columns of one class share it.

    Args:
        files: values (N, columns) of each file, the columns in the same order; N may differ.

    Example:
        The first and the third column hold the sum of a class that has two names.

        >>> find_classes([np.array([[0.9, 0.1, 0.9], [0.3, 0.7, 0.3]])]).tolist()
        [0, 1, 0]
    """
    apart = np.arange(files[0].shape[1], dtype=np.int64)
    rows_off = _rows_off(files, apart)
    if not rows_off:
        return apart
    together = _group_equal_columns(files)
    return together if _rows_off(files, together) < rows_off else apart


def _rows_off(files: Sequence[FloatArray], classes: IntArray) -> int:
    shares = 1 / np.bincount(classes)[classes]
    return sum(int((np.abs(values @ shares - 1) > SUM_TOLERANCE).sum()) for values in files)


def _group_equal_columns(files: Sequence[FloatArray]) -> IntArray:
    """Indices by first appearance, the same for columns that are equal in all rows of all files."""
    hashes = [hashlib.sha256() for _ in range(files[0].shape[1])]
    for values in files:
        for seen, column in zip(hashes, np.ascontiguousarray(values.T), strict=True):
            seen.update(column)
    numbers: dict[bytes, int] = {}
    return np.array([numbers.setdefault(seen.digest(), len(numbers)) for seen in hashes], dtype=np.int64)


def class_names(columns: Sequence[str], classes: IntArray) -> tuple[str, ...]:
    """The name of each class; one with several columns has all of their names.

    Example:
        >>> class_names(["RAV4", "K5", "라브4"], np.array([0, 1, 0]))
        ('RAV4 = 라브4', 'K5')
    """
    names: list[list[str]] = [[] for _ in range(classes.max() + 1)]
    for column, index in zip(columns, classes.tolist(), strict=True):
        names[index].append(column)
    return tuple(" = ".join(group) for group in names)


def tell_shared_columns(columns: Sequence[str], classes: IntArray, note: Callable[[str], None]) -> None:
    """A line about columns that count as one class, if there are any."""
    shared = [name for name in class_names(columns, classes) if name not in columns]
    if shared:
        note(
            f"columns that are equal in every row of every file, and counted once because rows sum to 1 only so: "
            f"{'; '.join(shared)}"
        )


def to_rows(files: Mapping[str, Predictions], classes: IntArray, note: Callable[[str], None]) -> dict[str, FloatArray]:
    """Float64 (N, classes) of each file, every row divided by its sum; how many needed it is told."""
    return {name: _normalise(name, file, classes, note) for name, file in files.items()}


def _normalise(name: str, file: Predictions, classes: IntArray, note: Callable[[str], None]) -> FloatArray:
    _, first_columns = np.unique(classes, return_index=True)
    values = file.values[:, first_columns]
    sums = values.sum(axis=1)
    off = np.flatnonzero(np.abs(sums - 1) > SUM_TOLERANCE)
    if len(off):
        note(
            f"{name}: {len(off)} of {len(sums)} rows do not sum to 1 (the first, {file.ids[off[0]]!r}, "
            f"to {sums[off[0]]:.4g}); they are divided by their sum"
        )
    values /= sums[:, None]
    return values
