"""Prediction files: what is read, and what is refused with a message that leads to the cell."""

import unicodedata

import numpy as np
import pytest

from automl_car.ensemble.predictions import read_predictions
from automl_car.errors import DataError


def written(tmp_path, data):
    path = tmp_path / "predictions.csv"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def test_ids_columns_and_values_are_read_in_their_order(tmp_path):
    predictions = read_predictions(written(tmp_path, "ID,b,a\nT_1,0.25,0.75\nT_0,1,1e-6\n"))
    assert predictions.columns == ("b", "a")
    assert predictions.ids == ("T_1", "T_0")
    assert predictions.values.tolist() == [[0.25, 0.75], [1.0, 1e-6]]


def test_a_byte_order_mark_and_windows_lines_are_no_part_of_the_data(tmp_path):
    predictions = read_predictions(written(tmp_path, b"\xef\xbb\xbfID,a\r\nx,0.5\r\n"))
    assert (predictions.columns, predictions.ids) == (("a",), ("x",))


def test_ids_that_look_like_numbers_keep_their_zeros(tmp_path):
    assert read_predictions(written(tmp_path, "ID,a\n007,1\nNA,1\n")).ids == ("007", "NA")


def test_column_names_are_composed(tmp_path):
    names = unicodedata.normalize("NFD", "모닝")
    assert read_predictions(written(tmp_path, f"ID,{names}\nx,1\n")).columns == ("모닝",)


def test_an_empty_cell_is_nan(tmp_path):
    assert np.isnan(read_predictions(written(tmp_path, "ID,a,b\nx,,1\n")).values[0, 0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no rows"),
        ("ID,a\n", "no rows"),
        ("ID,a,b\nx,1\n", "'x' has 2"),
        ("ID,a,b\nx,1,oops\n", "'x'.*oops"),
        ("ID,a,a\nx,1,1\n", "Columns that stand more than once.*: a"),
        ("ID,a\nx,1\nx,1\n", "Ids that stand more than once.*: x"),
        (b"ID,a\n\xff,1\n", "UTF-8"),
    ],
)
def test_a_table_that_is_not_one_is_refused(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read_predictions(written(tmp_path, text))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"absent\.csv cannot be read"):
        read_predictions(tmp_path / "absent.csv")
