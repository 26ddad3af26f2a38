"""All that a report says about the loss of a study, and the same as tables of cells."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from automl_car.ensemble.reliability import Reliability
from automl_car.report.labels import DuplicatePhoto, Suspect, Suspects
from automl_car.report.losses import AliasLoss, ClassLoss, Confusion, HardPhoto, Headline

Cell = str | int | float | bool | None
_TOP = 10  # rows of a table in JSON and on the page


@dataclass(frozen=True)
class LossReport:
    """Where the loss of a study's ensemble comes from.

    Attributes:
        study: its name.
        headline: the loss as a whole.
        confusions, hard_photos, classes, aliases, duplicates: see their classes; the costliest first.
        suspects: likely wrong labels.
        before, after: reliability of the members' pool before any temperature, and of the calibrated ensemble.
        partial: why the numbers are of some photos alone; empty where they are of all.
        notes: sentences on what is missing in this report, and why.
    """

    study: str
    headline: Headline
    confusions: tuple[Confusion, ...]
    hard_photos: tuple[HardPhoto, ...]
    classes: tuple[ClassLoss, ...]
    aliases: tuple[AliasLoss, ...]
    suspects: Suspects
    duplicates: tuple[DuplicatePhoto, ...]
    before: Reliability
    after: Reliability
    partial: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cells:
    """One table: the names of its columns, and its rows."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def top(self, count: int = _TOP) -> Cells:
        """Its first rows."""
        return Cells(self.columns, self.rows[:count])

    def short(self) -> tuple[tuple[str, ...], ...]:
        """The rows for reading: four digits, shares in percent."""
        return tuple(
            tuple(_short(name, cell) for name, cell in zip(self.columns, row, strict=True)) for row in self.rows
        )

    @property
    def numbers(self) -> tuple[str, ...]:
        """The columns that hold numbers."""
        texts = {index for row in self.rows for index, cell in enumerate(row) if isinstance(cell, str | bool)}
        return tuple(name for index, name in enumerate(self.columns) if index not in texts)


def _short(name: str, cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, float):
        return f"{100 * cell:.1f} %" if name.endswith("share") or name.startswith("accuracy") else f"{cell:.4f}"
    return str(cell)


def with_notes(report: LossReport, *notes: str) -> LossReport:
    """The report with more notes; empty ones are left out."""
    return dataclasses.replace(report, notes=(*report.notes, *(note for note in notes if note)))


def tables(report: LossReport) -> dict[str, Cells]:
    """The tables by name; that of aliases is left out where there are none."""
    found = {
        "confusions": _cells(Confusion, report.confusions),
        "hard_photos": _cells(HardPhoto, report.hard_photos),
        "classes": _cells(ClassLoss, report.classes),
        "suspects": _cells(Suspect, report.suspects.listed),
        "near_duplicates": _cells(DuplicatePhoto, report.duplicates),
    }
    if report.aliases:
        found["aliases"] = _cells(AliasLoss, report.aliases)
    return found


def _cells(kind: type, rows: Sequence[Any]) -> Cells:
    columns = tuple(field.name for field in dataclasses.fields(kind))
    return Cells(columns, tuple(dataclasses.astuple(row) for row in rows))


def to_json(report: LossReport) -> dict[str, Any]:
    """The numbers of the report as plain JSON values, with the first rows of each table."""
    return {
        "study": report.study,
        **dataclasses.asdict(report.headline),
        "calibration_error_before": report.before.calibration_error,
        "calibration_error_after": report.after.calibration_error,
        "flagged_labels": report.suspects.flagged,
        "log_loss_without_flagged": report.suspects.log_loss_without,
        "partial": report.partial,
        "notes": list(report.notes),
        "tables": {
            name: [dict(zip(cells.columns, row, strict=True)) for row in cells.top().rows]
            for name, cells in tables(report).items()
        },
    }
