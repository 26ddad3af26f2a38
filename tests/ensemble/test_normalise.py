"""From what a file says to rows that sum to 1: what is refused, what is put right, and columns of one class."""

import numpy as np
import pytest

from automl_car.ensemble.normalise import class_names, find_classes, require_probabilities, tell_shared_columns, to_rows
from automl_car.ensemble.predictions import Predictions
from automl_car.errors import DataError

APART = np.array([0, 1])


def file(values):
    values = np.array(values, dtype=float)
    return Predictions(tuple("abcdef"[: values.shape[1]]), tuple(f"T{row}" for row in range(len(values))), values)


@pytest.mark.parametrize("value", [np.nan, -0.1, 1.1, np.inf])
def test_a_value_that_is_no_probability_is_refused_with_its_id_and_column(value):
    with pytest.raises(DataError, match=r"1 values in f\.csv are not between 0 and 1; .* of id 'T1' in column 'b'"):
        require_probabilities("f.csv", file([[0.5, 0.5], [0.5, value]]))


def test_logits_are_refused_with_what_to_do():
    with pytest.raises(DataError) as error:
        require_probabilities("f.csv", file([[-3.1, 7.5]]))
    assert "softmax" in error.value.hint


def test_a_file_of_semicolons_is_refused():
    with pytest.raises(DataError, match="single column"):
        require_probabilities("f.csv", Predictions((), ("x;1;0",), np.empty((1, 0))))


def test_a_row_of_zeros_is_refused():
    with pytest.raises(DataError, match=r"1 rows of f\.csv have 0 in every column: T1"):
        require_probabilities("f.csv", file([[1, 0], [0, 0]]))


def test_rows_are_divided_by_their_sum_and_those_that_were_off_are_counted():
    notes = []
    rows = to_rows({"f.csv": file([[0.2, 0.2], [0.1, 0.3], [0.5, 0.5]])}, APART, notes.append)["f.csv"]
    assert rows.tolist() == [[0.5, 0.5], [pytest.approx(0.25), pytest.approx(0.75)], [0.5, 0.5]]
    assert notes == ["f.csv: 2 of 3 rows do not sum to 1 (the first, 'T0', to 0.4); they are divided by their sum"]


def test_sums_that_rounding_explains_are_worth_no_word():
    notes = []
    rows = to_rows({"f.csv": file([[0.3333, 0.6664]])}, APART, notes.append)["f.csv"]
    assert rows.sum() == pytest.approx(1, abs=1e-15)
    assert notes == []


SUM_IN_BOTH = np.array([[0.9, 0.1, 0.9], [0.25, 0.75, 0.25]])


def test_two_columns_with_the_same_sum_are_one_class():
    classes = find_classes([SUM_IN_BOTH, SUM_IN_BOTH[:1]])
    assert classes.tolist() == [0, 1, 0]
    rows = to_rows({"f.csv": file(SUM_IN_BOTH)}, classes, print)["f.csv"]
    assert rows.tolist() == [[0.9, 0.1], [0.25, 0.75]]


def test_columns_that_are_equal_in_one_file_alone_are_two_classes():
    assert find_classes([SUM_IN_BOTH, np.array([[0.3, 0.4, 0.3 - 1e-9]])]).tolist() == [0, 1, 2]


@pytest.mark.parametrize("values", [[[0.0, 1.0, 0.0]], [[0.25, 0.5, 0.25]]])
def test_columns_that_are_equal_by_chance_stay_two_classes(values):
    assert find_classes([np.array(values)]).tolist() == [0, 1, 2]


def test_equal_columns_that_do_not_explain_the_sums_stay_two_classes():
    sigmoids = np.array([[0.7, 0.9, 0.7], [0.2, 0.9, 0.2]])
    assert find_classes([sigmoids]).tolist() == [0, 1, 2]


def test_shared_columns_are_told_with_both_names():
    notes = []
    tell_shared_columns(["RAV4", "K5", "라브4"], np.array([0, 1, 0]), notes.append)
    assert len(notes) == 1
    assert "RAV4 = 라브4" in notes[0]
    tell_shared_columns(["RAV4", "K5"], APART, pytest.fail)


def test_class_names_are_in_the_order_of_the_columns():
    assert class_names("abcd", np.array([0, 1, 1, 2])) == ("a", "b = c", "d")
