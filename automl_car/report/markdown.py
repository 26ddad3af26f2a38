"""Text and tables in Markdown (CommonMark, with GitHub's tables)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence


def plain(text: str) -> str:
    """Text that Markdown and HTML show as it is, on one line."""
    return re.sub(r"([\\|<>*`\[\]])", r"\\\1", " ".join(text.split()))


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], right: Collection[str] = ()) -> str:
    """A table of plain cells; the columns in `right` hold numbers."""
    rules = ["---:" if column in right else "---" for column in columns]
    names = [plain(column) for column in columns]
    return "\n".join(f"| {' | '.join(row)} |" for row in (names, rules, *([plain(c) for c in row] for row in rows)))
