"""What `automl-car plugins check` found, as a table and as plain JSON values."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.text import Text

from automl_car.report.tables import new_console, new_table

if TYPE_CHECKING:
    from automl_car.checking import Checked


def print_checks(found: Sequence[Checked]) -> None:
    """A line for each plugin, and below it each rule that it breaks."""
    table = new_table("plugin", "verdict", "seconds", "offers", "version", "place", right=("seconds",))
    for checked in found:
        verdict = Text("broken", style="red") if checked.broken else Text("kept", style="green")
        offers = ", ".join(checked.offers)
        table.add_row(checked.name, verdict, f"{checked.seconds:.1f}", offers, checked.version, checked.place)
    console = new_console()
    if found:
        console.print(table)
    for checked in found:
        for broken in checked.broken:
            of = f" of `{broken.record}`" if broken.record else ""
            console.print(Text(f"{checked.name}: {broken.rule}{of}: {broken.message}", style="red"), soft_wrap=True)
        for note in checked.notes:
            console.print(Text(f"{checked.name}: note: {note}", style="yellow"), soft_wrap=True)


def summary(found: Sequence[Checked], *, everything: bool, limit: float) -> str:
    """One line about what was checked."""
    if not found:
        return "there are only bundled plugins here; --all checks those"
    others = "" if everything else " (all but the bundled ones; --all checks those, too)"
    seconds = sum(checked.seconds for checked in found)
    count = f"{len(found)} plugin{'' if len(found) == 1 else 's'}"
    return f"{count} checked in {seconds:.1f} s{others}, each in a process of its own, with {limit:g} s for each rule"


def checked_json(checked: Checked) -> dict[str, Any]:
    """A plugin as `plugins check --json` prints it."""
    values = dataclasses.asdict(checked)
    return {**values, "verdict": "broken" if checked.broken else "kept", "seconds": round(checked.seconds, 2)}
