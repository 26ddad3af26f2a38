"""Files are matched by name, never by place; what does not fit is told with names."""

import numpy as np
import pytest

from automl_car.ensemble.alignment import align
from automl_car.ensemble.predictions import Predictions
from automl_car.errors import DataError


def file(columns, ids, values):
    return Predictions(tuple(columns), tuple(ids), np.array(values, dtype=float))


FIRST = file("ab", "xyz", [[0.1, 0.9], [0.2, 0.8], [0.3, 0.7]])


def test_rows_and_columns_of_another_order_are_put_right_and_told():
    notes = []
    turned = file("ba", "zxy", [[0.7, 0.3], [0.9, 0.1], [0.8, 0.2]])
    aligned = align({"1.csv": FIRST, "2.csv": turned}, notes.append)
    assert aligned["2.csv"].values.tolist() == FIRST.values.tolist()
    assert (aligned["2.csv"].columns, aligned["2.csv"].ids) == (FIRST.columns, FIRST.ids)
    assert [note.partition(":")[0] for note in notes] == ["2.csv", "2.csv"]
    assert "columns have another order" in notes[0]
    assert "rows have another order" in notes[1]


def test_files_of_the_same_order_are_worth_no_word():
    notes = []
    align({"1.csv": FIRST, "2.csv": FIRST}, notes.append)
    assert notes == []


def test_all_differences_of_all_files_are_told_at_once():
    more = file("ab", "xyzuvw", np.zeros((6, 2)))
    other = file("ac", "xy", np.zeros((2, 2)))
    with pytest.raises(DataError) as error:
        align({"1.csv": FIRST, "2.csv": more, "3.csv": other}, print)
    assert "2.csv has 3 ids that 1.csv lacks (u, v, w)" in error.value.message
    assert (
        "3.csv has 1 class columns that 1.csv lacks (c) and lacks 1 class columns of 1.csv (b)" in error.value.message
    )
    assert "3.csv lacks 1 ids of 1.csv (z)" in error.value.message


def test_columns_may_have_to_be_those_of_another_file():
    aligned = align({"1.oof.csv": FIRST}, lambda _: None, columns=("1.csv", ("b", "a")))
    assert aligned["1.oof.csv"].values[0].tolist() == [0.9, 0.1]
    with pytest.raises(DataError, match=r"1\.oof\.csv lacks 1 class columns of 1\.csv \(c\)"):
        align({"1.oof.csv": FIRST}, print, columns=("1.csv", "abc"))
