"""How many views a trial uses: chosen on its folds, each of them by the others."""

from __future__ import annotations

from automl_car.ensemble.view_counts import ViewCounts, choose_view_counts


def test_more_views_are_used_where_they_pay() -> None:
    losses = ((1, 0.70), (2, 0.61), (4, 0.56))
    assert choose_view_counts({0: losses, 1: losses}) == ViewCounts({0: 4, 1: 4}, 4)


def test_views_that_hurt_are_not_used() -> None:
    losses = ((1, 0.50), (2, 0.52), (4, 0.55))
    assert choose_view_counts({0: losses, 1: losses}) == ViewCounts({0: 1, 1: 1}, 1)


def test_a_mirror_image_may_help_where_closer_views_do_not() -> None:
    losses = ((1, 0.50), (2, 0.45), (4, 0.47))
    assert choose_view_counts({0: losses, 1: losses}).test == 2


def test_of_equal_numbers_of_views_the_fewest_are_used() -> None:
    losses = ((1, 0.50), (2, 0.50), (4, 0.50))
    assert choose_view_counts({0: losses, 1: losses}) == ViewCounts({0: 1, 1: 1}, 1)


def test_no_fold_has_a_say_in_its_own_choice() -> None:
    neutral = ((1, 0.50), (2, 0.51))
    for loud in (((1, 9.0), (2, 0.1)), ((1, 0.1), (2, 9.0))):
        assert choose_view_counts({0: loud, 1: neutral, 2: neutral}).oof[0] == 1


def test_the_test_rows_follow_all_folds() -> None:
    neutral, loud = ((1, 0.50), (2, 0.51)), ((1, 9.0), (2, 0.1))
    assert choose_view_counts({0: loud, 1: neutral, 2: neutral}).test == 2


def test_a_single_fold_uses_as_many_as_the_recipe_asks_for() -> None:
    assert choose_view_counts({3: ((1, 0.1), (2, 0.2), (4, 0.3))}) == ViewCounts({3: 4}, 4)


def test_with_a_fold_of_an_earlier_version_all_folds_use_all_views() -> None:
    assert choose_view_counts({0: ((1, 0.1), (2, 0.2)), 1: ()}) == ViewCounts({0: 0, 1: 0}, 0)
