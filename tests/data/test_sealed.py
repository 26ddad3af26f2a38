"""Checksums of the prepared data, and what cannot be made again: nothing damaged is taken for true."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from automl_car.data.index import read_dataset
from automl_car.data.prepare import Prepared, open_prepared, prepare
from automl_car.data.sealed import FILE, check_seal, copy_of, mend, seal, whole
from automl_car.errors import AutomlCarError, StoreError

SEALED = ("dataset.json", "folds.csv", "audit.json", "prepared.json")


@pytest.fixture
def root(tmp_path: Path, tiny_prepared: Prepared) -> Path:
    """The tiny photos, prepared, in a folder of its own."""
    source = tiny_prepared.images.directory.parent.parent.parent
    shutil.copytree(source, tmp_path / "root")
    _prepare(tmp_path / "root")
    return tmp_path / "root"


def _prepare(root: Path) -> Prepared:
    return prepare(
        read_dataset(root / "data"),
        cache_directory=root / "cache",
        study_directory=root / "study",
        short_side=32,
        folds=3,
        seed=0,
    )


def _open(root: Path) -> Prepared:
    return open_prepared(root / "study", root / "cache")


def _flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1 << place % 8
    path.write_bytes(data)


# ---- seals ----------------------------------------------------------------------------------------------------------


def test_the_checksums_are_those_of_sha256sum(root: Path) -> None:
    checked = subprocess.run(["sha256sum", "-c", FILE], cwd=root / "study", capture_output=True, text=True, check=True)
    assert checked.stdout.splitlines() == [f"{name}: OK" for name in SEALED]


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    seal(tmp_path, "a")
    check_seal(tmp_path / "a")
    _flip(tmp_path / "a", 1)
    with pytest.raises(ValueError, match="a does not match its checksum"):
        check_seal(tmp_path / "a")


@pytest.mark.parametrize("name", [*SEALED, FILE])
def test_prepared_data_cut_or_flipped_anywhere_are_refused_or_what_they_were(root: Path, name: str) -> None:
    path, before = root / "study" / name, _open(root)
    data = path.read_bytes()
    for place in range(0, len(data), 23):
        for damaged in (data[:place], data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1 :]):
            path.write_bytes(damaged)
            try:
                again = _open(root)
            except AutomlCarError:
                continue
            assert again.dataset == before.dataset
            assert again.folds.fingerprint == before.folds.fingerprint
            np.testing.assert_array_equal(again.train_entries, before.train_entries)


@pytest.mark.parametrize("name", [*SEALED, FILE])
def test_the_next_search_writes_damaged_data_anew(root: Path, name: str) -> None:
    before = _open(root)
    _flip(root / "study" / name, 150 if name != FILE else 3)
    assert _prepare(root).folds.fingerprint == before.folds.fingerprint
    assert _open(root).dataset == before.dataset


# ---- folds.csv, which cannot be made again --------------------------------------------------------------------------


def _another_fold(path: Path) -> None:
    """A flipped bit that no reading of the file can tell: a photo in another fold."""
    lines = path.read_text().splitlines()
    cells = lines[1].split(",")
    cells[2] = str((int(cells[2]) + 1) % 3)
    path.write_text("\n".join([lines[0], ",".join(cells), *lines[2:], ""]))


@pytest.mark.parametrize("damage", [_another_fold, Path.unlink, lambda path: path.write_bytes(b"")])
def test_damaged_folds_come_back_from_their_copy(root: Path, damage: Callable[[Path], None]) -> None:
    path, before = root / "study" / "folds.csv", _open(root).folds.fingerprint
    data = path.read_bytes()
    damage(path)
    assert _open(root).folds.fingerprint == before
    assert _prepare(root).folds.fingerprint == before
    assert path.read_bytes() == data


def test_a_damaged_copy_is_written_again(root: Path) -> None:
    path = root / "study" / "folds.csv"
    _another_fold(copy_of(path))
    assert whole(path) == path
    assert not mend(path)
    assert copy_of(path).read_bytes() == path.read_bytes()


def test_folds_of_an_earlier_version_get_a_copy(root: Path) -> None:
    path, before = root / "study" / "folds.csv", _open(root).folds.fingerprint
    copy_of(path).unlink()
    (root / "study" / FILE).unlink()
    assert _prepare(root).folds.fingerprint == before
    assert copy_of(path).read_bytes() == path.read_bytes()


# ---- pictures -------------------------------------------------------------------------------------------------------


def test_a_damaged_picture_is_made_again_in_its_place_bit_by_bit(root: Path) -> None:
    pixels = _open(root).images.directory / "pixels.bin"
    data, before = pixels.read_bytes(), [_open(root).train_image(row) for row in range(36)]
    for place in range(0, len(data), len(data) // 7):
        _flip(pixels, place)
    again = _open(root)
    for row, picture in enumerate(before):
        np.testing.assert_array_equal(again.train_image(row), picture)
    for row in range(5):
        again.test_image(row)
    assert pixels.read_bytes() == data


def test_a_damaged_picture_whose_photo_has_changed_is_an_error_that_says_what_to_do(root: Path) -> None:
    prepared = _open(root)
    _flip(prepared.images.directory / "pixels.bin", 5)
    (prepared.dataset.root / prepared.dataset.train_paths[0]).write_bytes(b"gone")
    with pytest.raises(StoreError, match="Picture 0 of the image cache") as caught:
        prepared.train_image(0)
    assert "delete that folder" in (caught.value.hint or "")


def test_a_picture_that_cannot_be_made_again_names_its_file(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = _open(root)
    pixels = prepared.images.directory / "pixels.bin"
    _flip(pixels, 5)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        prepared.train_image(0)
    assert caught.value.filename == str(pixels)


def test_a_damaged_picture_that_was_kept_as_jpeg_is_the_same_afterwards(tmp_path: Path, tiny_dataset: Path) -> None:
    from automl_car.data.budget import Budgets

    def go() -> Prepared:
        return prepare(
            read_dataset(tiny_dataset),
            cache_directory=tmp_path / "cache",
            study_directory=tmp_path / "study",
            short_side=32,
            folds=3,
            seed=0,
            budgets=Budgets(36_000, 8_000),
        )

    images = go().images
    assert images.is_jpeg.any()
    pixels = images.directory / "pixels.bin"
    data = pixels.read_bytes()
    for row in np.flatnonzero(images.is_jpeg):
        _flip(pixels, int(images.offsets[row]) + 50)
    again = go()
    for row in range(36):
        again.train_image(row)
    for row in range(5):
        again.test_image(row)
    assert pixels.read_bytes() == data
