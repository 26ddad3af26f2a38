"""Reliability diagrams against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from automl_car.report.reliability import reliability


def test_the_error_is_the_mean_gap_weighted_by_photos() -> None:
    # Three photos at 0.9, two of them right, and one at 0.6 that is right: (3 · |2/3 - 0.9| + 1 · |1 - 0.6|) / 4.
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.6, 0.4]])
    found = reliability(probabilities, np.array([0, 1, 1, 0]))
    assert found.error == pytest.approx((3 * (0.9 - 2 / 3) + 0.4) / 4)
    assert [(one.photos, one.confidence, one.accuracy) for one in found.bins] == [
        (1, pytest.approx(0.6), 1),
        (3, pytest.approx(0.9), pytest.approx(2 / 3)),
    ]


def test_there_are_fifteen_bins_that_include_their_upper_end() -> None:
    probabilities = np.array([[1.0, 0.0], [0.6, 0.4], [0.601, 0.399]])
    found = reliability(probabilities, np.array([0, 0, 0]))
    assert [(round(one.low * 15), round(one.high * 15)) for one in found.bins] == [(8, 9), (9, 10), (14, 15)]


def test_answers_drawn_from_the_probabilities_have_hardly_any_error() -> None:
    random = np.random.default_rng(0)
    probabilities = random.dirichlet((1.0, 1.0, 1.0), 20_000)
    labels = (probabilities.cumsum(axis=1) < random.random((20_000, 1))).sum(axis=1)
    assert reliability(probabilities, labels).error < 0.01
