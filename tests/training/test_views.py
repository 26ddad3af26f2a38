"""Which views there are, and what they show."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from automl_car.config_values import ViewCounts
from automl_car.training.views import choose_views, cut

FLIP = pytest.mark.parametrize("flip", [True, False])


def test_the_first_two_views_are_the_photo_and_its_mirror_image() -> None:
    photo, mirror = choose_views(2, flip=True)
    assert (photo.side, photo.mirrored, mirror.side, mirror.mirrored) == (1.0, False, 1.0, True)


def test_without_flipping_no_view_is_mirrored() -> None:
    assert not any(view.mirrored for view in choose_views(6, flip=False))


@FLIP
def test_fewer_views_are_the_first_ones_of_more(flip: bool) -> None:
    for count in range(1, 6):
        assert choose_views(count, flip=flip) == choose_views(count + 1, flip=flip)[:count]


@FLIP
def test_every_view_is_another_one_and_its_name_says_which(flip: bool) -> None:
    views = choose_views(6, flip=flip)
    assert len({view.name for view in views}) == len({(view.side, view.mirrored) for view in views}) == 6
    for view in views[2:]:
        assert view.name == f"centre-{round(100 * view.side)}{'-mirror' if view.mirrored else ''}"


@FLIP
def test_there_are_as_many_as_the_settings_allow(flip: bool) -> None:
    allowed = TypeAdapter(ViewCounts)
    most = len(choose_views(100, flip=flip))
    assert allowed.validate_python(most) == most
    with pytest.raises(ValidationError):
        allowed.validate_python(most + 1)


def test_the_middle_of_a_picture_has_equal_margins() -> None:
    picture = np.zeros((10, 20, 3), np.uint8)
    picture[1:9, 2:18] = 255  # four fifths of each side
    assert cut(picture, 0.8).shape == (8, 16, 3)
    assert (cut(picture, 0.8) == 255).all()


def test_all_of_a_picture_is_the_picture() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)
    np.testing.assert_array_equal(cut(picture, 1.0), picture)


def test_at_least_a_pixel_is_left() -> None:
    assert cut(np.zeros((1, 1, 3), np.uint8), 0.1).shape == (1, 1, 3)
