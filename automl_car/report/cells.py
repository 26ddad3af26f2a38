"""Cells of CSV files that a spreadsheet will open: what it would read as a formula is written so that it does not.

A class folder named `=HYPERLINK(…)` would otherwise run in the program of whoever opens the file
(OWASP, "CSV Injection").
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence

BYTE_ORDER_MARK = "\ufeff"
_FORMULA = re.compile(r"'*[=+\-@\t\r]")  # with the apostrophes, so that `restore` finds back what had one before


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


def csv_text(header: Sequence[str], rows: Iterable[Sequence[str | int | float | bool | None]]) -> str:
    """A whole CSV file; text is defused, numbers have six digits that count, None is an empty cell.

    It begins with a byte order mark, without which Excel takes UTF-8 for the code page of the machine.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([defuse(cell) for cell in header])
    writer.writerows([_cell(value) for value in row] for row in rows)
    return BYTE_ORDER_MARK + text.getvalue()


def _cell(value: str | int | float | bool | None) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    return defuse(value) if isinstance(value, str) else str(value)
