"""Prediction files in; what they say, how far they differ and, where labels are known, how good they are, out."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from automl_car.ensemble.alignment import align
from automl_car.ensemble.confidence import Comparison, Confidence, compare, measure_confidence
from automl_car.ensemble.normalise import class_names, find_classes, require_probabilities, tell_shared_columns, to_rows
from automl_car.ensemble.predictions import Predictions, read_predictions
from automl_car.ensemble.reliability import Reliability, measure_reliability
from automl_car.ensemble.scorer import Score, read_answers, score_read
from automl_car.errors import DataError
from automl_car.records import IntArray


@dataclass(frozen=True, eq=False)
class Judged:
    """How good a file is.

    Attributes:
        score: as `automl-car score` has it.
        reliability: of the top class of each row.
    """

    score: Score
    reliability: Reliability


@dataclass(frozen=True, eq=False)
class Analysis:
    """What is known of some prediction files of the same rows and classes.

    Attributes:
        ids: of the rows.
        files: one each.
        comparison: of two files or more.
        judged: one for each file, where labels are known; else empty.
    """

    ids: tuple[str, ...]
    files: tuple[Confidence, ...]
    comparison: Comparison | None
    judged: tuple[Judged, ...]


def analyze(paths: Sequence[Path], labels: Path | None, note: Callable[[str], None]) -> Analysis:
    """Read and measure prediction files.

    Args:
        paths: CSV files with an id and a probability column per class.
        labels: of their rows, ID,label.
        note: told what was put right: another order, rows that do not sum to 1.

    Raises:
        DataError: a file is no table of probabilities, files differ in ids or classes, or labels do not fit.
    """
    read = align(_read(paths), note)
    columns = next(iter(read.values())).columns
    classes = find_classes([file.values for file in read.values()])
    tell_shared_columns(columns, classes, note)
    names = class_names(columns, classes)
    rows = list(to_rows(read, classes, note).values())
    files = tuple(
        measure_confidence(name, names, values) for name, values in zip(_short_names(paths), rows, strict=True)
    )
    return Analysis(
        ids=next(iter(read.values())).ids,
        files=files,
        comparison=compare(rows) if len(rows) > 1 else None,
        judged=_judge(read, files, classes, labels) if labels else (),
    )


def _read(paths: Sequence[Path]) -> dict[str, Predictions]:
    read = {}
    for path in paths:
        if str(path) in read:
            raise DataError(f"{path} is named twice.")
        read[str(path)] = read_predictions(path)
        require_probabilities(str(path), read[str(path)])
    return read


def _short_names(paths: Sequence[Path]) -> tuple[str, ...]:
    """The files' names without `.csv`; with as much of their folders as tells them apart.

    Example:
        >>> _short_names([Path("runs/1/sub.csv"), Path("runs/2/sub.csv")])
        ('1/sub', '2/sub')
    """
    parts = [path.with_suffix("").parts for path in paths]
    for depth in range(1, max(map(len, parts)) + 1):
        names = tuple("/".join(part[-depth:]) for part in parts)
        if len(set(names)) == len(names):
            return names
    return tuple(os.fspath(path) for path in paths)


def _judge(
    read: dict[str, Predictions], files: tuple[Confidence, ...], classes: IntArray, labels: Path
) -> tuple[Judged, ...]:
    answers = read_answers(labels)
    judged = []
    for (path, predictions), file in zip(read.items(), files, strict=True):
        score = score_read(predictions, answers, Path(path), labels)  # refuses what does not fit
        position = dict(zip(predictions.columns, classes.tolist(), strict=True))
        truth = np.array([position[answers[row]] for row in predictions.ids])
        judged.append(Judged(score, measure_reliability(file.confidence, file.top == truth)))
    return tuple(judged)
