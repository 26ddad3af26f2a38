"""The quick way to read a prediction file gives what the slow one gives, or nothing."""

import numpy as np
import pytest

from automl_car.ensemble import predictions
from automl_car.ensemble.large_table import parse_large
from automl_car.ensemble.predictions import parse_predictions
from automl_car.errors import DataError


@pytest.fixture
def large(monkeypatch):
    """Every file counts as a large one."""
    monkeypatch.setattr(predictions, "LARGE_BYTES", 0)


PLAIN = [
    b"ID,a,b\nx,0.1,1e-300\ny,1,0\n",
    b"\xef\xbb\xbfID,a,b\r\n007,0.5,0.5\r\nNA,.5,5E-1\r\n",
    '"ID","쏘나타","a,b"\n"x,1",0.25,0.75\n'.encode(),
    b"ID,a,b\n\nx,0.1,0.9\n\n\ny,0.2,0.8",
    b"ID,a,b\nx,2,-1\n",
    b"1,2,3\n4,5,6\n",
]
UNUSUAL = [
    b"ID,a,b\nx,,1\ny,0,1\n",
    b"ID,a,b\nx,nan,1\ny,inf,1\n",
    b"ID,a,b\nx,1_0,1\n",
    b"\nID,a,b\nx,0.5,0.5\n",
    b'ID,"a\nb",c\nx,0.5,0.5\n',
]


def same(one, other):
    assert (one.columns, one.ids) == (other.columns, other.ids)
    assert np.array_equal(one.values, other.values, equal_nan=True)
    assert one.values.dtype == np.float64


@pytest.mark.parametrize("data", [*PLAIN, *UNUSUAL])
def test_both_ways_read_the_same(data, monkeypatch):
    slow = parse_predictions(data, "f.csv")
    monkeypatch.setattr(predictions, "LARGE_BYTES", 0)
    same(parse_predictions(data, "f.csv"), slow)


@pytest.mark.parametrize("data", PLAIN)
def test_a_plain_file_is_read_quickly(data):
    assert parse_large(data) is not None


def test_numbers_are_those_of_python_to_the_last_digit_that_counts():
    cells = [repr(value) for value in np.random.default_rng(0).dirichlet(np.full(50, 0.01), 20).ravel().tolist()]
    text = "ID,a\n" + "".join(f"{row},{cell}\n" for row, cell in enumerate(cells))
    read = parse_large(text.encode())
    assert read[2][:, 0] == pytest.approx([float(cell) for cell in cells], rel=1e-14, abs=0)


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no rows"),
        (b"ID,a\n", "no rows"),
        (b"ID,a,b\nx,1,0\ny,1\n", "'y' has 2"),
        (b"ID,a,b\nx,1\ny,1\n", "'x' has 2"),
        (b"ID,a,b\nx,1,0\ny,1,0,0\n", "'y' has 4"),
        (b"ID,a,b\nx,1,0,0\ny,1,0,0\n", "'x' has 4"),
        (b"ID,a,b\nx,1,oops\n", "'x'.*oops"),
        (b"ID,a,b\nx,1,True\n", "'x'.*True"),
        (b"ID,a,a\nx,1,1\n", "Columns that stand more than once.*: a"),
        (b"ID,a\nx,1\nx,1\n", "Ids that stand more than once.*: x"),
        (b"ID,a\n\xff,1\n", "UTF-8"),
    ],
)
def test_what_is_wrong_with_a_large_file_is_told_as_of_a_small_one(data, message):
    with pytest.raises(DataError, match=message):
        parse_predictions(data, "f.csv")
