"""The contest's scorer: a submission and the answers in; the mean log loss out.

It behaves as the metric that participants of the reference contest pass around: rows are matched by sorted id; the
classes are the sorted distinct answers, so that columns nobody is an example of count for nothing; what is left of
each row is divided by its sum, and only then clipped to [1e-15, 1 - 1e-15].
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from automl_car.ensemble.predictions import Predictions, read_predictions, read_table, shorten
from automl_car.errors import DataError
from automl_car.losses import true_class
from automl_car.records import FloatArray

CLIP = 1e-15

_ID_NAMES = ("id",)
_LABEL_NAMES = ("label", "class", "target")


@dataclass(frozen=True)
class Score:
    """What a submission is worth.

    Attributes:
        log_loss: mean natural-log loss; lower is better.
        rows: number of answers.
        classes: number of distinct answers.
        accuracy: share of rows whose largest column is the answer.
    """

    log_loss: float
    rows: int
    classes: int
    accuracy: float


def score_submission(submission: Path, labels: Path) -> Score:
    """Scores a submission as the contest would.

    Args:
        submission: CSV with an id column first, then a column per class.
        labels: CSV with the columns `ID` and `label` (or `class`, or `target`; in any case).

    Raises:
        DataError: what the contest would refuse: other ids, a missing class, NaN, a value outside [0, 1], or a row
            that has nothing on any class.
    """
    return score_read(read_predictions(submission), read_answers(labels), submission, labels)


def score_read(predictions: Predictions, answers: Mapping[str, str], submission: Path, labels: Path) -> Score:
    """The same for what was read from both files, whose paths are for messages alone."""
    _require_same_ids(predictions, answers, submission, labels)
    return score_predictions(predictions, answers, submission)


def score_predictions(
    predictions: Predictions, answers: Mapping[str, str], name: Path, *, classes: Sequence[str] | None = None
) -> Score:
    """Scores predictions whose ids are those of the answers.

    Args:
        name: what errors call them.
        classes: that the answers of the whole contest name, sorted, where these are a part of them.

    Raises:
        DataError: as `score_submission`, but for other ids.
    """
    classes = sorted(set(answers.values())) if classes is None else list(classes)
    ids = sorted(answers)
    chosen = _choose_columns(predictions, classes, name)[np.argsort(np.array(predictions.ids, dtype=object))]
    probabilities = _normalise(chosen, ids, name)
    position = {name: index for index, name in enumerate(classes)}
    truth = np.array([position[answers[row]] for row in ids], dtype=np.int64)
    losses = -np.log(np.clip(true_class(probabilities, truth), CLIP, 1 - CLIP))
    return Score(
        log_loss=float(losses.mean()),
        rows=len(ids),
        classes=len(classes),
        accuracy=float((probabilities.argmax(axis=1) == truth).mean()),
    )


def read_answers(path: Path) -> dict[str, str]:
    """The class name, after NFC, of each id.

    Raises:
        DataError: the file has no id or label column, an id twice, or an empty label.
    """
    rows = read_table(path)
    id_column = _find_column(rows[0], _ID_NAMES, path)
    label_column = _find_column(rows[0], _LABEL_NAMES, path)
    answers: dict[str, str] = {}
    for row in rows[1:]:
        if row[id_column] in answers:
            raise DataError(f"Id {row[id_column]!r} stands twice in {path}.")
        if not row[label_column]:
            raise DataError(f"Id {row[id_column]!r} has no label in {path}.")
        answers[row[id_column]] = unicodedata.normalize("NFC", row[label_column])
    return answers


def _find_column(header: list[str], names: tuple[str, ...], path: Path) -> int:
    for name in names:
        for index, column in enumerate(header):
            if column.strip().lower() == name:
                return index
    raise DataError(
        f"{path} has no column `{'` or `'.join(names)}`; its columns are {shorten(header)}.",
        hint="The answers are a CSV file with the columns ID,label.",
    )


def _require_same_ids(predictions: Predictions, answers: Mapping[str, str], submission: Path, labels: Path) -> None:
    missing = sorted(set(answers) - set(predictions.ids))
    unknown = sorted(set(predictions.ids) - set(answers))
    if not missing and not unknown:
        return
    differences = []
    if missing:
        differences.append(f"{len(missing)} ids of the answers are missing in the submission ({shorten(missing)})")
    if unknown:
        differences.append(f"{len(unknown)} ids of the submission are not in the answers ({shorten(unknown)})")
    raise DataError(
        f"{submission} has {len(predictions.ids)} rows and {labels} has {len(answers)}; " + "; ".join(differences) + "."
    )


def _choose_columns(predictions: Predictions, classes: list[str], path: Path) -> FloatArray:
    """The columns of the answers' classes, (rows, classes), with only values that the contest takes."""
    position = {name: index for index, name in enumerate(predictions.columns)}
    missing = [name for name in classes if name not in position]
    if missing:
        near = difflib.get_close_matches(missing[0], predictions.columns, n=3)
        hint = f"Columns with a name near {missing[0]!r}: {', '.join(near)}." if near else None
        raise DataError(
            f"{path} has no column for {len(missing)} classes of the answers: {shorten(missing)}.", hint=hint
        )
    chosen = predictions.values[:, [position[name] for name in classes]]
    outside = np.argwhere(~((chosen >= 0) & (chosen <= 1)))  # NaN fails both comparisons
    if len(outside):
        row, column = outside[0]
        raise DataError(
            f"{len(outside)} values in {path} are not between 0 and 1; the first is {chosen[row, column]:g}, "
            f"of id {predictions.ids[row]!r} in column {classes[column]!r}."
        )
    return chosen


def _normalise(chosen: FloatArray, ids: list[str], path: Path) -> FloatArray:
    totals = chosen.sum(axis=1, keepdims=True)
    empty = [ids[row] for row in np.flatnonzero(totals == 0)]
    if empty:
        raise DataError(f"{path} has rows with 0 in every column of the answers' classes: {shorten(empty)}.")
    normalised: FloatArray = chosen / totals
    return normalised
