"""Rows in pieces in; one complete file out, or the old one."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from automl_car.ensemble.prediction_file import Write, check_output, prediction_file
from automl_car.errors import ConfigError
from automl_car.records import SubmissionFormat

FORM = SubmissionFormat("ID,RAV4,K5,라브4", ("RAV4", "K5", "라브4"), (0, 1, 0), (), newline="\r\n", bom=True)
ROWS = np.array([[0.25, 0.75], [1 / 3, 2 / 3], [0.9, 0.1]])


def write(path: Path) -> None:
    with prediction_file(path, FORM) as rows:
        rows(["a", "b,c"], ROWS[:2])
        rows(["d"], ROWS[2:])


def test_a_csv_has_the_contests_form_and_nine_digits(tmp_path: Path) -> None:
    write(tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_bytes().decode("utf-8") == (
        '\ufeffID,RAV4,K5,라브4\r\na,0.25,0.75,0.25\r\n"b,c",0.333333333,0.666666667,0.333333333\r\nd,0.9,0.1,0.9\r\n'
    )


def test_a_parquet_file_has_the_same_columns_and_all_digits(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    write(tmp_path / "out.parquet")
    table = parquet.read_table(tmp_path / "out.parquet").to_pydict()
    assert list(table) == ["ID", "RAV4", "K5", "라브4"]
    assert table["ID"] == ["a", "b,c", "d"]
    assert table["K5"] == ROWS[:, 1].tolist()
    assert table["라브4"] == table["RAV4"] == ROWS[:, 0].tolist()


def test_many_rows_share_a_group_of_a_parquet_file(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    with prediction_file(tmp_path / "out.parquet", FORM) as rows:
        for start in range(0, 6000, 30):
            rows([str(start + number) for number in range(30)], np.full((30, 2), 0.5))
    file = parquet.ParquetFile(tmp_path / "out.parquet")
    assert (file.metadata.num_rows, file.num_row_groups) == (6000, 2)


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_the_old_file_stays_when_the_prediction_fails(tmp_path: Path, name: str) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    (tmp_path / name).write_text("old")

    def fail(rows: Write) -> None:
        rows(["a"], ROWS[:1])
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), prediction_file(tmp_path / name, FORM) as rows:
        fail(rows)
    assert (tmp_path / name).read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ends neither in .csv nor in .parquet"):
        check_output(tmp_path / "out.xlsx")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="There is no folder"):
        check_output(tmp_path / "nowhere" / "out.csv")


def test_without_pyarrow_the_command_that_installs_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match="not installed") as error:
        check_output(tmp_path / "out.parquet")
    assert "pip install 'automl-car[parquet]'" in str(error.value.hint)
