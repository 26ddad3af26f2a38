"""Augmented pictures that depend on a seed alone: the cure of the repeated augmentation of albumentations 2.0.8."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from automl_car.catalog.manager import Catalog, load_catalog
from automl_car.catalog.params import default_values
from automl_car.catalog.records import Augmentation
from automl_car.training.augment import augment, build_transform, sample_seed

PHOTO = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
NAMES = ("none", "light", "medium", "heavy", "trivial", "rand")


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def _pictures(catalog: Catalog, name: str, seeds: list[int]) -> list[NDArray[np.uint8]]:
    augmentation = catalog.augmentation(name)
    transform = build_transform(augmentation, 24, default_values(augmentation.params))
    return [augment(transform, PHOTO, seed=seed) for seed in seeds]


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_picture_whatever_came_before(catalog: Catalog, name: str) -> None:
    first, *_, last = _pictures(catalog, name, [7, 1, 2, 3, 7])
    np.testing.assert_array_equal(first, last)


@pytest.mark.parametrize("name", NAMES)
def test_a_transform_built_again_gives_the_same_picture(catalog: Catalog, name: str) -> None:
    np.testing.assert_array_equal(_pictures(catalog, name, [7])[0], _pictures(catalog, name, [7])[0])


@pytest.mark.parametrize("name", [name for name in NAMES if name != "none"])
def test_other_seeds_give_other_pictures(catalog: Catalog, name: str) -> None:
    pictures = {picture.tobytes() for picture in _pictures(catalog, name, list(range(20)))}
    assert len(pictures) >= 18


@pytest.mark.parametrize("name", NAMES)
def test_pictures_are_squares_of_bytes(catalog: Catalog, name: str) -> None:
    picture = _pictures(catalog, name, [3])[0]
    assert (picture.shape, picture.dtype) == ((24, 24, 3), np.uint8)


def test_a_single_transform_is_made_seedable() -> None:
    import albumentations

    flip = Augmentation("flip", lambda size: albumentations.HorizontalFlip(p=0.5))
    transform = build_transform(flip, 24, {})
    pictures = {augment(transform, PHOTO, seed=seed).tobytes() for seed in range(20)}
    assert pictures == {PHOTO.tobytes(), PHOTO[:, ::-1].tobytes()}


def test_steps_of_a_transform_are_drawn_independently() -> None:
    import albumentations as A

    steps = [A.HorizontalFlip(p=0.5), A.InvertImg(p=0.5)]
    transform = build_transform(Augmentation("two", lambda size: A.Compose(steps)), 24, {})
    flipped = PHOTO[:, ::-1]
    names = {PHOTO.tobytes(): "", flipped.tobytes(): "f", (255 - PHOTO).tobytes(): "i", (255 - flipped).tobytes(): "fi"}
    drawn = [names[augment(transform, PHOTO, seed=sample_seed(0, 1, row)).tobytes()] for row in range(400)]
    shares = [drawn.count(name) / 400 for name in ("", "f", "i", "fi")]
    assert shares == pytest.approx([0.25] * 4, abs=0.08)


def test_a_photo_that_is_augmented_stays_as_it_is(catalog: Catalog) -> None:
    before = PHOTO.copy()
    _pictures(catalog, "heavy", list(range(10)))
    np.testing.assert_array_equal(PHOTO, before)


def test_a_read_only_photo_can_be_augmented(catalog: Catalog) -> None:
    photo = PHOTO[:24, :24].copy()
    photo.flags.writeable = False  # as the image cache gives them
    for name in NAMES:
        augmentation = catalog.augmentation(name)
        transform = build_transform(augmentation, 24, default_values(augmentation.params))
        assert augment(transform, photo, seed=1).shape == (24, 24, 3)


def test_seeds_fit_what_numpy_and_random_accept() -> None:
    seeds = [sample_seed(seed, epoch, row) for seed in range(3) for epoch in range(3) for row in range(30)]
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_seed_epoch_and_row_each_change_the_sample_seed() -> None:
    seeds = [sample_seed(seed, epoch, row) for seed in range(5) for epoch in range(5) for row in range(40)]
    assert len(set(seeds)) == len(seeds)


def test_the_sample_seed_is_the_same_in_every_process() -> None:
    code = "from automl_car.training.augment import sample_seed; print(sample_seed(1, 2, 3))"
    environment = {**os.environ, "PYTHONHASHSEED": "77"}
    printed = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert int(printed) == sample_seed(1, 2, 3)


def test_albumentations_is_told_not_to_ask_the_network_before_it_is_imported() -> None:
    # albumentations reads the variable while it is imported; an audit hook sees that moment.
    code = (
        "import os, sys\n"
        "os.environ.pop('NO_ALBUMENTATIONS_UPDATE', None)\n"
        "seen = []\n"
        "def hook(event, arguments):\n"
        "    if event == 'import' and arguments[0] == 'albumentations':\n"
        "        seen.append(os.environ.get('NO_ALBUMENTATIONS_UPDATE'))\n"
        "sys.addaudithook(hook)\n"
        "from automl_car.catalog.manager import load_catalog\n"
        "from automl_car.training.augment import build_transform\n"
        "build_transform(load_catalog().augmentation('none'), 16, {})\n"
        "print(seen[0])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
