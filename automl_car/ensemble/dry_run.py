"""What the contest's scorer makes of the out-of-fold predictions, filed as the submission is: a rehearsal with answers.

It has to give the nested log loss. A difference would mean that the form of the file costs something: a column that the
answers do not know, or names that count as one class but are not filed as one.
"""

from __future__ import annotations

from pathlib import Path

from automl_car.ensemble.predictions import Predictions
from automl_car.ensemble.scorer import score_predictions
from automl_car.ensemble.submission import names_of_classes
from automl_car.ensemble.submission_check import submission_format
from automl_car.records import Dataset, FloatArray, IntArray

_CHUNK = 1024  # rows that are filed at a time: all of them at once would be the largest array of all


def dry_run(probabilities: FloatArray, dataset: Dataset, rows: IntArray) -> float:
    """The scorer's log loss of training photos.

    Args:
        probabilities: (n, classes), out of fold.
        dataset: with a sample submission. Of names that count as one class the answers take the first.
        rows: int64 (n,): which training rows they are of.

    Raises:
        DataError: there is no sample submission.
    """
    form = submission_format(dataset)
    names = names_of_classes(form)
    classes = sorted({names[dataset.labels[row]] for row in rows})
    total = 0.0
    for start in range(0, len(rows), _CHUNK):
        part = rows[start : start + _CHUNK].tolist()
        ids = tuple(f"{row:012}" for row in part)
        filed = Predictions(form.columns, ids, probabilities[start : start + _CHUNK][:, form.column_classes])
        answers = {name: names[dataset.labels[row]] for name, row in zip(ids, part, strict=True)}
        scored = score_predictions(filed, answers, Path("the out-of-fold predictions"), classes=classes)
        total += scored.log_loss * len(part)
    return total / len(rows)
