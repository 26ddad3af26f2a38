"""The image cache under a budget, and on a disk that is too small for it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from automl_car.data.budget import Part
from automl_car.data.cache import ImageCache, build_cache
from automl_car.data.images import read_image
from automl_car.errors import DataError

COUNT, TRAIN = 24, 16
RAW = 60 * 80 * 3  # bytes of each picture
NAMES = [f"{row}.png" for row in range(COUNT)]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Smooth pictures, and noise in every fourth place, which no JPEG makes small."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for row, name in enumerate(NAMES):
        small = rng.integers(0, 256, (60, 80, 3) if row % 4 == 0 else (5, 6, 3), dtype=np.uint8)
        Image.fromarray(small).resize((80, 60), Image.Resampling.BICUBIC).save(root / name)
    return root


def _build(photos: Path, directory: Path, train: float, test: float = 1.0, *, workers: int = 2) -> ImageCache:
    """The budgets are shares of what all pixels take."""
    parts = [
        Part("training photos", "cache.train_gb", TRAIN, int(train * TRAIN * RAW)),
        Part("test photos", "cache.eval_gb", COUNT - TRAIN, int(test * (COUNT - TRAIN) * RAW)),
    ]
    return build_cache(photos, NAMES, short_side=60, directory=directory, parts=parts, workers=workers)[0]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(train=st.floats(0.12, 1.1), test=st.floats(0.12, 1.1))
def test_neither_part_ever_takes_more_than_its_budget(photos: Path, tmp_path: Path, train: float, test: float) -> None:
    cache = _build(photos, tmp_path, train, test)
    assert cache.offsets[TRAIN] <= train * TRAIN * RAW
    assert cache.offsets[-1] - cache.offsets[TRAIN] <= test * (COUNT - TRAIN) * RAW


def test_the_file_takes_exactly_the_bytes_of_its_entries(photos: Path, tmp_path: Path) -> None:
    cache = _build(photos, tmp_path, 0.5)
    assert (cache.directory / "pixels.bin").stat().st_size == cache.offsets[-1]


def test_only_pictures_that_do_not_fit_are_jpeg_and_the_others_are_exact(photos: Path, tmp_path: Path) -> None:
    cache = _build(photos, tmp_path, 0.6)
    assert 0 < cache.is_jpeg[:TRAIN].sum() < TRAIN
    assert not cache.is_jpeg[TRAIN:].any()
    for row in np.flatnonzero(~cache.is_jpeg):
        np.testing.assert_array_equal(cache.image(int(row)), read_image(photos / NAMES[row]))


def test_a_picture_kept_as_jpeg_comes_back_read_only_at_its_size_and_looking_the_same(
    photos: Path, tmp_path: Path
) -> None:
    cache = _build(photos, tmp_path, 0.6)
    rows = [int(row) for row in np.flatnonzero(cache.is_jpeg) if row % 4]  # without the noise
    assert rows
    for row in rows:
        picture, original = cache.image(row), read_image(photos / NAMES[row])
        assert (picture.shape, picture.dtype) == (original.shape, np.uint8)
        assert not picture.flags.writeable
        assert np.abs(picture.astype(int) - original).mean() < 4


def test_the_number_of_threads_does_not_change_a_cache_with_jpegs(photos: Path, tmp_path: Path) -> None:
    one = _build(photos, tmp_path / "one", 0.6, workers=1)
    four = _build(photos, tmp_path / "four", 0.6, workers=4)
    assert one.pixels.tobytes() == four.pixels.tobytes()
    assert one.directory.name == four.directory.name


def test_a_budget_that_changes_nothing_opens_the_same_cache(photos: Path, tmp_path: Path) -> None:
    first = _build(photos, tmp_path, 1.0)
    inode = (first.directory / "pixels.bin").stat().st_ino
    assert (_build(photos, tmp_path, 7.0).directory / "pixels.bin").stat().st_ino == inode


def test_a_budget_that_keeps_other_photos_as_jpeg_makes_another_cache(photos: Path, tmp_path: Path) -> None:
    assert _build(photos, tmp_path, 0.6).directory != _build(photos, tmp_path, 0.5).directory


def test_an_existing_cache_is_found_without_opening_a_photo(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = _build(photos, tmp_path, 0.6)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a photo was opened")

    monkeypatch.setattr(Image, "open", refuse)
    assert _build(photos, tmp_path, 0.6).directory == first.directory


def test_damaged_sizes_are_read_again_from_the_headers(photos: Path, tmp_path: Path) -> None:
    first = _build(photos, tmp_path, 0.6)
    (kept,) = tmp_path.glob("*.npz")
    data = bytearray(kept.read_bytes())
    data[len(data) // 2] ^= 1
    kept.write_bytes(data)
    assert _build(photos, tmp_path, 0.6).directory == first.directory


def test_too_small_a_budget_is_an_error_before_anything_is_decoded(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cache\.train_gb: .* is too little for 16 training photos"):
        _build(photos, tmp_path, 0.01)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_broken_files_take_nothing_and_the_others_keep_their_numbers(photos: Path, tmp_path: Path) -> None:
    (photos / "broken.png").write_bytes(
        (photos / "0.png").read_bytes()[:100]
    )  # the header is whole, the pixels are not
    names = ["1.png", "broken.png", "2.png"]
    parts = [Part("training photos", "cache.train_gb", 3, int(1.5 * RAW))]
    cache, problems = build_cache(photos, names, short_side=60, directory=tmp_path, parts=parts)
    assert [problem.row for problem in problems] == [1]
    assert cache.offsets[1] == cache.offsets[2]
    for row in (0, 2):
        difference = cache.image(row).astype(int) - read_image(photos / names[row])
        assert np.abs(difference).mean() < 4


# ---- the disk -------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot set space aside")
def test_a_disk_that_is_too_small_is_known_before_the_first_photo_is_decoded(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def full(descriptor: int, offset: int, size: int) -> None:
        asked.append(size)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    done: list[tuple[int, int]] = []
    with pytest.raises(DataError, match=r"No space left on device\. It needs 0\.00 GB, and [\d.]+ GB are free"):
        build_cache(photos, NAMES, short_side=60, directory=tmp_path, progress=lambda *call: done.append(call))
    assert asked == [COUNT * RAW]
    assert done == []
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot set space aside")
def test_a_file_system_that_cannot_set_space_aside_is_written_to_all_the_same(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", unsupported)
    np.testing.assert_array_equal(_build(photos, tmp_path, 1.0).image(3), read_image(photos / "3.png"))


def test_a_limit_that_the_system_enforces_is_an_error_and_no_signal(photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("resource")
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from automl_car.data.cache import build_cache; from automl_car.errors import DataError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))\n"
        "try: build_cache(Path(sys.argv[1]), sys.argv[3:], short_side=60, directory=Path(sys.argv[2]))\n"
        "except DataError as error: print(error.message)\n"
    )
    run = subprocess.run([sys.executable, "-c", code, photos, tmp_path, *NAMES], capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
    assert "cannot be written" in run.stdout
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


# ---- memory ---------------------------------------------------------------------------------------------------------


def test_a_photo_more_takes_less_than_150_bytes_of_memory_while_a_cache_is_built(photos: Path, tmp_path: Path) -> None:
    Image.new("RGB", (2, 2)).save(photos / "tiny.png")
    peaks = []
    for count in (200, 2000):
        names = ["tiny.png"] * count
        tracemalloc.start()
        build_cache(photos, names, short_side=8, directory=tmp_path, workers=2)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (peaks[1] - peaks[0]) / 1800 < 150  # of 100,000 photos: 15 MB
