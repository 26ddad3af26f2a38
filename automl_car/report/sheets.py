"""CSV files that people open in a spreadsheet: rows in; text that is safe to open there out."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

_BOM = "\ufeff"  # without it Excel takes UTF-8 for the code page of the machine
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def sheet(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """The CSV file as text; begins with a byte order mark, lines end in `\\n`, text cells are defused."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([defuse(cell) for cell in header])
    writer.writerows([defuse(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
    return _BOM + text.getvalue()


def defuse(cell: str) -> str:
    """Text that a spreadsheet shows and does not compute: an apostrophe goes before what begins like a formula.

    Class names and ids come from strangers' files, and `=HYPERLINK(…)` would run where a report is opened (OWASP, CSV
    Injection). Submissions are read by machines and must never go through this.

    Example:
        >>> defuse("=1+1"), defuse("K5")
        ("'=1+1", 'K5')
    """
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
