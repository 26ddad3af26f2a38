"""Tables that people open in a spreadsheet hold nothing that it would run."""

import csv
import io

import pytest

from automl_car.report.sheets import defuse, sheet


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_what_begins_like_a_formula_gets_an_apostrophe(cell):
    assert defuse(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["", "K5", "쏘나타", "1시리즈_F20", "a=b", "'quoted"])
def test_other_text_stays_as_it_is(cell):
    assert defuse(cell) == cell


def test_headers_and_text_cells_are_defused_and_numbers_are_not():
    text = sheet(["ID", "=header"], [["@id", -0.5], ["a,b", 3]])
    rows = list(csv.reader(io.StringIO(text.removeprefix("\ufeff"))))
    assert rows == [["ID", "'=header"], ["'@id", "-0.5"], ["a,b", "3"]]


def test_the_file_begins_with_the_mark_by_which_excel_knows_utf_8():
    assert sheet(["쏘나타"], []).encode().startswith(b"\xef\xbb\xbf")
