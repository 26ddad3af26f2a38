"""A whole search whose training process has none of the driver's folders: the same losses as without an exchange."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from automl_car import pipeline
from automl_car.config import load_config
from automl_car.records import FoldResult, FoldTask, Machine, Recipe, Speed, SpeedTask
from automl_car.search.executor import LocalExecutor
from automl_car.store import read_logits, read_result
from automl_car.workspace import Workspace

pytestmark = pytest.mark.slow

SETTINGS = """
data: {folds: 2}
search: {study: main, trials: 4, tuning: both, backbones: [toy, toy_large], augmentations: [none]}
training: {weights: random, epochs: 2, batch_size: 8, head_multiplier: 1, step: plain}
plugins: {files: [toy_networks.py]}
"""


class FarAway:
    """A local executor whose process is told of folders that are not there, as on a machine of its own."""

    def __init__(self, watch: Any, log: Path) -> None:
        self._near = LocalExecutor(watch, log)
        self.machine, self.close = self._near.machine, self._near.close

    def slots(self) -> int:
        return 1

    def submit(self, task: FoldTask) -> Future[FoldResult]:
        gone = Path("/no/such/folder")
        return self._near.submit(replace(_far(task), directory=gone / "study"))

    def measure(self, task: SpeedTask) -> Future[Speed]:
        return self._near.measure(_far(task))


def _far(task: Any) -> Any:
    gone = Path("/no/such/folder")
    plugins = replace(
        task.plugins,
        workspace_folder=gone / "plugins",
        files=tuple(gone / file.name for file in task.plugins.files),
        verdicts=gone / "verdicts",
    )
    return replace(task, cache=gone / "cache", plugins=plugins)


class View:
    """Says nothing."""

    def note(self, text: str) -> None: ...
    def trial_began(self, number: int, recipe: Recipe) -> None: ...
    def fold_began(self, number: int, fold: int) -> None: ...
    def fold_ended(self, number: int, result: FoldResult, *, stored: bool) -> None: ...
    def trial_ended(self, number: int, outcome: Any) -> None: ...
    def progress(self, text: str, done: int, total: int) -> None: ...
    def trained(self, task: Any, message: Any) -> None: ...
    def search_begins(self, study: str, trials: int, deadline: float | None, machine: Machine) -> None: ...


def _search(root: Path, **overrides: Any) -> pipeline.Outcome:
    place = Workspace(root)
    config = load_config(place.config_file, {name.replace("__", "."): value for name, value in overrides.items()})
    return pipeline.search(place, config, sample=False, view=View(), log=root / "logs" / "worker.log")


def _folds(root: Path) -> dict[str, Path]:
    store = root / "checkpoints" / "main"
    return {str(path.parent.relative_to(store)): path.parent for path in store.glob("*/fold-*/record.json")}


def test_a_search_through_an_exchange_comes_to_the_same_losses_and_submission(
    tmp_path: Path,
    tiny_photos: Callable[[Path], Path],
    toy_plugin_text: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    near, far = tmp_path / "near", tmp_path / "far"
    tiny_photos(near / "data")
    (near / "toy_networks.py").write_text(toy_plugin_text)
    (near / "automl-car.yaml").write_text(SETTINGS)
    shutil.copytree(near, far)
    monkeypatch.setenv("AUTOML_CAR_NODE_DIR", str(tmp_path / "machine"))
    without = _search(near)
    monkeypatch.setattr("automl_car.pipeline.searching.LocalExecutor", FarAway)
    through = _search(far, search__exchange=f"file://{tmp_path}/exchange")

    expected, found = _folds(near), _folds(far)
    assert len(expected) == 8
    assert found.keys() == expected.keys()
    for name, folder in expected.items():
        ours, theirs = read_result(folder), read_result(found[name])
        assert ours is not None
        assert theirs is not None
        assert theirs.log_loss == pytest.approx(ours.log_loss, abs=1e-9)
        assert read_logits(found[name]).rows.tolist() == read_logits(folder).rows.tolist()
    assert through.ensemble is not None
    assert without.ensemble is not None
    assert through.ensemble.nested_log_loss == pytest.approx(without.ensemble.nested_log_loss, abs=1e-9)
    submissions = [Workspace(root).reports("main") / "submission.csv" for root in (near, far)]
    assert submissions[0].read_bytes() == submissions[1].read_bytes()
    assert not any(path.is_file() for path in (tmp_path / "exchange" / "folds").rglob("*"))
    assert list((tmp_path / "machine").rglob("record.json"))  # it was trained there, and nowhere else
