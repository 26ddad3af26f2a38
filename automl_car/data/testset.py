"""The contest's test.csv and sample submission in, ids, photos and the form of the submission out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from automl_car.data.classes import Classes
from automl_car.data.listing import nfc, on_disk, photos_below, refuse_missing, refuse_repeated
from automl_car.data.ordinary import kind_of
from automl_car.data.tables import PATH_COLUMNS, Table, csv_line, find_column, read_table, relative_path, shorten
from automl_car.errors import DataError
from automl_car.records import SubmissionFormat

DEFAULT_TEST, DEFAULT_SAMPLE = "test.csv", "sample_submission.csv"
_ID_COLUMNS = ("id", "image_id", "img_id", "test_id")


@dataclass(frozen=True)
class TestSet:
    """Ids and photos of the test rows; both empty when there is no test set."""

    __test__ = False  # pytest would take the name for a class of tests

    ids: tuple[str, ...]
    paths: tuple[str, ...]


def read_test(root: Path, test: str) -> TestSet:
    """Read the test set from a CSV of ids and paths, or else from the folder of that name.

    Args:
        root: the data folder.
        test: a CSV such as test.csv; if it is missing, the folder test/, whose file names are the ids.

    Raises:
        DataError: ids twice, photos missing, or a file that was asked for by another name than test.csv is missing.
    """
    if kind_of(root / test) == "file":
        return _read_csv(root, read_table(root / test))
    folder = root / test.removesuffix(".csv")
    if kind_of(folder) == "folder":
        return _read_folder(root, folder)
    if test != DEFAULT_TEST:
        raise DataError(f"There is no CSV or folder `{test}` in {root}.")
    return TestSet((), ())


def read_sample(root: Path, sample_submission: str) -> Table | None:
    """Read the sample submission, only the ids of its rows; None if there is none and none was asked for by name."""
    path = root / sample_submission
    if kind_of(path) == "nothing" and sample_submission == DEFAULT_SAMPLE:
        return None
    table = read_table(path, keep=1)
    if len(table.columns) < 2:
        raise DataError(
            f"{path} has only the column `{table.columns[0]}`; after the id a column per class is expected."
        )
    refuse_repeated([row[0] for row in table.rows], table, "id")
    return table


def make_form(test: TestSet, sample: Table | None, classes: Classes) -> SubmissionFormat | None:
    """The contest's form; without a sample submission `ID` and a column per class; None without a test set."""
    if not test.ids:
        return None
    if sample is None:
        return plain_form(classes.names, test.ids)
    columns = sample.columns[1:]
    return SubmissionFormat(
        header=sample.header,
        columns=columns,
        column_classes=tuple(classes.index[nfc(column)] for column in columns),
        ids=tuple(row[0] for row in sample.rows),
        bom=sample.bom,
        newline=sample.newline,
    )


def plain_form(names: Sequence[str], ids: tuple[str, ...] = ()) -> SubmissionFormat:
    """`ID` and a column per class, where no contest says otherwise."""
    return SubmissionFormat(csv_line(["ID", *names]), tuple(names), tuple(range(len(names))), ids)


def in_order_of_sample(test: TestSet, sample: Table | None) -> TestSet:
    """The test rows in the order of the sample submission.

    Raises:
        DataError: the ids differ.
    """
    if sample is None or not test.ids:
        return test
    ids = [row[0] for row in sample.rows]
    paths = dict(zip(test.ids, test.paths, strict=True))
    extra, missing = sorted(set(test.ids) - set(ids)), [name for name in ids if name not in paths]
    if extra or missing:
        raise DataError(
            f"The ids of the test set are not those of {sample.path}: {len(missing)} of the sample have no test photo"
            f"{_listed(missing)}, {len(extra)} test photos are not in the sample{_listed(extra)}."
        )
    return TestSet(tuple(ids), tuple(paths[name] for name in ids))


def _read_csv(root: Path, table: Table) -> TestSet:
    path_column = find_column(table, PATH_COLUMNS, "path of the photo")
    ids_in = id_column(table, path_column)
    ids = tuple(row[ids_in] for row in table.rows)
    paths = tuple(on_disk(root, relative_path(row[path_column], table)) for row in table.rows)
    refuse_repeated(ids, table, "id")
    refuse_missing(root, paths, table)
    return TestSet(ids, paths)


def id_column(table: Table, path_column: int) -> int:
    """Position of the column of ids: one with a usual name, else the first that does not hold the paths."""
    lower = [column.strip().lower() for column in table.columns]
    named = [lower.index(name) for name in _ID_COLUMNS if name in lower]
    others = [column for column in range(len(lower)) if column != path_column]
    if not named and not others:
        find_column(table, _ID_COLUMNS, "id")
    return (named or others)[0]


def _read_folder(root: Path, folder: Path) -> TestSet:
    paths = sorted(photo.relative_to(root).as_posix() for photo in photos_below(folder))
    ids = [Path(path).stem for path in paths]
    repeated = [name for name, count in Counter(ids).items() if count > 1]
    if repeated:
        raise DataError(
            f"Photos in {folder} share a name, which is to be their id: {shorten(repeated, 5)}.",
            hint=f"Write {DEFAULT_TEST} with the columns ID and img_path.",
        )
    return TestSet(tuple(ids), tuple(paths))


def _listed(names: Sequence[str]) -> str:
    return f" ({shorten(names, 5)})" if names else ""
