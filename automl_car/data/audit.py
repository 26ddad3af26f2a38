"""What is in a set of photos: how many, how large, what is broken, what is there twice, what contradicts itself.

The audit opens nothing: it reads the facts that decoding left beside the image cache.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from automl_car.data.duplicates import group_duplicates
from automl_car.data.facts import FileFacts, Problem
from automl_car.records import Dataset, IntArray

__all__ = ["Audit", "DuplicateGroup", "audit_photos", "group_duplicates"]


@dataclass(frozen=True)
class DuplicateGroup:
    """Training photos that show the same picture.

    Attributes:
        paths: in the order of the training rows.
        labels: class name of each path.
        exact: whether the files are the same byte for byte; else they look the same.
    """

    paths: tuple[str, ...]
    labels: tuple[str, ...]
    exact: bool

    @property
    def is_conflict(self) -> bool:
        """Whether the same picture has two labels, so that at least one of them is wrong."""
        return len(set(self.labels)) > 1


@dataclass(frozen=True)
class Audit:
    """The state of the photos of one study.

    Attributes:
        train_photos: that training uses, without the quarantined ones.
        test_photos: rows of the test set, with the broken ones.
        photos_per_class: fewest, median and most.
        width, height: in pixels as in the files: smallest, median and largest of the training photos.
        modes: how many training photos have each colour mode of Pillow's.
        quarantined: training photos that are left out because they cannot be decoded.
        broken_test: test photos that cannot be decoded; their rows get the classes' shares as their answer.
        duplicates: groups of two and more; photos of a group are always in the same fold.
        notes: sentences for the user, about folds above all.
    """

    train_photos: int
    test_photos: int
    photos_per_class: tuple[float, float, float]
    width: tuple[float, float, float]
    height: tuple[float, float, float]
    modes: tuple[tuple[str, int], ...]
    quarantined: tuple[Problem, ...] = ()
    broken_test: tuple[Problem, ...] = ()
    duplicates: tuple[DuplicateGroup, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def conflicts(self) -> tuple[DuplicateGroup, ...]:
        """Groups that show the same picture under two labels."""
        return tuple(group for group in self.duplicates if group.is_conflict)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `Audit.from_json` reads them back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Audit:
        """The audit that `to_json` wrote."""
        groups = (
            DuplicateGroup(tuple(group["paths"]), tuple(group["labels"]), group["exact"])
            for group in values["duplicates"]
        )
        return cls(
            train_photos=values["train_photos"],
            test_photos=values["test_photos"],
            photos_per_class=_three(values["photos_per_class"]),
            width=_three(values["width"]),
            height=_three(values["height"]),
            modes=tuple((mode, count) for mode, count in values["modes"]),
            quarantined=tuple(Problem(**problem) for problem in values["quarantined"]),
            broken_test=tuple(Problem(**problem) for problem in values["broken_test"]),
            duplicates=tuple(groups),
            notes=tuple(values["notes"]),
        )


def audit_photos(
    dataset: Dataset,
    facts: FileFacts,
    entries: IntArray,
    groups: IntArray,
    *,
    quarantined: tuple[Problem, ...] = (),
    broken_test: tuple[Problem, ...] = (),
    notes: tuple[str, ...] = (),
) -> Audit:
    """Sum up a data set.

    Args:
        dataset: after quarantine.
        facts: about all decoded files.
        entries: int64 (N,): row of `facts` of each training photo.
        groups: int64 (N,): from `group_duplicates`, in the order of the training photos.
        quarantined, broken_test, notes: go into the audit as they are.
    """
    modes = Counter(str(facts.modes[entry]) for entry in entries)
    return Audit(
        train_photos=len(dataset.train_paths),
        test_photos=len(dataset.test_paths),
        photos_per_class=_spread(np.bincount(dataset.labels, minlength=dataset.num_classes)),
        width=_spread(facts.sizes[entries, 0]),
        height=_spread(facts.sizes[entries, 1]),
        modes=tuple(modes.most_common()),
        quarantined=quarantined,
        broken_test=broken_test,
        duplicates=_duplicate_groups(dataset, facts, entries, groups),
        notes=notes,
    )


def _duplicate_groups(
    dataset: Dataset, facts: FileFacts, entries: IntArray, groups: IntArray
) -> tuple[DuplicateGroup, ...]:
    """Groups of two and more, in the order of their first photo."""
    repeated = np.flatnonzero(np.bincount(groups)[groups] > 1)  # hardly any: an array for each other photo would cost
    order = repeated[np.argsort(groups[repeated], kind="stable")]
    members = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    return tuple(
        DuplicateGroup(
            paths=tuple(dataset.train_paths[row] for row in rows),
            labels=tuple(dataset.class_names[dataset.labels[row]] for row in rows),
            exact=len({facts.sha1s[entries[row]] for row in rows}) == 1,
        )
        for rows in members
        if len(rows) > 1
    )


def _spread(values: IntArray) -> tuple[float, float, float]:
    return float(values.min()), float(np.median(values)), float(values.max())


def _three(values: list[float]) -> tuple[float, float, float]:
    low, middle, high = values
    return low, middle, high
