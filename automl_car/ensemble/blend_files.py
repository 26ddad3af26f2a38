"""A folder in; which of its CSV files are predictions, which are out-of-fold predictions, and where the labels are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from automl_car.ensemble.predictions import shorten
from automl_car.errors import ConfigError, DataError

LABELS = "labels.csv"
OUT_OF_FOLD = ".oof.csv"
OUT_OF_FOLD_FOLDER = "oof"


@dataclass(frozen=True)
class BlendFiles:
    """What a folder holds.

    Attributes:
        directory: the folder.
        predictions: path by name (that of the file without `.csv`), sorted by name.
        companions: of those that have one, the path of their out-of-fold predictions.
        labels: of the training photos; None where there are none.
    """

    directory: Path
    predictions: dict[str, Path]
    companions: dict[str, Path]
    labels: Path | None


def find_files(directory: Path, labels: Path | None, note: Callable[[str], None]) -> BlendFiles:
    """Sort out a folder; no file is opened.

    Predictions are all `*.csv` but `labels.csv` and `*.oof.csv`; out-of-fold predictions of `NAME.csv` are
    `NAME.oof.csv` or `oof/NAME.csv`.

    Args:
        directory: the folder.
        labels: where they are, if not in the folder's `labels.csv`.
        note: told of out-of-fold files that belong to no predictions.

    Raises:
        DataError: there is no such folder, it holds no predictions, or some have two out-of-fold files.
    """
    if not directory.is_dir():
        raise DataError(f"`{directory}` is no folder.", hint="Name the folder that holds the prediction files.")
    files = _csv_files(directory)
    here = {_stem(path, OUT_OF_FOLD): path for path in files if path.name.lower().endswith(OUT_OF_FOLD)}
    below = {_stem(path): path for path in _csv_files(directory / OUT_OF_FOLD_FOLDER)}
    predictions = {
        _stem(path): path
        for path in files
        if path not in here.values()
        and path.name != LABELS
        and not (labels and labels.exists() and path.samefile(labels))
    }
    if not predictions:
        raise DataError(f"`{directory}` holds no prediction file: no `*.csv` besides labels and out-of-fold files.")
    twice = sorted(set(here) & set(below) & set(predictions))
    if twice:
        raise DataError(f"There are two out-of-fold files of {shorten(twice)}: NAME.oof.csv and oof/NAME.csv.")
    alone = sorted(str(path) for name, path in {**below, **here}.items() if name not in predictions)
    if alone:
        note(f"out-of-fold files that belong to no prediction file are left alone: {shorten(alone)}")
    default = directory / LABELS
    return BlendFiles(
        directory,
        predictions,
        {name: {**below, **here}[name] for name in predictions if name in here or name in below},
        labels or (default if default.is_file() else None),
    )


def refuse_inside(output: Path, directory: Path) -> None:
    """An output among the predictions would be one of them the next time.

    Raises:
        ConfigError: it lies in the folder itself, or in that of out-of-fold files; or it is a folder.
    """
    if output.is_dir():
        raise ConfigError(f"The output `{output}` is a folder.", hint="Name a file: --output FILE.")
    if output.resolve().parent in (directory.resolve(), (directory / OUT_OF_FOLD_FOLDER).resolve()):
        raise ConfigError(
            f"The output `{output}` would lie among the predictions in `{directory}`, and be one of them next time.",
            hint="Write it elsewhere: --output FILE, or run the command from another folder.",
        )


def _csv_files(directory: Path) -> list[Path]:
    """Sorted by name; hidden ones, such as macOS leaves beside every file on foreign disks, are none."""
    if not directory.is_dir():
        return []
    return sorted(
        path
        for path in directory.iterdir()
        if path.suffix.lower() == ".csv" and not path.name.startswith(".") and path.is_file()
    )


def _stem(path: Path, ending: str = ".csv") -> str:
    return path.name[: -len(ending)]
