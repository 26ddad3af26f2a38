"""What a check found, as lines for a terminal and as plain JSON values."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.text import Text

from automl_car.report.tables import new_console, new_table

if TYPE_CHECKING:
    from automl_car.pipeline.checked import Finding

_MARKS = {"good": ("ok", "green"), "note": ("note", "yellow"), "problem": ("problem", "red")}


def print_checks(findings: Sequence[Finding]) -> None:
    """A line for each finding, what to do below it, and the sum."""
    table = new_table("", "what", "found")
    for finding in findings:
        word, style = _MARKS[finding.level]
        table.add_row(Text(word, style=style), finding.topic, finding.text)
        if finding.todo:
            table.add_row("", "", Text(f"→ {finding.todo}", style="dim"))
    console = new_console()
    console.print(table)
    problems = sum(finding.level == "problem" for finding in findings)
    notes = sum(finding.level == "note" for finding in findings)
    console.print(f"problems: {problems}, notes: {notes}" if problems or notes else "all is well")


def checks_json(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """What `check --json` prints."""
    return [dataclasses.asdict(finding) for finding in findings]
