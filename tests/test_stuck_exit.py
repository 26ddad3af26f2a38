"""A run of tests that is through, and does not end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import stuck_exit

CONFTEST = """
import stuck_exit
from stuck_exit import pytest_unconfigure

stuck_exit.PATIENCE_SECONDS = SECONDS
"""
HOLDS = {
    "nothing": "pass",
    "a thread": "import threading, time; threading.Thread(target=time.sleep, args=(60,)).start()",
    "what is done at an exit": "import atexit, time; atexit.register(time.sleep, 60)",
}


def _run(folder: Path, held_by: str, seconds: float) -> subprocess.CompletedProcess[str]:
    (folder / "pytest.ini").write_text(f"[pytest]\npythonpath = {Path(stuck_exit.__file__).parent}\n")
    (folder / "conftest.py").write_text(CONFTEST.replace("= SECONDS", f"= {seconds}"))
    (folder / "test_it.py").write_text(f"def test_it():\n    {HOLDS[held_by]}\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=50)


@pytest.mark.parametrize("held_by", ["a thread", "what is done at an exit"])
def test_what_holds_it_is_named_and_it_fails(held_by: str, tmp_path: Path) -> None:
    ended = _run(tmp_path, held_by, 0.5)
    assert ended.returncode == 1
    assert "1 passed" in ended.stdout
    assert "Timeout (0:00:00.500000)!" in ended.stderr
    assert "in _shutdown" in ended.stderr or held_by != "a thread"


def test_a_run_that_ends_is_left_alone(tmp_path: Path) -> None:
    ended = _run(tmp_path, "nothing", 45)
    assert (ended.returncode, ended.stderr) == (0, "")
