"""The pictures of docs/scale.md, drawn from made-up numbers in the form that the benchmarks print."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SWARM = [
    {"trials": trials, "busy": 0.95, "driver": 0.2 + trials / 10_000, "ask": 10 + trials / 100, "rate": 9.5}
    for trials in (*range(200, 2001, 180), 2000)
]
IMAGES = [
    {
        "photos": photos,
        "steps": [
            {"name": "folds", "seconds": photos / 1e3, "megabytes": photos / 1e4, "computed": False},
            {"name": "pairs", "seconds": photos**2 / 1e8, "megabytes": 0.0, "computed": photos > 1000},
            {"name": "a blink", "seconds": 0.001, "megabytes": 1.0, "computed": False},
        ],
    }
    for photos in (1000, 10_000)
]


@pytest.fixture(scope="module")
def plots() -> Iterator[ModuleType]:
    """The benchmark as a module."""
    sys.path.insert(0, str(BENCHMARKS))
    yield importlib.import_module("plots")
    sys.path.remove(str(BENCHMARKS))


def _draw(plots: ModuleType, monkeypatch: pytest.MonkeyPatch, to: Path, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["plots.py", "--to", str(to), *arguments])
    plots.main()


def _written(folder: Path, name: str, rows: Any) -> Path:
    path = folder / name
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def test_swarms_are_drawn_with_their_names(plots: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = _written(tmp_path, "swarm.json", SWARM)
    _draw(plots, monkeypatch, tmp_path, "--swarm", f"64 workers={file}", f"1,000 workers={file}")
    drawn = (tmp_path / "swarm.svg").read_text(encoding="utf-8")
    assert all(text in drawn for text in ("64 workers", "1,000 workers", "workers busy, %", "an ask, ms"))


def test_steps_are_drawn_with_their_names_but_for_those_that_take_no_time(
    plots: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _draw(plots, monkeypatch, tmp_path, "--images", str(_written(tmp_path, "images.json", IMAGES)))
    drawn = (tmp_path / "images.svg").read_text(encoding="utf-8")
    assert "folds" in drawn
    assert "pairs (~)" in drawn
    assert "a blink" not in drawn


def test_the_same_numbers_give_the_same_file(
    plots: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file, drawn = _written(tmp_path, "swarm.json", SWARM), []
    for _ in range(2):
        _draw(plots, monkeypatch, tmp_path, "--swarm", f"64 workers={file}")
        drawn.append((tmp_path / "swarm.svg").read_bytes())
    assert drawn[0] == drawn[1]
