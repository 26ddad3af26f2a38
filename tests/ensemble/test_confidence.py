"""What a file says of itself: values by hand and from scipy."""

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy

from automl_car.ensemble.confidence import compare, measure_confidence

NAMES = ("a", "b", "c", "d")
RANDOM = np.random.default_rng(0)
ROWS = RANDOM.dirichlet(np.full(4, 0.3), size=200)


def test_confidence_is_the_largest_probability_and_shares_count_what_is_above_it():
    file = measure_confidence("f", NAMES[:2], np.array([[0.8, 0.2], [0.1, 0.9], [0.995, 0.005], [0.5, 0.5]]))
    assert file.confidence.tolist() == [0.8, 0.9, 0.995, 0.5]
    assert file.share_above(0.8) == 0.5
    assert file.share_above(0.99) == 0.25


def test_entropy_is_that_of_scipy_and_zeros_add_nothing():
    rows = np.vstack([ROWS, [[1, 0, 0, 0], [0.5, 0.5, 0, 0]]])
    assert measure_confidence("f", NAMES, rows).entropy == pytest.approx(entropy(rows, axis=1), abs=1e-12)


def test_a_file_that_says_nothing_leaves_all_classes_in_doubt():
    file = measure_confidence("f", NAMES, np.full((5, 4), 0.25))
    assert file.effective_classes == pytest.approx(4)
    assert measure_confidence("f", NAMES, np.eye(4)).effective_classes == pytest.approx(1)


def test_counts_and_expected_counts_are_of_all_rows():
    file = measure_confidence("f", NAMES, ROWS)
    assert file.counts.sum() == 200
    assert file.expected.sum() == pytest.approx(200)
    assert file.expected == pytest.approx(ROWS.sum(axis=0))


def test_classes_that_are_never_on_top_are_named_and_are_not_among_the_most_predicted():
    file = measure_confidence("f", NAMES, np.array([[0.4, 0.3, 0.3, 0], [0, 0.3, 0.7, 0], [0, 0.2, 0.8, 0]]))
    assert file.never_predicted == ("b", "d")
    assert file.most_predicted == (2, 0)


def test_at_most_ten_classes_are_the_most_predicted():
    file = measure_confidence("f", [str(number) for number in range(30)], np.eye(30))
    assert len(file.most_predicted) == 10


def test_a_file_agrees_with_itself():
    both = compare([ROWS, ROWS])
    assert both.agreement.tolist() == [[1, 1], [1, 1]]
    assert both.distance.max() == 0
    assert both.row_distance.max() == 0


def test_distances_are_half_the_absolute_differences_of_every_pair():
    files = [ROWS, ROWS[::-1], np.full((200, 4), 0.25)]
    result = compare(files)
    assert result.distance[0, 2] == pytest.approx(np.mean([np.abs(row - 0.25).sum() / 2 for row in ROWS]))
    assert result.distance == pytest.approx(result.distance.T)
    pairs = [result.distance[0, 1], result.distance[0, 2], result.distance[1, 2]]
    assert result.row_distance.mean() == pytest.approx(np.mean(pairs))


def test_the_most_disputed_rows_come_first():
    other = ROWS.copy()
    other[[7, 3]] = np.roll(np.eye(4)[ROWS[[7, 3]].argmin(axis=1)], 0, axis=1)
    disputed = compare([ROWS, other]).most_disputed(2)
    assert set(disputed.tolist()) == {3, 7}
    first, second = (jensenshannon(ROWS[row], other[row]) for row in disputed)
    assert first > second
