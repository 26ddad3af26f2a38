"""Probabilities (T, classes) in; a file in exactly the sample submission's form out.

The new file is checked in memory before it replaces an older one.

Classes that the contest counts as one (`class_aliases`) share a class here but have a column each in the file. Both
columns get the class's whole probability. The contest's scorer drops columns that no answer uses and divides by what
is left: if the answers use one of the names, the other column vanishes and the sum is exactly right; if they use
both, both are in the sum and this costs next to nothing. Filing 0 under the name that the answers use costs 34.5 for
each of its photos.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from automl_car.data.tables import csv_line
from automl_car.data.testset import plain_form
from automl_car.ensemble.predictions import shorten
from automl_car.ensemble.submission_check import find_problems, submission_format
from automl_car.errors import DataError
from automl_car.files import write_atomically
from automl_car.records import Dataset, FloatArray, IntArray, SubmissionFormat


def write_submission(path: Path, probabilities: FloatArray, dataset: Dataset) -> None:
    """Writes the contest's file; an older one stays until the new one is complete and checked.

    Args:
        path: of the CSV file.
        probabilities: (T, classes) in the order of `dataset.test_ids`; every value above 0, each row with sum 1.
        dataset: with the sample submission's form.

    Raises:
        DataError: there is no sample submission, or its ids are not those of the test set.
        ValueError: the probabilities do not make a valid file; nothing was written.
    """
    form = submission_format(dataset)
    expected = (len(dataset.test_ids), dataset.num_classes)
    if probabilities.shape != expected:
        raise ValueError(f"The probabilities for {path} have shape {probabilities.shape}, not {expected}.")
    write_in_form(path, probabilities[_order_of_sample(dataset, form)], form)


def write_in_form(path: Path, probabilities: FloatArray, form: SubmissionFormat) -> None:
    """Writes probabilities whose rows are in the form's order already; an older file stays until this one is checked.

    Args:
        path: of the CSV file.
        probabilities: (T, classes) in the order of `form.ids`; every value above 0, each row with sum 1.
        form: header, ids, and the class of each column.

    Raises:
        ValueError: the probabilities do not make a valid file; nothing was written.
    """
    data = _render(probabilities, form)
    problems = find_problems(data, str(path), form)
    if problems:
        raise ValueError(f"{path} was not written, because it would be invalid: " + "; ".join(problems) + ".")
    write_atomically(path, data)


def write_out_of_fold(path: Path, probabilities: FloatArray, dataset: Dataset, rows: IntArray) -> None:
    """Writes out-of-fold predictions in the form of a submission, and `labels.csv` with their labels beside them.

    The ids are the photos' paths. Without a sample submission the columns are the class names.

    Args:
        path: of the CSV file; its folder is made.
        probabilities: (n, classes), each row with sum 1.
        dataset: whose training photos they are of.
        rows: int64 (n,): which of them.
    """
    names = tuple(dataset.train_paths[row] for row in rows)
    form = dataset.submission or plain_form(dataset.class_names)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, _render(probabilities, replace(form, ids=names)))
    first_column = names_of_classes(form)
    answers = (first_column[dataset.labels[row]] for row in rows)
    lines = [csv_line(line) for line in [("ID", "label"), *zip(names, answers, strict=True)]]
    write_atomically(path.with_name("labels.csv"), "\n".join([*lines, ""]))


def names_of_classes(form: SubmissionFormat) -> dict[int, str]:
    """The column of each class; of several that count as one class, the first."""
    return dict(reversed([*zip(form.column_classes, form.columns, strict=True)]))


def _order_of_sample(dataset: Dataset, form: SubmissionFormat) -> IntArray:
    """For each row of the sample the row of the test set."""
    position = {name: row for row, name in enumerate(dataset.test_ids)}
    missing = sorted(set(form.ids) - set(position))
    unknown = sorted(set(position) - set(form.ids))
    if missing or unknown:
        raise DataError(
            f"The sample submission has {len(missing)} ids without a test photo ({shorten(missing) or 'none'}), "
            f"and {len(unknown)} test photos are not in it ({shorten(unknown) or 'none'})."
        )
    return np.array([position[name] for name in form.ids], dtype=np.int64)


def _render(probabilities: FloatArray, form: SubmissionFormat) -> bytes:
    """The whole file; nine significant digits, so that a row's rounding errors stay below 1e-8."""
    row_format = ",%.9g" * len(form.columns)
    lines = [form.header]
    for name, row in zip(form.ids, probabilities[:, form.column_classes], strict=True):
        lines.append(csv_line([name]) + row_format % tuple(row.tolist()))  # a row at a time: lists are large
    text = form.newline.join([*lines, ""])
    return text.encode("utf-8-sig" if form.bom else "utf-8")
