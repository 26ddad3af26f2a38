"""Where a contest's files lie in a folder: what `init` puts into the settings. Only names and first lines are read."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from automl_car.data.listing import photos_below
from automl_car.data.tables import LABEL_COLUMNS, PATH_COLUMNS

_LEAST_CLASSES = 2


@dataclass(frozen=True)
class Layout:
    """What was found; an empty text for what was not.

    Attributes:
        directory: of the contest's files, relative to the workspace.
        train: folder with a folder per class, or a CSV of paths and labels; relative to `directory`, as all below.
        test: CSV of ids and paths, or a folder of photos.
        sample_submission: CSV of ids and a column per class.
        classes: class folders, or columns of the sample submission.
    """

    directory: str
    train: str
    test: str
    sample_submission: str
    classes: int


def detect_layout(workspace: Path) -> Layout | None:
    """Look in `data/`, in the workspace itself and in its other folders; None where no training photos are found."""
    for folder in _candidates(workspace):
        layout = _layout(folder, folder.relative_to(workspace).as_posix())
        if layout is not None:
            return layout
    return None


def _candidates(workspace: Path) -> Iterator[Path]:
    """The usual folder, those in it, the workspace, and its other folders: archives often hold one folder more."""
    data = workspace / "data"
    yield from (folder for folder in (data, *_folders(data), workspace, *_folders(workspace)) if folder.is_dir())


def _folders(parent: Path) -> list[Path]:
    if not parent.is_dir():
        return []
    hidden = ("plugins", "studies", "checkpoints", "logs", "bundles", "sample")
    return sorted(path for path in parent.iterdir() if _is_folder(path) and path.name.lower() not in hidden)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".")


def _layout(root: Path, directory: str) -> Layout | None:
    headers = {path.name: _header(path) for path in sorted(root.glob("*.csv"))}
    train, classes = _train(root, headers)
    if not train:
        return None
    sample = next(_named(headers, ("sample", "submission")), "")
    test = _test(root, headers, (train, sample))
    columns = len(headers[sample]) - 1 if sample else 0
    return Layout(directory, train, test, sample, classes or max(columns, 0))


def _train(root: Path, headers: dict[str, list[str]]) -> tuple[str, int]:
    """The training photos, and how many class folders there are; 0 for a CSV."""
    for folder in _folders(root):
        classes = [inner for inner in _folders(folder) if _holds_photos(inner)]
        if len(classes) >= _LEAST_CLASSES and folder.name.lower() != "test":
            return folder.name, len(classes)
    labelled = [name for name in headers if _has(headers[name], PATH_COLUMNS) and _has(headers[name], LABEL_COLUMNS)]
    return min(labelled, key=lambda name: ("train" not in name.lower(), name), default=""), 0


def _holds_photos(folder: Path) -> bool:
    """Whether there are photos in the folder itself: one with photos further below is no class, but holds some."""
    first = next(photos_below(folder), None)
    return first is not None and first.parent == folder


def _test(root: Path, headers: dict[str, list[str]], taken: tuple[str, ...]) -> str:
    for name in _named(headers, ("test",)):
        if name not in taken and _has(headers[name], PATH_COLUMNS):
            return name
    return next((folder.name for folder in _folders(root) if folder.name.lower().startswith("test")), "")


def _named(headers: dict[str, list[str]], words: tuple[str, ...]) -> Iterator[str]:
    yield from (name for name in headers if any(word in name.lower() for word in words))


def _has(columns: list[str], names: tuple[str, ...]) -> bool:
    return any(column.strip().lower() in names for column in columns)


def _header(path: Path) -> list[str]:
    """The columns of a CSV; none where it cannot be read, which the search will say."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return next(csv.reader(file), [])
    except (OSError, ValueError, csv.Error):
        return []
