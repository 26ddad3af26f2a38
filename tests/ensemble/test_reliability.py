"""The reliability diagram: bins and gaps by hand."""

import numpy as np
import pytest

from automl_car.ensemble.reliability import BINS, measure_reliability


def test_the_error_is_the_gap_of_each_bin_weighted_by_its_rows():
    confidence = np.array([0.95, 0.97, 0.5, 0.52])  # bins 15 and 8
    file = measure_reliability(confidence, np.array([True, False, True, True]))
    assert file.rows[[7, 14]].tolist() == [2, 2]
    # By hand: half of |1/2 - 0.96|, half of |1 - 0.51|.
    assert file.calibration_error == pytest.approx(0.5 * 0.46 + 0.5 * 0.49)


def test_a_confidence_on_an_edge_belongs_to_the_bin_below_it():
    file = measure_reliability(np.array([1 / 3, 1.0, 1e-9]), np.ones(3, dtype=bool))
    assert np.flatnonzero(file.rows).tolist() == [0, 4, 14]


def test_a_file_that_is_right_as_often_as_it_is_sure_has_no_error():
    random = np.random.default_rng(0)
    confidence = random.uniform(0.1, 1.0, 200_000)
    assert measure_reliability(confidence, random.random(200_000) < confidence).calibration_error < 0.01


def test_a_file_that_is_sure_and_wrong_has_the_whole_error():
    file = measure_reliability(np.ones(10), np.zeros(10, dtype=bool))
    assert file.calibration_error == 1
    assert len(file.rows) == BINS
