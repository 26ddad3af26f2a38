"""Every file that a search leaves, cut off or with a flipped bit (rows 4 and 5 of the fault matrix).

The same command goes on, trains nothing but what is damaged, and comes to the same. Every byte of the last record of
the ledger, of a fold and of the prepared data is cut off in the tests of these modules, where that takes seconds.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from fault_scene import Scene
from in_process import remove_set_aside, search_here

Damage = Callable[[bytes], bytes]
_PLACES = 48  # of each file


@pytest.fixture(scope="module")
def whole(make_scene: Callable[[], Scene]) -> Scene:
    """A finished search in which nothing is damaged; whoever damages it mends it."""
    scene = make_scene()
    search_here(scene)
    _settle(scene)
    scene.look()
    return scene


@pytest.fixture
def broken(whole: Scene, tmp_path: Path) -> Scene:
    """A copy of it, to be damaged."""
    shutil.copytree(whole.root, tmp_path / "copy")
    copy = Scene(tmp_path / "copy")
    search_here(copy)  # what names its folder is written again
    _settle(copy)
    copy.look()
    return copy


def _settle(scene: Scene) -> None:
    """Write SQLite's log into the database, as the last process that closes it does."""
    with closing(sqlite3.connect(scene.study)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _state_files(scene: Scene) -> list[Path]:
    """One file of each kind."""
    kinds: dict[str, Path] = {}
    folders = ("checkpoints", "studies")
    for path in sorted(path for folder in folders for path in (scene.root / folder).rglob("*") if path.is_file()):
        kind = path.name if len(path.stem) != 16 else f"<key>{path.suffix}"
        if path.suffix not in (".lock", ".db-shm", ".db-wal"):
            kinds.setdefault(kind if path.name != "sha256.txt" else f"{path.parent.parent.name}/{path.name}", path)
    return list(kinds.values())


def _cut(length: int) -> Damage:
    return lambda data: data[:length]


def _flip(place: int) -> Damage:
    return lambda data: data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1 :]


def _is_recovered(scene: Scene, whole: Scene, damaged: list[Path]) -> None:
    """The search was run again: all is as before, and no fold was trained that was not damaged."""
    ours, theirs = scene.log_losses(), whole.log_losses()
    assert ours.keys() == theirs.keys()
    assert ours == pytest.approx(theirs, abs=1e-9)
    assert np.abs(scene.probabilities() - whole.probabilities()).max() < 1e-9
    folds = {str(path.parent.relative_to(scene.store)) for path in damaged if path.parent.name.startswith("fold-")}
    now = {name: path.stat().st_mtime_ns for name, path in scene.records().items()}
    assert {name for name, when in now.items() if scene.finished.get(name) != when} <= folds
    assert scene.leftovers() == []
    with closing(sqlite3.connect(scene.study)) as connection:
        states = connection.execute("SELECT number, state FROM trials ORDER BY number").fetchall()
    assert states == [(number, "COMPLETE") for number in range(4)]


def _damage(path: Path, damage: Damage) -> None:
    path.write_bytes(damage(path.read_bytes()))


def _middle(path: Path) -> int:
    return path.stat().st_size // 2


# ---- all at once ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["cut in the middle", "emptied", "one bit flipped", "deleted"])
def test_a_search_of_which_every_kind_of_file_is_damaged_comes_to_the_same(
    broken: Scene, whole: Scene, kind: str
) -> None:
    files = _state_files(broken)
    assert len(files) >= 18, files
    for path in files:
        if path.name in ("folds.csv", "trials.jsonl"):  # of each the other half of a pair is damaged here
            continue
        if kind == "deleted":
            path.unlink()
        else:
            _damage(path, _flip(_middle(path)) if "flip" in kind else _cut(0 if kind == "emptied" else _middle(path)))
    search_here(broken)
    _is_recovered(broken, whole, files)


# ---- one by one -----------------------------------------------------------------------------------------------------


def _last_record(data: bytes) -> int:
    """Where the last line begins of a file that is written line by line; else 0."""
    return data[:-1].rfind(b"\n") + 1


def _one_by_one(scene: Scene, whole: Scene, count: int) -> Iterator[str]:
    """Damage one file at one place and search again; yields what was done."""
    choose = random.Random(0)
    for path in _state_files(whole):
        mine = scene.root / path.relative_to(whole.root)
        for _ in range(count):
            for damage in (_cut, _flip):
                _settle(scene)
                data = mine.read_bytes()
                place = choose.randrange(_last_record(data) if path.suffix == ".jsonl" else 0, len(data))
                _damage(mine, damage(place))
                search_here(scene)
                _is_recovered(scene, whole, [mine])
                scene.finished = {name: record.stat().st_mtime_ns for name, record in scene.records().items()}
                remove_set_aside(scene)
                yield f"{path.name} at {place}"


@pytest.mark.slow
def test_each_file_cut_and_flipped_at_some_places(broken: Scene, whole: Scene) -> None:
    assert sum(1 for _ in _one_by_one(broken, whole, 2)) > 80


@pytest.mark.long
def test_each_file_cut_and_flipped_at_many_places(
    broken: Scene, whole: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    done = sum(1 for _ in _one_by_one(broken, whole, _PLACES))
    with capsys.disabled():
        print(f"\n{done} cuts and flipped bits, all recovered")
