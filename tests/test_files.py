from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import numpy as np
import pytest

from automl_car.files import (
    complete_folder,
    open_atomically,
    replaced_folder,
    save_array,
    write_atomically,
)
from automl_car.leftovers import ABANDONED_SECONDS


def test_text_is_written_as_utf8_with_its_line_ends(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a.csv", "차\r\n")
    assert (tmp_path / "a.csv").read_bytes() == b"\xec\xb0\xa8\r\n"


def test_bytes_replace_an_existing_file_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old and longer")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_keeps_the_old_file_and_leaves_no_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_a_new_file_has_the_permissions_that_the_umask_gives(tmp_path: Path) -> None:
    write_atomically(tmp_path / "ours", "x")
    (tmp_path / "plain").write_text("x")
    assert stat.S_IMODE((tmp_path / "ours").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "missing" / "a.txt", "x")


def test_a_saved_array_reads_back_equal(tmp_path: Path) -> None:
    array = np.arange(6, dtype=np.float16).reshape(2, 3)
    save_array(tmp_path / "a.npy", array)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy", allow_pickle=False), array, strict=True)


def test_an_array_of_objects_is_refused_because_reading_it_would_unpickle(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="pickle"):
        save_array(tmp_path / "a.npy", np.array([{}], dtype=object))


def test_a_folder_has_its_name_only_when_all_of_it_is_written(tmp_path: Path) -> None:
    with complete_folder(tmp_path / "cache") as folder:
        (folder / "a").write_text("half")
        assert not (tmp_path / "cache").exists()
    assert (tmp_path / "cache" / "a").read_text() == "half"


def test_a_folder_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "a").write_text("half")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), complete_folder(tmp_path / "cache") as folder:
        fail(folder)
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_faster_process_stays(tmp_path: Path) -> None:
    with complete_folder(tmp_path / "cache") as folder:
        (folder / "a").write_text("slow")
        (tmp_path / "cache").mkdir()
        (tmp_path / "cache" / "a").write_text("fast")
    assert (tmp_path / "cache" / "a").read_text() == "fast"
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_what_a_killed_process_left_is_removed_and_what_is_being_written_stays(tmp_path: Path) -> None:
    for name, age in (("old", ABANDONED_SECONDS + 60), ("new", 0)):
        folder = tmp_path / f"{name}.partial-1"
        folder.mkdir()
        (folder / "a").write_text("half")
        moment = time.time() - age
        for path in (folder / "a", folder):
            os.utime(path, (moment, moment))
    with complete_folder(tmp_path / "cache"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "new.partial-1"]


def test_a_replaced_folder_holds_only_what_was_written(tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "old").write_text("old")
    with replaced_folder(tmp_path / "bundle") as folder:
        (folder / "new").write_text("new")
        assert (tmp_path / "bundle" / "old").is_file()
    assert [path.name for path in (tmp_path / "bundle").iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_folder_that_cannot_be_replaced_stays_as_it_was(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "new").write_text("half")
        raise ZeroDivisionError

    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "old").write_text("old")
    with pytest.raises(ZeroDivisionError), replaced_folder(tmp_path / "bundle") as folder:
        fail(folder)
    assert [path.name for path in (tmp_path / "bundle").iterdir()] == ["old"]
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_file_written_in_pieces_replaces_the_old_one_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with open_atomically(tmp_path / "a") as file:
        file.write(b"new, ")
        file.write(b"and whole")
        assert (tmp_path / "a").read_text() == "old"
    assert (tmp_path / "a").read_text() == "new, and whole"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
