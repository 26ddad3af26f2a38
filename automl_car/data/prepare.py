"""A data set in; everything that training needs out: decoded photos, folds, and an audit of what was found.

<cache>/images/<key>/    the image cache, shared by all studies of the same photos
<study>/folds.csv        written once; the photos of a study never change
<study>/...              see `prepared`
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np

from automl_car.data.audit import Audit, audit_photos, group_duplicates
from automl_car.data.budget import Budgets, Part
from automl_car.data.cache import build_cache
from automl_car.data.facts import FileFacts, Problem, read_facts
from automl_car.data.folds import classes_in_one_fold, make_folds, read_folds, write_folds
from automl_car.data.index import check_classes, without
from automl_car.data.prepared import Prepared, open_prepared, write_prepared
from automl_car.data.sealed import mend
from automl_car.errors import DataError, StudyError
from automl_car.records import Dataset, Folds, IntArray

logger = logging.getLogger("automl_car")

__all__ = ["Prepared", "open_prepared", "prepare"]


def prepare(
    dataset: Dataset,
    *,
    cache_directory: Path,
    study_directory: Path,
    short_side: int,
    folds: int,
    seed: int,
    budgets: Budgets | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Prepared:
    """Decode, check and split the photos, or find that this was done and read the result.

    Args:
        dataset: as `read_dataset` found it.
        cache_directory: of all caches.
        study_directory: of the study; is made.
        short_side: larger photos are reduced until their short side has this many pixels.
        folds: how many; must be the study's number if it exists.
        seed: of the split; only used for a new study.
        budgets: bytes that the decoded photos may take; None keeps all of them as pixels.
        progress: called with (photos decoded, photos in all).

    Raises:
        DataError: the photos changed since the study began, too few are left of a class, the disk is full, or a budget
            is too small.
        StudyError: the study has another number of folds.
    """
    paths = [*dataset.train_paths, *dataset.test_paths]
    images, problems = build_cache(
        dataset.root,
        paths,
        short_side=short_side,
        directory=cache_directory / "images",
        parts=_parts(dataset, budgets),
        progress=progress,
    )
    facts = read_facts(images.directory)
    usable, train_entries, test_entries = _quarantine(dataset, problems)
    study_directory.mkdir(parents=True, exist_ok=True)
    groups = group_duplicates(facts.sha1s[train_entries], facts.hashes[train_entries])
    split = _find_or_make_folds(study_directory / "folds.csv", usable, groups, folds, seed)
    audit = _audit(usable, facts, train_entries, groups, split, problems, len(dataset.train_paths))
    prepared = Prepared(usable, split, images, train_entries, test_entries, audit, short_side)
    write_prepared(study_directory, prepared)
    return prepared


def _parts(dataset: Dataset, budgets: Budgets | None) -> tuple[Part, ...]:
    if budgets is None:
        return ()
    return (
        Part("training photos", "cache.train_gb", len(dataset.train_paths), budgets.train_bytes),
        Part("test photos", "cache.eval_gb", len(dataset.test_paths), budgets.eval_bytes),
    )


def _quarantine(dataset: Dataset, problems: tuple[Problem, ...]) -> tuple[Dataset, IntArray, IntArray]:
    """The data set without broken training photos, and the cache entries of its training and test rows."""
    count = len(dataset.train_paths)
    broken = [problem.row for problem in problems]
    entries = np.arange(count + len(dataset.test_paths), dtype=np.int64)
    train_entries, test_entries = np.setdiff1d(entries[:count], broken), entries[count:]
    usable = without(dataset, [row for row in broken if row < count])
    try:
        check_classes(usable)
    except DataError as error:
        if len(usable.train_paths) == count:
            raise
        lost = [problem for problem in problems if problem.row < count]
        raise DataError(
            f"{len(lost)} training photos cannot be decoded, and without them: {error.message}",
            hint=f"The first is `{lost[0].path}`: {lost[0].reason}.",
        ) from error
    return usable, train_entries, np.where(np.isin(test_entries, broken), -1, test_entries)


def _find_or_make_folds(path: Path, dataset: Dataset, groups: IntArray, count: int, seed: int) -> Folds:
    if mend(path):
        logger.warning("%s was damaged or gone; it was written again from its copy", path)
    if not path.exists():
        return write_folds(path, dataset, make_folds(dataset.labels, groups, count=count, seed=seed), groups)
    folds = read_folds(path, dataset)
    if folds.count != count:
        raise StudyError(
            f"The study in {path.parent} has {folds.count} folds, and {count} were asked for.",
            hint=f"begin a new study with `--study NAME`, from the best recipes of this one with "
            f"`--warm-start {path.parent.name}`; or set data.folds to {folds.count}.",
        )
    return folds


def _audit(
    dataset: Dataset,
    facts: FileFacts,
    entries: IntArray,
    groups: IntArray,
    folds: Folds,
    problems: tuple[Problem, ...],
    train_rows: int,
) -> Audit:
    return audit_photos(
        dataset,
        facts,
        entries,
        groups,
        quarantined=tuple(problem for problem in problems if problem.row < train_rows),
        broken_test=tuple(
            Problem(problem.row - train_rows, problem.path, problem.reason)
            for problem in problems
            if problem.row >= train_rows
        ),
        notes=_fold_notes(dataset, folds),
    )


def _fold_notes(dataset: Dataset, folds: Folds) -> tuple[str, ...]:
    notes = []
    counts = np.bincount(dataset.labels, minlength=dataset.num_classes)
    for label in np.flatnonzero(counts < folds.count):
        notes.append(
            f"Class `{dataset.class_names[label]}` has {counts[label]} photos for {folds.count} folds: "
            "some folds are judged without it."
        )
    for label in classes_in_one_fold(dataset.labels, folds.assignment):
        notes.append(
            f"All photos of class `{dataset.class_names[label]}` are copies and share a fold: "
            "that fold's model has never seen the class, and its log loss suffers."
        )
    return tuple(notes)
