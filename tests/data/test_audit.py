from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from automl_car.data.audit import Audit, audit_photos
from automl_car.data.facts import FileFacts, Problem
from automl_car.records import Dataset

_DATASET = Dataset(Path("/data"), ("car", "van"), ("a", "b", "c", "d", "e"), (0, 0, 0, 1, 1))
_FACTS = FileFacts(
    sha1s=("1", "", "2", "1", "4", "5"),  # entry 1 is a broken file that no row uses
    hashes=np.zeros((6, 10), dtype=np.uint64),
    sizes=np.array([[10, 4], [0, 0], [30, 4], [10, 4], [50, 6], [90, 8]]),
    modes=("RGB", "", "L", "RGB", "RGB", "CMYK"),
)
_ENTRIES = np.array([0, 2, 3, 4, 5])


def _audit(groups: list[int], **extra: tuple[Problem, ...]) -> Audit:
    return audit_photos(_DATASET, _FACTS, _ENTRIES, np.array(groups), **extra)


def test_sizes_are_smallest_median_and_largest_of_the_photos_in_use() -> None:
    audit = _audit([0, 1, 2, 3, 4])
    assert audit.width == (10, 30, 90)
    assert audit.height == (4, 4, 8)
    assert audit.photos_per_class == (2, 2.5, 3)


def test_colour_modes_are_counted() -> None:
    assert dict(_audit([0, 1, 2, 3, 4]).modes) == {"RGB": 3, "L": 1, "CMYK": 1}


def test_photos_without_a_copy_are_in_no_group() -> None:
    assert _audit([0, 1, 2, 3, 4]).duplicates == ()


def test_equal_files_are_an_exact_group_and_others_a_near_one() -> None:
    exact, near = _audit([0, 1, 0, 1, 4]).duplicates
    assert (exact.paths, exact.exact) == (("a", "c"), True)
    assert (near.paths, near.exact) == (("b", "d"), False)


def test_a_group_with_two_labels_is_a_conflict() -> None:
    audit = _audit([0, 1, 0, 1, 4])
    assert [group.labels for group in audit.conflicts] == [("car", "van")]


def test_an_audit_survives_json() -> None:
    problem = Problem(3, "사진.jpg", "it is empty (0 bytes)")
    audit = _audit([0, 1, 0, 1, 4], quarantined=(problem,), broken_test=(problem,))
    assert Audit.from_json(json.loads(json.dumps(audit.to_json()))) == audit
