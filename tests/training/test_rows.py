"""Rows of features, read a chunk at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from automl_car.training.rows import Rows, raise_to

VIEWS = tuple(np.random.default_rng(view).normal(0, 1, (20, 3)).astype(np.float16) for view in range(2))
CHOSEN = np.array([1, 2, 5, 8, 9, 13, 19])


@pytest.mark.parametrize("chunk", [1, 3, 7, 100])
def test_the_chunks_of_each_view_are_its_rows_in_their_order(chunk: int) -> None:
    chunks = list(Rows(VIEWS, CHOSEN, chunk=chunk).by_view())
    assert max(len(features) for _, features in chunks) <= chunk
    expected = np.concatenate([view[CHOSEN] for view in VIEWS]).astype(np.float32)
    np.testing.assert_array_equal(torch.cat([features for _, features in chunks]), expected)


def test_the_place_of_a_chunk_is_among_the_chosen_rows() -> None:
    labels = np.arange(7)
    places = [labels[part].tolist() for part, _ in Rows(VIEWS, CHOSEN, chunk=3).by_view()]
    assert places == [[0, 1, 2], [3, 4, 5], [6]] * 2


def test_means_are_taken_over_the_views_after_the_power() -> None:
    rows = Rows(VIEWS, CHOSEN, power=2.0, chunk=3)
    values = np.stack([view[CHOSEN].astype(np.float64) for view in VIEWS])
    expected = (np.sign(values) * values**2).mean(0)
    np.testing.assert_allclose(torch.cat([features for _, features in rows.means()]), expected, rtol=1e-5)


def test_the_mean_over_the_first_view_is_that_view() -> None:
    rows = Rows(VIEWS, CHOSEN, chunk=3).first(1)
    expected = VIEWS[0][CHOSEN].astype(np.float32)
    np.testing.assert_array_equal(torch.cat([features for _, features in rows.means()]), expected)


def test_reading_changes_nothing_in_the_arrays() -> None:
    view = VIEWS[0].astype(np.float32)
    for _, features in Rows((view,), np.arange(20)).by_view():
        features.zero_()
    np.testing.assert_array_equal(view, VIEWS[0].astype(np.float32))


def test_places_are_among_the_chosen_rows() -> None:
    assert Rows(VIEWS, CHOSEN).only(np.array([0, 2, 4, 6])).rows.tolist() == [1, 5, 9, 19]


@pytest.mark.parametrize(("power", "expected"), [(0.5, [-2.0, 0.0, 3.0]), (2.0, [-16.0, 0.0, 81.0])])
def test_the_power_keeps_the_sign(power: float, expected: list[float]) -> None:
    torch.testing.assert_close(raise_to(torch.tensor([-4.0, 0.0, 9.0]), power), torch.tensor(expected))


def test_the_power_one_changes_nothing() -> None:
    values = torch.randn(10)
    assert torch.equal(raise_to(values, 1.0), values)
