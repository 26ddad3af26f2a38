"""A folder of photos and a contest's CSV files in, one checked `Dataset` out. Only names are read, no photo is opened.

<root>/train/<class name>/<photo>      or a CSV of paths and labels, or the class folders in <root> itself
<root>/test.csv                        ID and path; or just the folder <root>/test/; or no test set
<root>/sample_submission.csv           ID and a column per class: its order is the order of the classes
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from automl_car.data.classes import match_classes
from automl_car.data.links import refuse_foreign
from automl_car.data.listing import leave_out, list_photos
from automl_car.data.sealed import check_seal
from automl_car.data.tables import shorten
from automl_car.data.testset import DEFAULT_SAMPLE, DEFAULT_TEST, in_order_of_sample, make_form, read_sample, read_test
from automl_car.errors import DataError
from automl_car.files import write_atomically
from automl_car.records import Dataset, SubmissionFormat

_FEWEST_PHOTOS = 2  # of a class: one to train on, one to be judged on


def read_dataset(
    root: Path,
    *,
    train: str = "train",
    test: str = DEFAULT_TEST,
    sample_submission: str = DEFAULT_SAMPLE,
    class_aliases: Mapping[str, str] | None = None,
    exclude: Collection[str] | Mapping[str, str] = (),
    follow_links: bool = False,
) -> Dataset:
    """Read which photos there are and what they show.

    Args:
        root: the data folder; all names below are relative to it.
        train: folder of class folders, or a CSV.
        test: CSV of ids and paths.
        sample_submission: the contest's form.
        class_aliases: {alias: canonical} for classes that the contest counts as one.
        exclude: training photos to leave out; as a mapping, each with the file that lists it, or "".
        follow_links: also those by which photos lie outside of the data folder; see `links`.

    Returns:
        The data set. Training rows are sorted by path, or in the order of the CSV; test rows are in the order of the
        sample submission.

    Raises:
        DataError: something is missing, or files contradict each other.
    """
    root = root.absolute()
    if not root.is_dir():
        raise DataError(f"There is no data folder {root}.", hint="Name it with --data, or try --sample first.")
    photos = leave_out(list_photos(root, train), exclude)
    sample = read_sample(root, sample_submission)
    labels = {photo.label for photo in photos}
    classes = match_classes(labels, None if sample is None else sample.columns[1:], class_aliases or {})
    rows = in_order_of_sample(read_test(root, test), sample)
    dataset = Dataset(
        root=root,
        class_names=classes.names,
        train_paths=tuple(photo.path for photo in photos),
        labels=tuple(classes.index[photo.label] for photo in photos),
        test_ids=rows.ids,
        test_paths=rows.paths,
        submission=make_form(rows, sample, classes),
    )
    check_classes(dataset)
    if not follow_links:
        refuse_foreign(root, (*dataset.train_paths, *dataset.test_paths))
    return dataset


def check_classes(dataset: Dataset) -> None:
    """Raise DataError if there are fewer than two classes, or fewer than two photos of a class."""
    if dataset.num_classes < 2:
        raise DataError(
            f"There is only one class in {dataset.root}: {shorten(dataset.class_names)}.",
            hint="A classifier needs at least two; is this the right folder?",
        )
    counts = np.bincount(dataset.labels, minlength=dataset.num_classes)
    few = [f"{dataset.class_names[label]}: {counts[label]}" for label in np.flatnonzero(counts < _FEWEST_PHOTOS)]
    if few:
        raise DataError(
            f"{len(few)} classes have fewer than {_FEWEST_PHOTOS} training photos: {shorten(few)}.",
            hint="A class needs a photo to train on and another to be judged on: add photos, or remove the class.",
        )


def without(dataset: Dataset, rows: Collection[int]) -> Dataset:
    """The data set without some training rows; the classes stay."""
    if not rows:
        return dataset
    dropped = set(rows)
    kept = [row for row in range(len(dataset.train_paths)) if row not in dropped]
    return dataclasses.replace(
        dataset,
        train_paths=tuple(dataset.train_paths[row] for row in kept),
        labels=tuple(dataset.labels[row] for row in kept),
    )


def save_dataset(dataset: Dataset, path: Path) -> None:
    """Write a data set as JSON; `load_dataset` reads exactly the same one."""
    form = dataset.submission
    # `dataclasses.asdict` would copy every path by itself: seconds and a second list, of a million photos.
    values = {**vars(dataset), "root": str(dataset.root), "submission": None if form is None else vars(form)}
    write_atomically(path, json.dumps(values, ensure_ascii=False))


def load_dataset(path: Path) -> Dataset:
    """Read the data set that `save_dataset` wrote.

    Raises:
        DataError: the file is missing or damaged.
    """
    try:
        check_seal(path, required=False)
        values = json.loads(path.read_text(encoding="utf-8"))
        form = values["submission"]
        return Dataset(
            root=Path(values["root"]),
            class_names=tuple(values["class_names"]),
            train_paths=tuple(values["train_paths"]),
            labels=tuple(values["labels"]),
            test_ids=tuple(values["test_ids"]),
            test_paths=tuple(values["test_paths"]),
            submission=None if form is None else _load_form(form),
        )
    except FileNotFoundError as error:
        raise DataError(f"The data set {path} is missing.", hint="Run `automl-car search`: it writes it.") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"The data set {path} is damaged: {error}.", hint="Run `automl-car search` again: it writes it anew."
        ) from error


def _load_form(values: Mapping[str, object]) -> SubmissionFormat:
    lists = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    return SubmissionFormat(**lists)  # type: ignore[arg-type]
