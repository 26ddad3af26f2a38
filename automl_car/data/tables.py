"""CSV files of a contest in, cells as text out: nothing is turned into numbers, so that the id 007 stays 007."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from automl_car.data.ordinary import read_ordinary
from automl_car.errors import DataError

_BOM = b"\xef\xbb\xbf"
PATH_COLUMNS = (
    "img_path",
    "image_path",
    "path",
    "file_path",
    "filepath",
    "image",
    "img",
    "filename",
    "file_name",
    "file",
)
LABEL_COLUMNS = ("label", "class", "target", "class_name", "category")
_IS_CLEAN = re.compile(r"[^./\\:][^/\\:]*(/[^./\\:][^/\\:]*)*").fullmatch


@dataclass(frozen=True)
class Table:
    """A CSV file.

    Attributes:
        path: where it lies.
        header: its first line as it stands there, without BOM and line end.
        columns: the names in that line.
        rows: cells of all other lines; of a sample submission only the first of each.
        bom: whether it begins with a UTF-8 byte order mark.
        newline: "\\n" or "\\r\\n", as after the header.
    """

    path: Path
    header: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    bom: bool
    newline: str


def read_table(path: Path, *, keep: int | None = None) -> Table:
    """Read a CSV file in UTF-8, with or without BOM; blank lines are left out.

    Args:
        path: of the file.
        keep: how many cells of each row are wanted; all by default.

    Raises:
        DataError: the file cannot be read, is not UTF-8, is empty, or a line has too few or too many cells.
    """
    data = read_ordinary(path)
    lines = io.StringIO(_decode(path, data.removeprefix(_BOM)), newline="").readlines()
    reader = csv.reader(lines)
    try:
        columns = next(reader, [])
        header = "".join(lines[: reader.line_num])  # more than one line if a quoted name holds a line end
        rows = []
        for row in reader:
            if row and len(row) != len(columns):
                raise DataError(
                    f"Line {reader.line_num} of {path} has {len(row)} cells; the header has {len(columns)}."
                )
            if row:
                rows.append(tuple(row[:keep]))
    except csv.Error as error:
        raise DataError(f"Line {reader.line_num} of {path} is not CSV: {error}.") from error
    if not columns:
        raise DataError(f"{path} is empty; its first line should name the columns.")
    newline = "\r\n" if header.endswith("\r\n") else "\n"
    return Table(path, header.rstrip("\r\n"), tuple(columns), tuple(rows), data.startswith(_BOM), newline)


def csv_line(cells: Iterable[str]) -> str:
    """A line of a CSV file without its end; cells are quoted where they must be.

    Example:
        >>> csv_line(["A, long", "B", "C"])
        '"A, long",B,C'
    """
    text = io.StringIO(newline="")
    # Before Python 3.13 only the characters of the line end that is asked for make csv quote a cell.
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().removesuffix("\r\n")


def find_column(table: Table, names: Sequence[str], meaning: str) -> int:
    """Position of the first column that has one of the names, in any case.

    Raises:
        DataError: there is none; the message lists the columns.
    """
    lower = [column.strip().lower() for column in table.columns]
    for name in names:
        if name in lower:
            return lower.index(name)
    raise DataError(
        f"{table.path} has no column for the {meaning}. Its columns: {shorten(table.columns)}.",
        hint=f"Name the column one of: {', '.join(names)}.",
    )


def relative_path(cell: str, table: Table) -> str:
    """A path in a CSV as a clean relative one with `/`; `./` and Windows' `\\` are understood.

    Raises:
        DataError: it is absolute or leads out of the folder by `..`.
    """
    clean = cell.strip()
    if _IS_CLEAN(clean):  # nearly all are, and of a million it takes long to take each apart
        return clean
    path = PureWindowsPath(clean)
    if path.anchor or ".." in path.parts:
        raise DataError(
            f"The path `{cell}` in {table.path} leads out of the data folder.",
            hint="Write paths relative to the data folder, without `..`.",
        )
    return path.as_posix()


def shorten(names: Sequence[str], most: int = 8) -> str:
    """The first names in backticks, and how many more there are.

    Example:
        >>> shorten(["a", "b", "c"], most=2)
        '`a`, `b` and 1 more'
    """
    shown = ", ".join(f"`{name}`" for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _decode(path: Path, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 text: byte {error.start} is 0x{data[error.start]:02x}.",
            hint="Save it as `CSV UTF-8`; older Korean programs write CP949.",
        ) from error
