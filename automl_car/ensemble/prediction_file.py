"""Rows of probabilities in, as they come; a CSV or Parquet file out, which replaces an old one when it is complete."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from automl_car.data.tables import csv_line
from automl_car.errors import ConfigError
from automl_car.files import open_atomically
from automl_car.records import FloatArray, SubmissionFormat

Write = Callable[[Sequence[str], FloatArray], None]
_ROW_GROUP = 4096  # rows at least, but for the last one; each group of a Parquet file has a directory of all columns


def check_output(path: Path) -> None:
    """Refuse what cannot be written, before hours of work.

    Raises:
        ConfigError: another ending than .csv and .parquet, no such folder, or pyarrow is not installed.
    """
    if path.suffix not in (".csv", ".parquet"):
        raise ConfigError(
            f"`{path}` ends neither in .csv nor in .parquet.", hint="The ending of --output says what to write."
        )
    if not path.parent.is_dir():
        raise ConfigError(f"There is no folder `{path.parent}` for `{path.name}`.")
    if path.suffix == ".parquet":
        _import_pyarrow()


@contextmanager
def prediction_file(path: Path, form: SubmissionFormat) -> Iterator[Write]:
    """Opens a prediction file for writing.

    Args:
        path: ending in .csv (nine significant digits, header and line ends as `form` has them) or .parquet (float64).
        form: the columns. Those that share a class all get its whole probability; see `submission`.

    Yields:
        A function that writes ids and probabilities float64 (n, C).
    """
    with open_atomically(path) as file:
        if path.suffix == ".csv":
            yield _csv_writer(file, form)
            return
        with _parquet_writer(file, form) as write:
            yield write


def _csv_writer(file: BinaryIO, form: SubmissionFormat) -> Write:
    file.write((form.header + form.newline).encode("utf-8-sig" if form.bom else "utf-8"))

    def write(ids: Sequence[str], probabilities: FloatArray) -> None:
        row_format = ",%.9g" * len(form.columns)
        for name, row in zip(ids, probabilities[:, form.column_classes], strict=True):
            file.write((csv_line([name]) + row_format % tuple(row.tolist()) + form.newline).encode())

    return write


@contextmanager
def _parquet_writer(file: BinaryIO, form: SubmissionFormat) -> Iterator[Write]:
    arrow, parquet = _import_pyarrow()
    id_name = next(csv.reader([form.header]))[0]
    names = [id_name, *form.columns]
    schema = arrow.schema([(id_name, arrow.string()), *((name, arrow.float64()) for name in form.columns)])
    waiting: list[Any] = []
    with parquet.ParquetWriter(file, schema) as table:

        def write_out() -> None:
            if waiting:
                rows = arrow.Table.from_batches(waiting)
                table.write_table(rows, row_group_size=len(rows))
            waiting.clear()

        def write(ids: Sequence[str], probabilities: FloatArray) -> None:
            columns = [arrow.array(probabilities[:, index]) for index in form.column_classes]
            waiting.append(arrow.record_batch([arrow.array(ids, arrow.string()), *columns], names=names))
            if sum(batch.num_rows for batch in waiting) >= _ROW_GROUP:
                write_out()

        yield write
        write_out()


def _import_pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigError(
            "Parquet files are written by pyarrow, which is not installed.",
            hint="pip install 'automl-car[parquet]', or write a .csv file.",
        ) from error
    return pyarrow, pyarrow.parquet
