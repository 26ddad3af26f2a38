from __future__ import annotations

import tracemalloc
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from automl_car.data.splitting import split_groups
from automl_car.records import IntArray


def _of_sklearn(classes: IntArray, groups: IntArray, count: int, seed: int) -> IntArray:
    assignment = np.full(len(classes), -1)
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        for fold, (_, rows) in enumerate(splitter.split(classes, classes, groups)):
            assignment[rows] = fold
    return assignment


@pytest.mark.parametrize(("photos", "classes", "count"), [(3000, 7, 5), (2000, 130, 5), (600, 2, 3), (900, 300, 3)])
def test_nearly_every_photo_a_group_of_its_own_is_split_as_by_sklearn(photos: int, classes: int, count: int) -> None:
    random = np.random.default_rng(photos)
    labels = np.sort(random.integers(classes, size=photos))
    copies = np.arange(photos)
    copies[random.integers(photos, size=photos // 20)] = random.integers(photos, size=photos // 20)
    expected = _of_sklearn(labels, copies, count, seed=3)
    np.testing.assert_array_equal(split_groups(labels, copies, count=count, seed=3), expected)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**31), st.integers(10, 80), st.integers(2, 12), st.integers(2, 40), st.integers(2, 4), st.integers()
)
def test_large_and_mixed_groups_are_split_as_by_sklearn(
    state: int, photos: int, classes: int, groups: int, count: int, names: int
) -> None:
    random = np.random.default_rng(state)
    labels = 3 * random.integers(classes, size=photos)  # not every number is a class
    group = random.integers(groups, size=photos) + names % 1000
    if len(np.unique(group)) < count or np.bincount(labels).max() < count:
        return
    expected = _of_sklearn(labels, group, count, seed=state % 1000)
    np.testing.assert_array_equal(split_groups(labels, group, count=count, seed=state % 1000), expected)


def test_memory_does_not_hold_all_classes_of_each_photo() -> None:
    labels, groups = np.arange(4000) % 800, np.arange(4000)
    tracemalloc.start()
    split_groups(labels, groups, count=2, seed=0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4000 * 800 * 8 / 2
