"""What killed processes leave is removed; what is being written is not (I6 of the fault matrix)."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from automl_car.files import complete_folder, open_atomically
from automl_car.leftovers import ABANDONED_SECONDS, is_abandoned, remove_leftovers, tag

_KILLED = """
import os, signal, sys
from pathlib import Path
from automl_car.files import complete_folder, open_atomically
root = Path(sys.argv[1])
with open_atomically(root / "a") as file, complete_folder(root / "deep" / "b") as folder:
    (folder / "half").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def _age(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds, time.time() - seconds))


def test_what_a_killed_process_was_writing_is_removed_at_once(tmp_path: Path) -> None:
    assert subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path)], check=False).returncode == -9
    assert len([path for path in tmp_path.rglob("*") if is_abandoned(path)]) == 2
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["deep"]


def test_what_this_process_is_writing_stays(tmp_path: Path) -> None:
    with open_atomically(tmp_path / "a") as file, complete_folder(tmp_path / "b") as folder:
        file.write(b"half")
        (folder / "half").write_text("half")
        remove_leftovers(tmp_path)
    assert (tmp_path / "a").read_bytes() == b"half"
    assert (tmp_path / "b" / "half").is_file()


@pytest.mark.parametrize("name", [".00000000-1-01234567.tmp", ".0123456789abcdef.tmp", "b.partial-1"])
def test_of_another_machine_or_an_earlier_version_age_decides(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("half")
    assert not is_abandoned(path)
    _age(path, ABANDONED_SECONDS + 60)
    assert is_abandoned(path)


def test_a_process_number_that_is_used_again_hides_nothing_for_ever(tmp_path: Path) -> None:
    path = tmp_path / f".{tag()}.tmp"  # of a process that lives: this one
    path.write_text("half")
    _age(path, ABANDONED_SECONDS + 3600)  # a clock was put forward
    assert not is_abandoned(path)
    _age(path, 2 * 86_400)
    assert is_abandoned(path)


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    for name in ("a.tmp", ".hidden", "b.partial"):
        (tmp_path / name).write_text("mine")
        _age(tmp_path / name, 10 * ABANDONED_SECONDS)
    remove_leftovers(tmp_path)
    assert len(list(tmp_path.iterdir())) == 3
