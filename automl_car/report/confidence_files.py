"""Writes what prediction files say into a folder: plots, and tables for a spreadsheet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from automl_car.data.cells import csv_text
from automl_car.errors import ConfigError
from automl_car.files import write_atomically
from automl_car.report.confidence_plots import draw

if TYPE_CHECKING:
    from automl_car.ensemble.analysis import Analysis
    from automl_car.ensemble.confidence import Comparison, Confidence

MOST_DISPUTED = 100


def write_analysis(directory: Path, analysis: Analysis) -> tuple[Path, ...]:
    """Write the files; those of an earlier analysis are replaced.

    Args:
        directory: made if it is not there.
        analysis: what to write.

    Returns:
        classes.csv, disagreements.csv where there are several files, and the plots.

    Raises:
        ConfigError: the folder cannot be written to.
    """
    contents: dict[str, bytes | str] = {"classes.csv": classes_csv(analysis.files)}
    if analysis.comparison is not None:
        contents["disagreements.csv"] = disagreements_csv(analysis, analysis.comparison)
    contents.update(draw(analysis))
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            write_atomically(directory / name, content)
    except OSError as error:
        raise ConfigError(f"The folder `{directory}` cannot be written to: {error.strerror}.") from error
    return tuple(directory / name for name in contents)


def classes_csv(files: Sequence[Confidence]) -> str:
    """For every class and file, how many rows have it on top, and how many are expected to be of it."""
    header = ["class", *(f"{file.name} {word}" for file in files for word in ("predicted", "expected"))]
    counts = [file.counts for file in files]
    rows = (
        [
            name,
            *(
                value
                for file, count in zip(files, counts, strict=True)
                for value in (int(count[index]), round(float(file.expected[index]), 3))
            ),
        ]
        for index, name in enumerate(files[0].classes)
    )
    return csv_text(header, rows)


def disagreements_csv(analysis: Analysis, comparison: Comparison) -> str:
    """The hundred rows in which the files differ most, those first, with each file's top class and its confidence."""
    header = ["ID", "mean total variation distance"]
    header += [f"{file.name} {word}" for file in analysis.files for word in ("class", "confidence")]
    return csv_text(header, _disputed(analysis, comparison))


def _disputed(analysis: Analysis, comparison: Comparison) -> Iterator[list[str | int | float]]:
    for row in comparison.most_disputed(MOST_DISPUTED).tolist():
        cells: list[str | int | float] = [analysis.ids[row], round(float(comparison.row_distance[row]), 4)]
        for file in analysis.files:
            cells += [file.classes[file.top[row]], round(float(file.confidence[row]), 4)]
        yield cells
