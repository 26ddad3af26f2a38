"""What prediction files say, as tables and as plain JSON values."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

from automl_car.ensemble.confidence import CONFIDENT, NEAR_CERTAIN
from automl_car.report.tables import new_console, new_table

if TYPE_CHECKING:
    from automl_car.ensemble.analysis import Analysis
    from automl_car.ensemble.confidence import Comparison, Confidence
    from automl_car.records import FloatArray

ADVICE = (
    "Confidence is no measure of quality: a model that is wrong and over-confident has a high share above 0.8 as well. "
    "What counts is the log loss on photos that it was not trained on: `automl-car score FILE LABELS`, or the "
    "out-of-fold log loss of `automl-car ensemble` and `automl-car blend`."
)


def print_analysis(analysis: Analysis, written: tuple[Path, ...]) -> None:
    """A line for each file, what it predicts most, how far files agree, what to make of it, and where the plots are."""
    console = new_console()
    _print_files(console, analysis.files)
    for file in analysis.files:
        _print_classes(console, file)
    if analysis.comparison is not None:
        _print_comparison(console, analysis, analysis.comparison)
    if analysis.judged:
        _print_judged(console, analysis)
    console.print()
    console.print(ADVICE, soft_wrap=True)
    console.print()
    for path in written:
        console.print(str(path), soft_wrap=True)


def _print_files(console: Console, files: tuple[Confidence, ...]) -> None:
    console.print(f"{len(files[0].confidence)} rows, {len(files[0].classes)} classes")
    above = (f"> {CONFIDENT}", f"rows > {NEAR_CERTAIN}")
    numbers = (*above, "mean", "median", "entropy", "exp(entropy)", "never top")  # fits 80 characters
    table = new_table("confidence", *numbers, right=numbers)
    for file in files:
        values = file_json(file)
        table.add_row(
            file.name,
            f"{values['share_confident']:.1%}",
            str(values["near_certain"]),
            f"{values['mean_confidence']:.4f}",
            f"{values['median_confidence']:.4f}",
            f"{values['mean_entropy']:.4f}",
            f"{values['effective_classes']:.2f}",
            str(len(file.never_predicted)),
        )
    console.print(table)


def _print_classes(console: Console, file: Confidence) -> None:
    console.print()
    numbers = ("rows", "expected")
    table = new_table(f"predicted most by {file.name}", *numbers, right=numbers)
    for index in file.most_predicted:
        table.add_row(file.classes[index], str(file.counts[index]), f"{file.expected[index]:.1f}")
    console.print(table)


def _print_comparison(console: Console, analysis: Analysis, comparison: Comparison) -> None:
    names = [file.name for file in analysis.files]
    for title, matrix in (
        ("same class on top", comparison.agreement),
        ("mean total variation distance", comparison.distance),
    ):
        console.print()
        table = new_table(title, *names, right=tuple(names))
        for name, row in zip(names, matrix.tolist(), strict=True):
            table.add_row(name, *(f"{value:.3f}" for value in row))
        console.print(table)


def _print_judged(console: Console, analysis: Analysis) -> None:
    console.print()
    numbers = ("log loss", "accuracy", "calibration error")
    table = new_table("against the labels", *numbers, right=numbers)
    for file, judged in zip(analysis.files, analysis.judged, strict=True):
        score, error = judged.score, judged.reliability.calibration_error
        table.add_row(file.name, f"{score.log_loss:.4f}", f"{score.accuracy:.4f}", f"{error:.4f}")
    console.print(table)


def analysis_json(analysis: Analysis, written: tuple[Path, ...]) -> dict[str, Any]:
    """What `analyze --json` prints."""
    files = [file_json(file) for file in analysis.files]
    for values, judged in zip(files, analysis.judged, strict=False):  # nothing is judged without labels
        values["log_loss"] = judged.score.log_loss
        values["accuracy"] = judged.score.accuracy
        values["expected_calibration_error"] = judged.reliability.calibration_error
    comparison = analysis.comparison
    return {
        "files": files,
        "agreement": _matrix(comparison.agreement) if comparison else None,
        "total_variation": _matrix(comparison.distance) if comparison else None,
        "advice": ADVICE,
        "written": [str(path) for path in written],
    }


def _matrix(values: FloatArray) -> list[list[float]]:
    rows: list[list[float]] = values.tolist()
    return rows


def file_json(file: Confidence) -> dict[str, Any]:
    """The numbers of one file."""
    return {
        "name": file.name,
        "rows": len(file.confidence),
        "classes": len(file.classes),
        "share_confident": file.share_above(CONFIDENT),
        "near_certain": int((file.confidence > NEAR_CERTAIN).sum()),
        "mean_confidence": float(file.confidence.mean()),
        "median_confidence": float(np.median(file.confidence)),
        "mean_entropy": float(file.entropy.mean()),
        "effective_classes": file.effective_classes,
        "never_predicted": list(file.never_predicted),
        "most_predicted": [
            {"class": file.classes[index], "rows": int(file.counts[index]), "expected": float(file.expected[index])}
            for index in file.most_predicted
        ],
    }
