"""Cells of CSV files that a spreadsheet will open: what it would read as a formula is written so that it does not.

A class folder named `=HYPERLINK(…)` would otherwise run in the program of whoever opens the file
(OWASP, "CSV Injection").
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from automl_car.data.tables import csv_line

BYTE_ORDER_MARK = "\ufeff"
# OWASP's list, with the wide forms that a Japanese or Korean spreadsheet takes for the same. With the apostrophes, so
# that `restore` finds back what had one before.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")


def defuse(text: str) -> str:
    """The text with an apostrophe before it where a spreadsheet would read it as a formula.

    Example:
        >>> defuse("=1+1"), defuse("train/-a.jpg")
        ("'=1+1", 'train/-a.jpg')
    """
    return f"'{text}" if _FORMULA.match(text) else text


def restore(cell: str) -> str:
    """The text that `defuse` made the cell of.

    Example:
        >>> restore("'=1+1"), restore("'s-Hertogenbosch")
        ('=1+1', "'s-Hertogenbosch")
    """
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell[1:]) else cell


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]], *, digits: int = 6) -> str:
    """A whole CSV file for people; every table that is not a prediction is written by it.

    It begins with a byte order mark, without which Excel takes UTF-8 for the code page of the machine.

    Args:
        header: names of the columns; defused like any cell.
        rows: text is defused, True is yes, None and not a number are an empty cell.
        digits: of a fraction, that count; 17 keep it exactly.
    """
    lines = [csv_line([defuse(cell) for cell in header])]
    lines += [csv_line([_cell(value, digits) for value in row]) for row in rows]
    return BYTE_ORDER_MARK + "\n".join([*lines, ""])


def _cell(value: object, digits: int) -> str:
    if value is None or value != value:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.{digits}g}"
    return str(value) if isinstance(value, int) else defuse(str(value))
