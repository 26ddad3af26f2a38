from __future__ import annotations

from io import BytesIO
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter, ImageOps

from automl_car.data.duplicates import (
    COARSE_WORDS,
    HASH_WORDS,
    MAX_COARSE_BITS,
    MAX_FINE_BITS,
    difference_hash,
    group_duplicates,
    mirrored,
    near_pairs,
)


def _picture(seed: int) -> Image.Image:
    """Blots of many sizes, as different from another seed's as two photos are."""
    noise = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    return Image.fromarray(noise).filter(ImageFilter.GaussianBlur(1)).resize((320, 240), Image.Resampling.BICUBIC)


def _hash(picture: Image.Image) -> NDArray[np.uint64]:
    return difference_hash(np.asarray(picture))


def _groups(*hashes: NDArray[np.uint64]) -> list[int]:
    return group_duplicates([f"file {row}" for row in range(len(hashes))], np.array(hashes)).tolist()


def _jpeg(picture: Image.Image, quality: int) -> Image.Image:
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


@pytest.mark.parametrize("seed", range(5))
def test_a_copy_saved_at_jpeg_quality_30_is_a_duplicate(seed: int) -> None:
    assert _groups(_hash(_picture(seed)), _hash(_jpeg(_picture(seed), 30))) == [0, 0]


@pytest.mark.parametrize("seed", range(5))
def test_a_copy_at_60_percent_of_the_size_is_a_duplicate(seed: int) -> None:
    assert _groups(_hash(_picture(seed)), _hash(_picture(seed).resize((192, 144), Image.Resampling.BICUBIC))) == [0, 0]


@pytest.mark.parametrize("seed", range(5))
def test_a_mirror_image_is_a_duplicate_also_of_lower_quality(seed: int) -> None:
    mirror = ImageOps.mirror(_picture(seed))
    assert _groups(_hash(_picture(seed)), _hash(mirror), _hash(_jpeg(mirror, 50))) == [0, 0, 0]


def test_an_upside_down_picture_is_no_duplicate() -> None:
    assert _groups(_hash(_picture(0)), _hash(ImageOps.flip(_picture(0)))) == [0, 1]


def test_the_mirrored_hash_is_the_hash_of_the_mirror_image() -> None:
    for seed in range(5):
        picture = _picture(seed)
        expected, found = _hash(ImageOps.mirror(picture)), mirrored(_hash(picture)[None])[0]
        assert np.bitwise_count(expected ^ found).sum() <= 16  # of 640 bits: neighbours that are equally bright
        np.testing.assert_array_equal(mirrored(found[None])[0], _hash(picture))


def test_different_pictures_are_not_duplicates() -> None:
    assert _groups(*[_hash(_picture(seed)) for seed in range(40)]) == list(range(40))


@pytest.mark.parametrize("brightness", [0, 128, 255])
def test_flat_pictures_are_not_duplicates_of_each_other(brightness: int) -> None:
    flat = Image.new("RGB", (64, 48), (brightness,) * 3)
    assert _groups(_hash(flat), _hash(flat.resize((80, 60)))) == [0, 1]


def test_the_same_bytes_are_a_duplicate_even_of_a_flat_picture() -> None:
    flat = difference_hash(np.zeros((8, 8, 3), dtype=np.uint8))
    assert group_duplicates(["a", "b", "a"], np.array([flat, flat, flat])).tolist() == [0, 1, 0]


def test_groups_are_numbered_by_their_first_photo() -> None:
    hashes = np.array([_hash(_picture(seed)) for seed in (3, 1, 2, 1, 3)])
    assert group_duplicates(list("vwxyz"), hashes).tolist() == [0, 1, 2, 1, 0]


def test_a_chain_of_near_duplicates_is_one_group() -> None:
    start = _hash(_picture(0))
    middle, end = start.copy(), start.copy()
    middle[-1] ^= np.uint64(2**40 - 1)  # 40 bits away
    end[-1] ^= np.uint64(2**40 - 1)
    end[-2] ^= np.uint64(2**40 - 1)  # 40 bits from the middle, 80 from the start
    assert _groups(start, end) == [0, 1]
    assert _groups(start, middle, end) == [0, 0, 0]


def test_all_pairs_are_compared_also_across_chunks() -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, (600, HASH_WORDS), dtype=np.uint64)
    pairs = {(0, 599), (255, 256), (300, 301), (10, 511)}
    for left, right in pairs:
        hashes[right] = hashes[left]
    groups = group_duplicates([str(row) for row in range(600)], hashes)
    together = {(i, j) for i, j in combinations(range(600), 2) if groups[i] == groups[j]}
    assert together == pairs


def test_no_photos_make_no_groups() -> None:
    assert group_duplicates([], np.zeros((0, HASH_WORDS), dtype=np.uint64)).tolist() == []


def test_near_pairs_are_those_that_a_comparison_of_all_with_all_finds() -> None:
    random = np.random.default_rng(1)
    parents = random.integers(0, 2**64, (40, HASH_WORDS), dtype=np.uint64)
    flipped = random.random((1300, HASH_WORDS, 64)) < random.choice([0.02, 0.06, 0.12, 0.2], (1300, 1, 1))
    noise = np.packbits(flipped, axis=2).view(np.uint64)[:, :, 0]
    hashes = parents[random.integers(40, size=1300)] ^ noise
    distances = [
        sum(np.bitwise_count(hashes[:, None, word] ^ hashes[None, :, word]).astype(int) for word in words)
        for words in (range(COARSE_WORDS), range(COARSE_WORDS, HASH_WORDS))
    ]
    near = (distances[0] <= MAX_COARSE_BITS) & (distances[1] <= MAX_FINE_BITS)
    expected = np.argwhere(np.triu(near, 1))
    assert 1000 < len(expected) < 20_000
    found = np.concatenate(list(near_pairs(hashes, hashes)))
    np.testing.assert_array_equal(found[np.lexsort(found.T[::-1])], expected)


def test_hashes_are_mirrored_alike_across_chunks() -> None:
    hashes = np.random.default_rng(2).integers(0, 2**64, (4100, HASH_WORDS), dtype=np.uint64)
    np.testing.assert_array_equal(mirrored(hashes)[4090:], mirrored(hashes[4090:]))
