"""The files of a folder in; probabilities of the same rows and classes, and labels if there are any, out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from automl_car.ensemble.alignment import align
from automl_car.ensemble.blend_files import LABELS, BlendFiles
from automl_car.ensemble.normalise import find_classes, require_probabilities, tell_shared_columns, to_rows
from automl_car.ensemble.predictions import Predictions, read_form, read_predictions, shorten
from automl_car.ensemble.scorer import read_answers
from automl_car.errors import DataError
from automl_car.records import FloatArray, IntArray, SubmissionFormat

_Note = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class BlendInputs:
    """What is to be combined.

    Attributes:
        form: of the first file.
        predictions: float64 (T, classes) of each file, by name; rows sum to 1, in the order of `form.ids`.
        out_of_fold: float64 (N, classes) of each file, in the same order; empty where nothing can be fitted.
        labels: class indices (N,).
    """

    form: SubmissionFormat
    predictions: dict[str, FloatArray]
    out_of_fold: dict[str, FloatArray]
    labels: IntArray


def read_inputs(files: BlendFiles, *, fit: bool, note: _Note) -> BlendInputs:
    """Read, check and align all files.

    Args:
        files: from `find_files`.
        fit: whether out-of-fold predictions are wanted, if all files have them.
        note: told why nothing can be fitted, and what was put right.

    Raises:
        DataError: a file is no table of probabilities, or the files do not fit together.
    """
    names = tuple(files.predictions)
    companions = _companions(files, fit, note)
    read = align(_read(files.predictions.values()), note)
    path, first = next(iter(read.items()))
    oof = align(_read(companions), note, columns=(path, first.columns)) if companions else {}
    classes = find_classes([file.values for file in (*read.values(), *oof.values())])
    tell_shared_columns(first.columns, classes, note)
    labels = np.empty(0, dtype=np.int64)
    if files.labels is not None and oof:
        labels = _labels(files.labels, *next(iter(oof.items())), classes)
    return BlendInputs(
        form=read_form(Path(path), first, tuple(classes.tolist())),
        predictions=dict(zip(names, to_rows(read, classes, note).values(), strict=True)),
        out_of_fold=dict(zip(names, to_rows(oof, classes, note).values(), strict=True)) if oof else {},
        labels=labels,
    )


def _companions(files: BlendFiles, fit: bool, note: _Note) -> tuple[Path, ...]:
    """The out-of-fold files, in the order of the predictions, if they are of use; else why not is told."""
    missing = [name for name in files.predictions if name not in files.companions]
    if not fit:
        if files.companions:
            note("out-of-fold files are not used: --weights says how much each file counts")
        return ()
    if not files.companions:
        if files.labels:
            note(f"{files.labels} is not used: there are no out-of-fold files (NAME.oof.csv or oof/NAME.csv)")
        return ()
    if missing:
        note(f"nothing is fitted, because some files have no out-of-fold predictions: {shorten(missing)}")
        return ()
    if files.labels is None:
        note(f"nothing is fitted, because the labels of the out-of-fold rows are missing: {files.directory / LABELS}")
        return ()
    return tuple(files.companions.values())


def _read(paths: Iterable[Path]) -> dict[str, Predictions]:
    """What the files say, by path."""
    read = {}
    for path in paths:
        try:
            read[str(path)] = read_predictions(path)
            require_probabilities(str(path), read[str(path)])
        except DataError as error:
            hint = "Every CSV file in the folder is taken for predictions; move other files elsewhere."
            raise DataError(error.message, hint=error.hint or hint) from error
    return read


def _labels(path: Path, name: str, file: Predictions, classes: IntArray) -> IntArray:
    """The class of each row of an out-of-fold file; labels of other photos are left alone."""
    answers = read_answers(path)
    missing = [row for row in file.ids if row not in answers]
    if missing:
        raise DataError(f"{path} has no label for {len(missing)} ids of {name}: {shorten(missing)}.")
    position = dict(zip(file.columns, classes.tolist(), strict=True))
    unknown = sorted({answers[row] for row in file.ids} - set(position))
    if unknown:
        raise DataError(f"{len(unknown)} labels in {path} are no class column of {name}: {shorten(unknown)}.")
    return np.array([position[answers[row]] for row in file.ids], dtype=np.int64)
