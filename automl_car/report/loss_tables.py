"""Where the loss comes from, in a terminal: the numbers and the first rows of each table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from automl_car.report.loss_report import LossReport, tables
from automl_car.report.page import headline_sentences
from automl_car.report.tables import new_console, new_table

_ROWS = 5
# What is worth a look at once; the rest stands in the files.
_SHOWN = {
    "confusions": ("label", "guess", "photos", "loss", "share", "photos_back"),
    "hard_photos": ("path", "label", "probability", "guess", "guess_probability", "loss", "cumulative_share"),
    "suspects": ("rank", "path", "label", "suggested", "quality", "flagged"),
    "near_duplicates": ("group", "path", "label", "exact"),
    "classes": ("name", "photos", "log_loss", "share", "accuracy", "confused_with"),
    "aliases": ("alias", "same_as", "photos", "log_loss", "photos_same_as", "log_loss_same_as"),
}


def print_losses(report: LossReport, files: Sequence[Path]) -> None:
    """The report in short, and where its files are."""
    console = new_console()
    for sentence in headline_sentences(report):
        console.print(sentence, soft_wrap=True)
    found = tables(report)
    for name, columns in _SHOWN.items():
        if name in found and found[name].rows:
            cells = found[name].top(_ROWS)
            places = [cells.columns.index(column) for column in columns]
            table = new_table(*(column.replace("_", " ") for column in columns))
            for column, rich_column in zip(columns, table.columns, strict=True):
                rich_column.justify = "right" if column in cells.numbers else "left"
            for row in cells.short():
                table.add_row(*(" ".join(row[place].split()) for place in places))
            console.print()
            console.print(f"{name.replace('_', ' ')}, {len(cells.rows)} of {len(found[name].rows)}:", style="bold")
            console.print(table)
    console.print()
    for note in report.notes:
        console.print(Text(note, style="yellow"), soft_wrap=True)
    for file in files:
        console.print(str(file), soft_wrap=True)
