"""Mixup and CutMix: what is mixed, and that targets say exactly how much."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from automl_car.training.mixing import mix


def _batch(size: int = 6, side: int = 16) -> tuple[Tensor, Tensor]:
    """Images that are each of one grey, its number, and the one-hot target of that number."""
    images = torch.arange(size).float().view(size, 1, 1, 1).expand(size, 3, side, side).contiguous()
    return images, torch.eye(size)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(("mixup", "cutmix"), [(1.0, 0.0), (0.0, 1.0), (0.5, 0.5)])
def test_targets_sum_to_one(mixup: float, cutmix: float, seed: int) -> None:
    images, targets = _batch()
    _, mixed = mix(images, targets, mixup=mixup, cutmix=cutmix, random=np.random.default_rng(seed))
    torch.testing.assert_close(mixed.sum(1), torch.ones(6))


@pytest.mark.parametrize("seed", range(20))
def test_cutmix_gives_each_class_the_share_of_the_picture_that_it_covers(seed: int) -> None:
    images, targets = _batch()
    pictures, mixed = mix(images, targets, mixup=0.0, cutmix=1.0, random=np.random.default_rng(seed))
    covered = torch.stack([(pictures[:, 0] == number).float().mean((1, 2)) for number in range(6)], dim=1)
    torch.testing.assert_close(mixed, covered)


@pytest.mark.parametrize("seed", range(20))
def test_mixup_blends_the_pictures_as_it_blends_the_targets(seed: int) -> None:
    images, targets = _batch()
    pictures, mixed = mix(images, targets, mixup=1.0, cutmix=0.0, random=np.random.default_rng(seed))
    expected = mixed @ torch.arange(6).float()
    torch.testing.assert_close(pictures, expected.view(6, 1, 1, 1).expand_as(pictures))


def test_cutmix_pastes_a_box() -> None:
    images, targets = _batch()
    pictures, _ = mix(images, targets, mixup=0.0, cutmix=1.0, random=np.random.default_rng(3))
    for number, picture in enumerate(pictures[:, 0]):
        foreign = picture != number
        rows, columns = foreign.any(1), foreign.any(0)
        assert torch.equal(foreign, rows[:, None] & columns)


def test_without_mixing_the_batch_is_the_same_object() -> None:
    images, targets = _batch()
    pictures, mixed = mix(images, targets, mixup=0.0, cutmix=0.0, random=np.random.default_rng(0))
    assert pictures is images
    assert mixed is targets


def test_the_batch_itself_is_not_changed() -> None:
    images, targets = _batch()
    mix(images, targets, mixup=0.0, cutmix=1.0, random=np.random.default_rng(0))
    mix(images, targets, mixup=1.0, cutmix=0.0, random=np.random.default_rng(0))
    expected_images, expected_targets = _batch()
    torch.testing.assert_close(images, expected_images)
    torch.testing.assert_close(targets, expected_targets)


def test_each_method_is_chosen_as_often_as_its_probability_says() -> None:
    images, targets = _batch()
    random = np.random.default_rng(0)
    counts = {"plain": 0, "mixup": 0, "cutmix": 0}
    for _ in range(2000):
        pictures, _ = mix(images, targets, mixup=0.2, cutmix=0.3, random=random)
        blended = bool(((pictures % 1) != 0).any())
        counts["plain" if pictures is images else "mixup" if blended else "cutmix"] += 1
    # Standard error about 0.01; a mixup share that rounds to 0 or 1 looks like cutmix, hence the wider bound.
    assert counts["plain"] / 2000 == pytest.approx(0.5, abs=0.04)
    assert counts["mixup"] / 2000 == pytest.approx(0.2, abs=0.05)


def test_the_same_seed_mixes_in_the_same_way() -> None:
    images, targets = torch.rand(6, 3, 16, 16), torch.eye(6)
    first = mix(images, targets, mixup=0.5, cutmix=0.5, random=np.random.default_rng(9))
    second = mix(images, targets, mixup=0.5, cutmix=0.5, random=np.random.default_rng(9))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
