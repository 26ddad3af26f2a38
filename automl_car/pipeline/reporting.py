"""From a study to a report on where its log loss comes from: tables, pictures and a page, for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from automl_car.config import Config
from automl_car.data.cells import csv_text
from automl_car.data.images import read_image
from automl_car.errors import ConfigError, DataError
from automl_car.files import write_atomically
from automl_car.pipeline.explaining import explain_losses
from automl_car.pipeline.pooling import pool_study
from automl_car.pipeline.telling import story_pictures, tell
from automl_car.records import Dataset
from automl_car.report import loss_report, sheet
from automl_car.report.fonts import Lettering, choose_lettering
from automl_car.report.html import self_contained_html
from automl_car.report.loss_report import LossReport
from automl_car.report.page import whole_page
from automl_car.report.plots import reliability_plot
from automl_car.report.story import Story
from automl_car.workspace import Workspace

# All files that a report may have.
_TABLES = ("confusions", "hard_photos", "suspects", "near_duplicates", "classes", "aliases")
_PICTURES = ("timeline.png", "curves.png", "parallel.png", "reliability.png", "suspects.jpg", "hard_photos.jpg")
_FILES = (*(f"{name}.csv" for name in _TABLES), *_PICTURES, "report.md", "report.html")


@dataclass(frozen=True)
class Reported:
    """What the journey leaves: the numbers, and the files that were written."""

    losses: LossReport
    files: tuple[Path, ...]


def report(workspace: Workspace, config: Config, *, study: str, output: Path | None, top_k: int) -> Reported:
    """Tell where the log loss of a study comes from; nothing is trained.

    Args:
        output: folder of the report; by default studies/<study>/report.
        top_k: members of the ensemble at most.

    Raises:
        StudyError: there is no such study, or no fold of it is finished.
        ConfigError: `output` is a file.
    """
    loaded, finished, pooled = pool_study(workspace, config, study, top_k, thorough=True)
    losses = explain_losses(loaded, study, finished, pooled)
    directory = output or workspace.reports(study) / "report"
    shown = _shown(directory, workspace.root)
    story = tell(loaded, study, finished, pooled)
    losses, files = report_files(story, story_pictures(story, loaded), losses, finished.dataset, shown)
    _write(directory, files)
    if output is None:
        _remove_old(directory, files)
    return Reported(losses, tuple(directory / name for name in reversed(_FILES) if name in files))


def report_files(
    story: Story, plots: dict[str, bytes], losses: LossReport, dataset: Dataset, directory: str
) -> tuple[LossReport, dict[str, bytes]]:
    """The content of all files by name; and the report, with a note on what pictures cannot show.

    Args:
        story: of the search.
        plots: of the story, by file name.
        directory: where the files will lie, as a person in the workspace writes it.
    """
    lettering = choose_lettering(dataset.class_names)
    pictures = {**plots, **_pictures(losses, dataset, lettering)}
    noted = loss_report.with_notes(losses, lettering.note)
    texts = {f"{name}.csv": csv_text(cells.columns, cells.rows) for name, cells in loss_report.tables(noted).items()}
    texts["report.md"] = whole_page(story, noted, directory, pictures)
    texts["report.html"] = self_contained_html(texts["report.md"], pictures)
    return noted, {**{name: text.encode() for name, text in texts.items()}, **pictures}


def _pictures(losses: LossReport, dataset: Dataset, lettering: Lettering) -> dict[str, bytes]:
    names = dict(zip(dataset.class_names, lettering.names, strict=True))
    hard = [
        (
            photo.path,
            (
                f"given: {names[photo.label]} ({photo.probability:.3f})",
                f"guess: {names[photo.guess]} ({photo.guess_probability:.3f})",
            ),
        )
        for photo in losses.hard_photos[: sheet.MOST_TILES]
    ]
    suspects = [
        (photo.path, (f"{photo.rank}. given: {names[photo.label]}", f"suggested: {names[photo.suggested]}"))
        for photo in losses.suspects.listed[: sheet.MOST_TILES]
    ]
    sheets = {"hard_photos.jpg": hard, "suspects.jpg": suspects}
    return {
        "reliability.png": reliability_plot(losses.before, losses.after),
        **{name: _sheet(rows, dataset.root, lettering.font) for name, rows in sheets.items() if rows},
    }


def _sheet(rows: Sequence[tuple[str, tuple[str, ...]]], root: Path, font: Path) -> bytes:
    return sheet.contact_sheet([sheet.Tile(_thumbnail(root / path), lines) for path, lines in rows], font)


def _thumbnail(path: Path) -> Any:
    """The pixels of a photo, uint8 (H, W, 3); None where it is no longer there, which its tile says."""
    try:
        return read_image(path, short_side=2 * sheet.PHOTO[1])
    except DataError:
        return None


def _shown(directory: Path, root: Path) -> str:
    """The folder as the settings of the workspace name it."""
    absolute, workspace = directory.resolve(), root.resolve()
    return (absolute.relative_to(workspace) if absolute.is_relative_to(workspace) else absolute).as_posix()


def _write(directory: Path, files: dict[str, bytes]) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"The folder `{directory}` cannot be made: {error.strerror}.", hint="name another one with --output."
        ) from error
    for name, content in files.items():
        write_atomically(directory / name, content)


def _remove_old(directory: Path, files: dict[str, bytes]) -> None:
    """Remove what an earlier report of the study left and this one has not, so that nobody takes it for new."""
    for name in _FILES:
        if name not in files:
            (directory / name).unlink(missing_ok=True)
