"""What the system refuses, told in a line that names the file (rows 6 and 7 of the fault matrix)."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import automl_car
from automl_car.errors import MachineError
from automl_car.files import require_writable, save_array, sync_folder, write_atomically
from automl_car.system_errors import as_machine_error


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "free space"),
        (errno.EDQUOT, "free space"),
        (errno.EROFS, "make it writable"),
        (errno.EMFILE, "ulimit -n"),
        (errno.EIO, "the disk or its connection"),
    ],
)
def test_the_hint_says_what_to_mend_and_how_to_go_on(number: int, words: str) -> None:
    told = as_machine_error(OSError(number, os.strerror(number), "some/file"))
    assert told is not None
    assert told.message == f"`some/file` cannot be written: {os.strerror(number)}."
    assert words in (told.hint or "")
    assert "run the same command again" in (told.hint or "")


def test_a_file_of_the_user_that_may_not_be_read_is_named() -> None:
    told = as_machine_error(PermissionError(errno.EACCES, "Permission denied", "photo.jpg"))
    assert told is not None
    assert told.message == "`photo.jpg` cannot be used: Permission denied."


@pytest.mark.parametrize("path", [Path(automl_car.__file__).with_name("gone.py"), Path(sys.prefix) / "lib" / "gone.so"])
def test_a_missing_file_of_the_program_is_a_bug(path: Path) -> None:
    assert as_machine_error(FileNotFoundError(errno.ENOENT, "No such file or directory", str(path))) is None


def test_an_error_without_a_number_is_a_bug() -> None:
    assert as_machine_error(OSError("something")) is None


def test_in_training_a_missing_right_counts_where_the_fold_and_the_caches_lie(tmp_path: Path) -> None:
    def denied(path: Path) -> PermissionError:
        return PermissionError(errno.EACCES, "Permission denied", str(path))

    assert as_machine_error(denied(tmp_path / "fold" / "a"), folders=(tmp_path,)) is not None
    assert as_machine_error(denied(Path("/somewhere/weights.pt")), folders=(tmp_path,)) is None
    assert as_machine_error(FileNotFoundError(2, "No such file", "weights.pt"), folders=(tmp_path,)) is None


# ---- the path that a write does not tell ----------------------------------------------------------------------------


def _full(descriptor: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    "write",
    [lambda path: write_atomically(path, "x"), lambda path: save_array(path, np.zeros(3))],
    ids=["text", "array"],
)
def test_a_write_that_fails_names_the_file_that_was_wanted(
    write: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", _full)
    with pytest.raises(OSError, match="No space left") as caught:
        write(tmp_path / "wanted")
    assert caught.value.filename == str(tmp_path / "wanted")


def test_a_temporary_file_that_cannot_be_made_is_told_as_the_one_that_was_wanted(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        write_atomically(tmp_path / "missing" / "wanted", "x")
    assert caught.value.filename == str(tmp_path / "missing" / "wanted")


def test_a_folder_that_cannot_be_written_to_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", _full)
    with pytest.raises(OSError, match="No space left") as caught:
        sync_folder(tmp_path)
    assert caught.value.filename == str(tmp_path)


# ---- before anything is trained -------------------------------------------------------------------------------------


def test_a_folder_is_made_and_left_empty(tmp_path: Path) -> None:
    require_writable(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_place_below_a_file_cannot_be_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MachineError, match=r"file/folder` cannot be used: Not a directory"):
        require_writable(tmp_path / "file" / "folder")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_folder_that_takes_no_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    # Tests may run as root, whom the rights of a folder do not bind.
    def refuse(path: Path, *arguments: object, **options: object) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(MachineError) as caught:
        require_writable(tmp_path)
    assert f"`{tmp_path}` cannot be" in caught.value.message
    assert "make it writable" in (caught.value.hint or "")
