"""Forward selection prefers what a candidate adds over where it ranks."""

import numpy as np
import pytest

from automl_car.ensemble.select import choose_members


@pytest.fixture
def candidates():
    """Three good ones that err on different rows, the first the best; then a useless one."""
    probabilities = np.full((4, 300), 0.8)
    probabilities[0, :30] = probabilities[1, 100:140] = probabilities[2, 200:250] = 0.02
    probabilities[3] = 0.01
    return probabilities


def test_the_best_single_candidate_comes_first(candidates):
    assert choose_members(candidates[::-1], top_k=1) == (3,)


def test_at_most_top_k_are_chosen(candidates):
    assert len(choose_members(candidates, top_k=2)) == 2


def test_a_useless_candidate_is_left_out(candidates):
    assert sorted(choose_members(candidates, top_k=4)) == [0, 1, 2]


def test_a_copy_of_the_best_is_passed_over_for_a_worse_but_different_one(candidates):
    assert choose_members(candidates[[0, 0, 2]], top_k=2) == (0, 2)


def test_the_same_candidates_are_chosen_in_any_order(candidates):
    order = np.array([2, 3, 0, 1])
    assert [order[index] for index in choose_members(candidates[order], top_k=3)] == list(choose_members(candidates, 3))


def test_the_order_of_rows_does_not_matter(candidates):
    rows = np.random.default_rng(0).permutation(300)
    assert choose_members(candidates[:, rows], top_k=3) == choose_members(candidates, top_k=3)


def test_an_addition_must_gain_more_than_asked(candidates):
    assert choose_members(candidates, top_k=4, smallest_gain=10.0) == (0,)
