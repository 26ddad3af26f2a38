"""Reads a prediction file: a CSV with an id and one probability column per class; nothing is judged but its form.

Used by the scorer, by the check of a submission and wherever prediction files are combined or described.
"""

from __future__ import annotations

import codecs
import csv
import io
import unicodedata
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from automl_car.data.ordinary import read_ordinary
from automl_car.ensemble.large_table import LARGE_BYTES, parse_large
from automl_car.errors import DataError
from automl_car.records import FloatArray, SubmissionFormat

_MOST_SHOWN = 3


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a prediction file says.

    Attributes:
        columns: names of the class columns after Unicode NFC: macOS writes `é` as two characters, Linux as one.
        ids: of the rows, as written.
        values: float64 (rows, columns); NaN and numbers outside [0, 1] are kept for the caller to judge.
    """

    columns: tuple[str, ...]
    ids: tuple[str, ...]
    values: FloatArray


def read_predictions(path: Path) -> Predictions:
    """The predictions in a CSV file (UTF-8, with or without a byte order mark).

    Raises:
        DataError: the file is missing, is not such a table, or names a column or an id twice.
    """
    return parse_predictions(read_ordinary(path), str(path))


def parse_predictions(data: bytes, name: str) -> Predictions:
    """The same for the bytes of a file; `name` is what errors call it."""
    large = parse_large(data) if len(data) >= LARGE_BYTES else None
    header, ids, values = large or _parse_cells(data, name)
    columns = tuple(unicodedata.normalize("NFC", column) for column in header[1:])
    _require_distinct("Columns", columns, name)
    _require_distinct("Ids", tuple(ids), name)
    return Predictions(columns, tuple(ids), values)


def _parse_cells(data: bytes, name: str) -> tuple[list[str], list[str], FloatArray]:
    header, *rows = parse_table(data, name)
    return header, [row[0] for row in rows], _numbers(rows, name)


def read_form(path: Path, predictions: Predictions, column_classes: tuple[int, ...]) -> SubmissionFormat:
    """The form of a prediction file: its header byte for byte, and its ids in order.

    Args:
        path: of the file.
        predictions: what was read from it.
        column_classes: the index of each column's class.
    """
    data = read_ordinary(path)
    lines = io.StringIO(data.decode("utf-8-sig"), newline="").readlines()
    reader = csv.reader(lines)
    next(row for row in reader if row)
    header = "".join(lines[: reader.line_num]).lstrip("\r\n")  # blank lines before it are no part of it
    return SubmissionFormat(
        header=header.rstrip("\r\n"),
        columns=predictions.columns,
        column_classes=column_classes,
        ids=predictions.ids,
        bom=data.startswith(codecs.BOM_UTF8),
        newline="\r\n" if header.endswith("\r\n") else "\n",
    )


def read_table(path: Path) -> list[list[str]]:
    """All cells of a CSV file, header first, every row as long as the header; empty lines are left out.

    Raises:
        DataError: the file cannot be read, has no rows, or a row has another number of cells than the header.
    """
    return parse_table(read_ordinary(path), str(path))


def parse_table(data: bytes, name: str) -> list[list[str]]:
    """The same for the bytes of a file; `name` is what errors call it."""
    try:
        rows = [row for row in csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{name} is not a CSV file in UTF-8: {error}.") from error
    if len(rows) < 2:
        raise DataError(f"{name} has no rows below its header.")
    ragged = [f"{row[0]!r} has {len(row)}" for row in rows[1:] if len(row) != len(rows[0])]
    if ragged:
        raise DataError(f"The header of {name} has {len(rows[0])} cells, but {shorten(ragged)}.")
    return rows


def _require_distinct(kind: str, values: tuple[str, ...], name: str) -> None:
    repeated = [value for value, times in Counter(values).items() if times > 1]
    if repeated:
        raise DataError(f"{kind} that stand more than once in {name}: {shorten(repeated)}.")


def _numbers(rows: list[list[str]], name: str) -> FloatArray:
    """The cells after the id; an empty cell is NaN."""
    values = np.empty((len(rows), len(rows[0]) - 1))
    for index, row in enumerate(rows):
        try:
            values[index] = [float(cell or "nan") for cell in row[1:]]
        except ValueError as error:
            raise DataError(f"Row {row[0]!r} of {name} holds a cell that is not a number: {error}.") from error
    return values


def shorten(names: list[str]) -> str:
    """The first few names for a message, and how many more there are.

    Example:
        >>> shorten(["a", "b", "c", "d", "e"])
        'a, b, c and 2 more'
    """
    shown = ", ".join(names[:_MOST_SHOWN])
    return f"{shown} and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else shown
