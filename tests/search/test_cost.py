"""What a search costs, by hand from speeds and counts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from automl_car.fold_records import Speed
from automl_car.records import Recipe
from automl_car.search.cost import (
    Counts,
    at_size,
    epoch_seconds,
    epochs_within,
    features_seconds,
    fold_seconds,
    folds_trained,
)

COUNTS = Counts(photos=1000, test_photos=300, folds=5)
SPEED = Speed(training=100.0, validation=400.0)
RECIPE = Recipe("toy", image_size=128, epochs=10)


def test_an_epoch_trains_on_four_fifths_and_judges_the_rest_with_its_mirror_images() -> None:
    assert epoch_seconds(RECIPE, SPEED, COUNTS) == pytest.approx(800 / 100 + 2 * 200 / 400)


def test_without_mirror_images_judging_takes_half() -> None:
    assert epoch_seconds(replace(RECIPE, flip=False), SPEED, COUNTS) == pytest.approx(800 / 100 + 200 / 400)


def test_a_fold_is_its_epochs_and_the_final_predictions_in_all_views() -> None:
    assert fold_seconds(replace(RECIPE, views=4), SPEED, COUNTS) == pytest.approx(10 * 9.0 + 4 * (200 + 300) / 400)


def test_smaller_images_at_the_start_cost_what_their_pixels_cost() -> None:
    # Sides 64, 96, 128, 128, 128 of 128 pixels: shares of the pixels 1/4, 9/16, 1, 1, 1.
    recipe = replace(RECIPE, epochs=5, progressive=0.5)
    pixels = (1 / 4 + 9 / 16 + 3) / 5
    assert epoch_seconds(recipe, SPEED, COUNTS) == pytest.approx(8 * pixels + 1.0)


@pytest.mark.parametrize(("seconds", "epochs"), [(0, 0), (12.5, 0), (57.4, 0), (57.6, 1), (462.6, 10)])
def test_as_many_epochs_as_fit_into_all_folds_with_their_final_predictions(seconds: float, epochs: int) -> None:
    # An epoch of five folds takes 45 s, their final predictions in two views 12.5 s.
    assert epochs_within(seconds, RECIPE, SPEED, COUNTS, folds=COUNTS.folds) == epochs


def test_features_are_one_forward_pass_for_each_view_of_each_photo() -> None:
    assert features_seconds(2, SPEED, COUNTS) == pytest.approx(2 * 1300 / 400)


def test_half_the_side_is_four_times_the_speed_and_a_quarter_of_the_memory() -> None:
    assert at_size(Speed(10.0, 40.0, 800), measured=128, side=64) == Speed(40.0, 160.0, 200)


def test_pruning_spares_folds_of_later_trials_only() -> None:
    assert folds_trained(50, 5, 5, share=1 / 5) == 5 * 5 + 45
    assert folds_trained(50, 5, 5, share=1.0) == 250
    assert folds_trained(3, 5, 5, share=1 / 5) == 15
