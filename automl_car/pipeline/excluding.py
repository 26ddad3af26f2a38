"""The setting `data.exclude`: paths of photos, and CSV files that list such paths, to one collection of paths."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from automl_car.data.cells import restore
from automl_car.data.tables import find_column, read_table, relative_path
from automl_car.errors import DataError
from automl_car.paths import stays_inside


def excluded_photos(root: Path, entries: Sequence[str]) -> dict[str, str]:
    """The photos to leave out, each with the file that lists it; "" where the settings name it themselves.

    Args:
        root: the workspace, which names of CSV files are relative to.
        entries: of `data.exclude`; one that ends in `.csv` is a file such as the suspects.csv of a report.

    Raises:
        DataError: a file is missing, is not CSV, has no column `path`, or names a photo outside the data folder.
    """
    photos: dict[str, str] = {}
    for entry in entries:
        if PurePosixPath(entry).suffix.lower() == ".csv":
            photos.update(dict.fromkeys(_listed(root, entry), entry))
        else:
            photos[entry] = ""
    return photos


def _listed(root: Path, entry: str) -> list[str]:
    if not stays_inside(entry):
        raise DataError(
            f"`data.exclude` names `{entry}`, which leads out of the workspace.",
            hint="copy the file into the workspace, and name it relative to that.",
        )
    file = root / entry
    if not file.is_file():
        raise DataError(
            f"`data.exclude` names `{entry}`, but there is no file {file.absolute()}.",
            hint="CSV files there are relative to the workspace; `automl-car report` writes "
            "studies/<study>/report/suspects.csv.",
        )
    table = read_table(file)
    column = find_column(table, ("path",), "path of the photos to leave out")
    cells = [row[column].strip() for row in table.rows]
    return [relative_path(restore(cell), table) for cell in cells if cell]  # a spreadsheet leaves rows of empty cells
