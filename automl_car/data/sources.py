"""What a person points at in (photos, folders, CSV files), one photo with its id after the other out; none is kept."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from automl_car.data.listing import on_disk, photos_below, refuse_undecodable
from automl_car.data.ordinary import kind_of
from automl_car.data.tables import PATH_COLUMNS, Table, find_column, relative_path
from automl_car.data.testset import id_column
from automl_car.errors import DataError


@dataclass(frozen=True, slots=True)
class Source:
    """A photo to predict.

    Attributes:
        id: that of the CSV, else its path.
        path: as it can be opened from here.
    """

    id: str
    path: str


def find_sources(paths: Sequence[Path]) -> Iterator[Source]:
    """The photos of all paths, in their order; walk through it twice to know their number before.

    Args:
        paths: photos; folders, which are searched with all folders in them, by name, without hidden files; and CSV
            files with a column of ids and one of paths, relative to the folder of the CSV.

    Raises:
        DataError: a path is not there, a folder holds no photo, a CSV is not such a table, or a name is not UTF-8.
            That a photo exists and can be decoded is not looked at here.
    """
    for path in paths:
        kind = kind_of(path)
        if kind == "folder":
            yield from _of_folder(path)
        elif kind == "nothing":
            raise DataError(f"There is no file or folder `{path}`.")
        elif path.suffix.lower() == ".csv" and kind == "file":
            yield from _of_csv(path)
        else:
            yield _named(str(path))


def _of_folder(folder: Path) -> Iterator[Source]:
    empty = True
    for photo in photos_below(folder):
        empty = False
        yield _named(str(photo))
    if empty:
        raise DataError(f"There are no photos in `{folder}`.")


def _named(path: str) -> Source:
    refuse_undecodable([path])
    return Source(path, path)


def _of_csv(path: Path) -> Iterator[Source]:
    """Row by row: a list of a million photos is not held in memory."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from _of_rows(csv.reader(file, strict=True), path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is not a CSV file in UTF-8: {error}.") from error


def _of_rows(rows: Iterator[list[str]], path: Path) -> Iterator[Source]:
    columns = next(rows, [])
    if not columns:
        raise DataError(f"{path} is empty; its first line should name the columns.")
    table = Table(path, "", tuple(columns), (), bom=False, newline="\n")  # as far as it is known
    paths_in = find_column(table, PATH_COLUMNS, "path of the photo")
    ids_in = id_column(table, paths_in)
    for number, row in enumerate(rows, 1):
        if row and len(row) != len(columns):
            raise DataError(f"Row {number} of {path} has {len(row)} cells; the header has {len(columns)}.")
        if row:
            photo = on_disk(path.parent, relative_path(row[paths_in], table))
            yield Source(row[ids_in], str(path.parent / photo))
