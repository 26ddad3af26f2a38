from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from automl_car.data.cache import ImageCache, Problem, build_cache
from automl_car.data.facts import read_facts
from automl_car.data.images import read_image
from automl_car.errors import DataError, StoreError

NAMES = ["a.png", "b.png", "하나.png"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three pictures of different sizes and one broken file."""
    root = tmp_path / "photos"
    root.mkdir()
    rng = np.random.default_rng(0)
    for name, size in zip(NAMES, [(30, 40), (16, 24), (8, 9)], strict=True):
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(root / name)
    (root / "broken.png").write_bytes(b"not an image")
    return root


def _build(photos: Path, names: list[str] = NAMES, *, short_side: int = 16) -> ImageCache:
    return build_cache(photos, names, short_side=short_side, directory=photos.parent / "cache", workers=2)[0]


def _folders(directory: Path) -> list[Path]:
    return [path for path in directory.iterdir() if path.is_dir()]


def test_each_entry_is_the_picture_that_read_image_gives(photos: Path) -> None:
    cache = _build(photos)
    assert len(cache) == 3
    for row, name in enumerate(NAMES):
        np.testing.assert_array_equal(cache.image(row), read_image(photos / name, short_side=16))


def test_a_picture_is_a_read_only_view_without_a_copy(photos: Path) -> None:
    cache = _build(photos)
    assert np.shares_memory(cache.image(1), cache.pixels)
    assert not cache.image(1).flags.writeable


@pytest.mark.parametrize("row", [-1, 3])
def test_an_entry_that_is_not_there_is_an_error_and_never_another_picture(photos: Path, row: int) -> None:
    with pytest.raises(IndexError, match="3 entries"):
        _build(photos).image(row)


def test_a_file_that_cannot_be_decoded_is_reported_and_its_entry_is_empty(photos: Path) -> None:
    cache, problems = build_cache(photos, ["a.png", "broken.png"], short_side=16, directory=photos / "cache")
    assert [(problem.row, problem.path) for problem in problems] == [(1, "broken.png")]
    assert "not an image" in problems[0].reason
    with pytest.raises(IndexError, match="broken"):
        cache.image(1)


def test_a_photo_with_damaged_exif_is_used_without_a_warning(photos: Path) -> None:
    buffer = BytesIO()
    Image.new("RGB", (20, 20), "red").save(buffer, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\0\0")
    (photos / "exif.jpg").write_bytes(buffer.getvalue())
    _, problems = build_cache(photos, ["exif.jpg"], short_side=16, directory=photos / "cache")
    assert problems == ()


def test_a_complete_cache_is_opened_without_decoding_again(photos: Path) -> None:
    first = _build(photos)
    calls: list[tuple[int, int]] = []
    second, _ = build_cache(
        photos, NAMES, short_side=16, directory=photos.parent / "cache", progress=lambda *call: calls.append(call)
    )
    assert second.directory == first.directory
    assert calls == []


def test_problems_are_remembered_by_a_complete_cache(photos: Path) -> None:
    arguments = {"short_side": 16, "directory": photos / "cache"}
    _, first = build_cache(photos, ["a.png", "broken.png"], **arguments)
    _, second = build_cache(photos, ["a.png", "broken.png"], **arguments)
    assert second == first == (Problem(1, "broken.png", first[0].reason),)


def test_progress_counts_each_file_once(photos: Path) -> None:
    calls: list[tuple[int, int]] = []
    build_cache(photos, NAMES, short_side=16, directory=photos / "cache", progress=lambda *call: calls.append(call))
    assert calls == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("change", ["content", "time", "one more", "one less", "order", "short side"])
def test_every_change_makes_another_cache(photos: Path, change: str) -> None:
    before = _build(photos).directory
    names, short_side = list(NAMES), 16
    if change == "content":
        Image.new("RGB", (5, 5)).save(photos / "a.png")
    elif change == "time":
        os.utime(photos / "a.png", ns=(0, 12345))
    elif change == "one more":
        names.append("broken.png")
    elif change == "one less":
        names.pop()
    elif change == "order":
        names.reverse()
    else:
        short_side = 20
    assert _build(photos, names, short_side=short_side).directory != before


def test_the_number_of_threads_does_not_change_the_cache(photos: Path) -> None:
    names = NAMES * 10
    one, _ = build_cache(photos, names, short_side=16, directory=photos / "one", workers=1)
    four, _ = build_cache(photos, names, short_side=16, directory=photos / "four", workers=4)
    assert one.pixels.tobytes() == four.pixels.tobytes()


def test_an_interrupted_build_leaves_no_half_of_a_cache(photos: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_cache(photos, NAMES, short_side=16, directory=photos / "cache", progress=interrupt)
    assert _folders(photos / "cache") == []


def test_a_full_disk_is_a_data_error_that_tells_the_need_and_leaves_no_half_of_a_cache(photos: Path) -> None:
    resource = pytest.importorskip("resource")
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (600, 600, 3), dtype=np.uint8)).save(photos / "large.png")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(DataError, match="cannot be written") as error:
            build_cache(photos, ["large.png"], short_side=600, directory=photos / "cache")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "It needs 0.00 GB, and" in error.value.message
    assert "Free space" in str(error.value.hint)
    assert _folders(photos / "cache") == []


@pytest.mark.parametrize(
    "damage", ["shortened pixels", "missing pixels", "damaged index", "older index", "missing folder"]
)
def test_a_damaged_cache_is_noticed_when_it_is_opened(photos: Path, damage: str) -> None:
    directory = _build(photos).directory
    if damage == "shortened pixels":
        content = (directory / "pixels.bin").read_bytes()
        (directory / "pixels.bin").write_bytes(content[:-1])
    elif damage == "missing pixels":
        (directory / "pixels.bin").unlink()
    elif damage == "damaged index":
        (directory / "index.npz").write_bytes(b"PK")
    elif damage == "older index":
        with np.load(directory / "index.npz") as index:
            np.savez(directory / "index.npz", offsets=index["offsets"], shapes=index["shapes"])
    else:
        directory = directory / "nowhere"
    with pytest.raises(StoreError, match="damaged or incomplete"):
        ImageCache.open(directory)


def test_a_damaged_cache_is_built_again(photos: Path) -> None:
    directory = _build(photos).directory
    (directory / "pixels.bin").write_bytes(b"")
    np.testing.assert_array_equal(_build(photos).image(1), read_image(photos / "b.png"))


def test_what_a_killed_build_left_is_removed_but_a_running_build_is_not(photos: Path) -> None:
    killed, running = (photos.parent / "cache" / f"0123.partial-{name}" for name in ("killed", "running"))
    for folder in (killed, running):
        folder.mkdir(parents=True)
        (folder / "pixels.bin").write_bytes(b"x")
    for path in (killed / "pixels.bin", killed):
        os.utime(path, (0, 0))
    _build(photos)
    assert not killed.exists()
    assert running.exists()


def test_a_copy_for_another_process_carries_no_pixels_and_opens_the_same_file(photos: Path) -> None:
    Image.effect_noise((200, 200), 50).convert("RGB").save(photos / "a.png")
    cache = _build(photos, short_side=200)
    message = pickle.dumps(cache)
    assert len(message) < 1000 < len(cache.pixels)
    np.testing.assert_array_equal(pickle.loads(message).image(0), cache.image(0))


def test_another_process_sees_the_same_pixels(photos: Path) -> None:
    cache = _build(photos)
    code = (
        "import hashlib, sys; from pathlib import Path; from automl_car.data.ragged import ImageCache;"
        "print(hashlib.sha1(ImageCache.open(Path(sys.argv[1])).image(2).tobytes()).hexdigest())"
    )
    run = subprocess.run([sys.executable, "-c", code, cache.directory], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == hashlib.sha1(cache.image(2).tobytes()).hexdigest()


def test_the_facts_are_those_of_the_files_and_not_of_the_reduced_pictures(photos: Path) -> None:
    Image.new("CMYK", (50, 40)).save(photos / "cmyk.jpg")
    cache, _ = build_cache(photos, ["cmyk.jpg", "broken.png"], short_side=8, directory=photos / "cache")
    facts = read_facts(cache.directory)
    assert facts.sizes.tolist() == [[50, 40], [0, 0]]
    assert facts.modes.tolist() == ["CMYK", ""]
    assert facts.sha1s.tolist() == [hashlib.sha1((photos / "cmyk.jpg").read_bytes()).digest(), b""]


def test_damaged_facts_are_noticed(photos: Path) -> None:
    directory = _build(photos).directory
    (directory / "facts.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(StoreError, match="damaged or incomplete"):
        read_facts(directory)


def test_a_cache_of_nothing_can_be_built_and_opened(photos: Path) -> None:
    assert len(_build(photos, [])) == 0
