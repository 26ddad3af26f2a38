from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from automl_car.data.budget import SMALLEST_PROMISE, Part, promise_bytes
from automl_car.errors import DataError
from automl_car.records import IntArray

_SIZES = st.lists(st.integers(0, 3_000_000) | st.integers(0, 4000), min_size=1, max_size=40)


def _part(entries: int, limit: int) -> Part:
    return Part("training photos", "cache.train_gb", entries, limit)


def _promise(sizes: list[int], limit: int) -> IntArray:
    return promise_bytes(np.array(sizes, dtype=np.int64), [_part(len(sizes), limit)])


@given(_SIZES, st.floats(0.0, 1.2))
def test_promises_never_add_up_to_more_than_the_budget(sizes: list[int], share: float) -> None:
    limit = int(sum(sizes) * share)
    try:
        promised = _promise(sizes, limit)
    except DataError:
        return
    assert promised.sum() <= limit


@given(_SIZES, st.floats(0.0, 1.2))
def test_every_picture_is_promised_itself_or_enough_for_a_jpeg(sizes: list[int], share: float) -> None:
    try:
        promised = _promise(sizes, int(sum(sizes) * share))
    except DataError:
        return
    for size, bytes_ in zip(sizes, promised.tolist(), strict=True):
        assert bytes_ == size or max(SMALLEST_PROMISE, 0.05 * size) <= bytes_ < size


@given(_SIZES)
def test_a_part_that_fits_is_kept_whole(sizes: list[int]) -> None:
    assert _promise(sizes, sum(sizes)).tolist() == sizes


@given(_SIZES, st.floats(0.0, 1.0))
def test_what_the_message_asks_for_is_enough(sizes: list[int], share: float) -> None:
    sizes = [1000 * size for size in sizes]
    try:
        _promise(sizes, int(sum(sizes) * share))
    except DataError as error:
        asked = re.search(r"at least ([\d.]+),", str(error.hint))
        assert asked
        _promise(sizes, round(float(asked[1]) * 1e9))


def test_four_fifths_of_the_budget_keep_three_quarters_whole() -> None:
    # Reserves take 20 % of 100 pictures; the 60 % that are left pay for 75 times 80 %.
    promised = _promise([1_000_000] * 100, 80_000_000)
    assert 74 <= (promised == 1_000_000).sum() <= 75


def test_pictures_kept_whole_are_spread_over_all_and_do_not_come_first() -> None:
    whole = _promise([1_000_000] * 1000, 600_000_000) == 1_000_000
    for quarter in np.split(whole, 4):
        assert 0.4 < quarter.mean() < 0.6


def test_each_part_has_a_budget_of_its_own() -> None:
    parts = [_part(2, 2_000_000), Part("test photos", "cache.eval_gb", 2, 500_000)]
    promised = promise_bytes(np.full(4, 1_000_000), parts)
    assert promised[:2].tolist() == [1_000_000] * 2
    assert promised[2:].sum() <= 500_000


def test_a_part_without_photos_takes_nothing() -> None:
    assert promise_bytes(np.full(2, 10), [_part(2, 20), Part("test photos", "cache.eval_gb", 0, 1)]).tolist() == [
        10,
        10,
    ]


def test_too_small_a_budget_is_an_error_that_tells_the_setting_and_what_would_do() -> None:
    sizes = np.full(1000, 20_000_000)  # 20 GB; a twentieth is 1 GB, and the tables of the JPEGs a little more
    with pytest.raises(DataError, match=r"cache\.eval_gb: 0\.9 is too little for 1000 test photos") as error:
        promise_bytes(sizes, [Part("test photos", "cache.eval_gb", 1000, 900_000_000)])
    assert "20.00 GB as pixels" in error.value.message
    assert "Set cache.eval_gb to at least 1.01" in str(error.value.hint)
