"""Cells that a spreadsheet would read as formulas: written harmlessly, read back exactly."""

from __future__ import annotations

import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automl_car.data.cells import csv_text, defuse, restore


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_what_begins_like_a_formula_gets_an_apostrophe(text: str) -> None:
    assert defuse(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "train/=a.jpg", "현대_그랜저", "'s-Hertogenbosch", "1-2"])
def test_other_text_stays_as_it_is(text: str) -> None:
    assert defuse(text) == text


@given(st.text(alphabet="'=+-@a\t\r"))
def test_any_text_is_read_back_exactly(text: str) -> None:
    assert restore(defuse(text)) == text


def test_numbers_are_never_defused() -> None:
    assert csv_text(("a", "b", "c", "d"), [(-1, -0.1234567, True, None)]) == "\ufeffa,b,c,d\n-1,-0.123457,yes,\n"


def test_text_with_commas_quotes_and_line_ends_is_one_cell() -> None:
    text = csv_text(("a",), [('x,"y"\nz',)])
    assert list(csv.reader(text.removeprefix("\ufeff").splitlines(keepends=True))) == [["a"], ['x,"y"\nz']]
