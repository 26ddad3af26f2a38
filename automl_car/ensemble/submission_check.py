"""A submission file in; everything that the contest would refuse or punish, in words, out."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from automl_car.data.ordinary import read_ordinary
from automl_car.ensemble.predictions import Predictions, parse_predictions, shorten
from automl_car.errors import DataError
from automl_car.records import Dataset, FloatArray, SubmissionFormat

SUM_TOLERANCE = 1e-6


def check_submission(path: Path, dataset: Dataset) -> tuple[str, ...]:
    """The problems of a submission file; empty when it is valid.

    Raises:
        DataError: the dataset has no sample submission to compare with, or the file cannot be read.
    """
    form = submission_format(dataset)
    return find_problems(read_ordinary(path), str(path), form)


def submission_format(dataset: Dataset) -> SubmissionFormat:
    """The dataset's `submission`, which a dataset without a test set lacks."""
    if dataset.submission is None:
        raise DataError(
            f"{dataset.root} has no sample submission, so the form of a submission is unknown.",
            hint="Put the contest's sample_submission.csv beside test.csv.",
        )
    return dataset.submission


def find_problems(data: bytes, name: str, form: SubmissionFormat) -> tuple[str, ...]:
    """The problems in the bytes of a submission; `name` is what messages call it."""
    problems = list(_header_problems(data, form))
    try:
        predictions = parse_predictions(data, name)
    except DataError as error:
        return (*problems, error.message.removesuffix("."))
    problems += _id_problems(predictions, form)
    if len(predictions.columns) == len(form.columns):
        problems += _value_problems(predictions, form)
    return tuple(problems)


def _header_problems(data: bytes, form: SubmissionFormat) -> Iterator[str]:
    has_bom = data.startswith(codecs.BOM_UTF8)
    if has_bom and not form.bom:
        yield "it begins with a byte order mark, the sample submission without one"
    if form.bom and not has_bom:
        yield "it begins without a byte order mark, the sample submission with one"
    rest = data.removeprefix(codecs.BOM_UTF8)
    header = form.header.encode()  # more than one line if a quoted name holds a line end
    if not rest.startswith((header + b"\n", header + b"\r\n")):
        yield "its header is not, byte for byte, the sample submission's"
        header, _, _ = rest.partition(b"\n")
        header = header.removesuffix(b"\r")
    newline = "\r\n" if rest[len(header) :].startswith(b"\r") else "\n"
    if newline != form.newline:
        yield f"its lines end in {newline!r}, the sample submission's in {form.newline!r}"


def _id_problems(predictions: Predictions, form: SubmissionFormat) -> Iterator[str]:
    missing = sorted(set(form.ids) - set(predictions.ids))
    unknown = sorted(set(predictions.ids) - set(form.ids))
    if missing:
        yield f"{len(missing)} ids are missing: {shorten(missing)}"
    if unknown:
        yield f"{len(unknown)} ids are not in the sample submission: {shorten(unknown)}"
    if not missing and not unknown and predictions.ids != form.ids:
        yield "its ids are not in the order of the sample submission"


def _value_problems(predictions: Predictions, form: SubmissionFormat) -> Iterator[str]:
    values = predictions.values
    if not np.isfinite(values).all():
        yield _describe(~np.isfinite(values), "values are empty, NaN or infinite", predictions)
        return
    outside, zero = (values < 0) | (values > 1), values == 0
    if outside.any():
        yield _describe(outside, "values are outside 0 … 1", predictions)
    if zero.any():
        yield _describe(zero, "values are 0, which costs 34.5 for a photo whose class it is", predictions)
    yield from _alias_problems(predictions, form)
    sums = _class_sums(values, form)
    wrong = np.abs(sums - 1) > SUM_TOLERANCE
    if wrong.any():
        first = int(np.argmax(wrong))
        yield f"{wrong.sum()} rows do not sum to 1; the first is {predictions.ids[first]!r} with {sums[first]:.9g}"


def _alias_problems(predictions: Predictions, form: SubmissionFormat) -> Iterator[str]:
    """Columns that count as one class must hold the same: what only the one has is lost if answers use the other."""
    first: dict[int, int] = {}
    for column, label in enumerate(form.column_classes):
        other = first.setdefault(label, column)
        differs = predictions.values[:, column] != predictions.values[:, other]
        if differs.any():
            names = f"{predictions.columns[other]!r} and {predictions.columns[column]!r}"
            row = predictions.ids[int(np.argmax(differs))]
            yield f"the columns {names} count as one class, but differ in {differs.sum()} rows; the first is {row!r}"


def _class_sums(values: FloatArray, form: SubmissionFormat) -> FloatArray:
    """The sum of each row, in which the columns of one class, all filed with its sum, count once."""
    classes = np.array(form.column_classes)
    shares: FloatArray = 1 / np.bincount(classes)[classes]
    return values @ shares


def _describe(wrong: NDArray[np.bool_], what: str, predictions: Predictions) -> str:
    row, column = np.argwhere(wrong)[0]
    where = f"{predictions.ids[row]!r}, column {predictions.columns[column]!r}"
    return f"{wrong.sum()} {what}; the first is of id {where}"
