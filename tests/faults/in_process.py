"""A search within this process, without the seconds in which a training process starts: for faults by the hundred."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from fault_scene import Scene

from automl_car.catalog.manager import load_catalog
from automl_car.config import load_config
from automl_car.console import Lines
from automl_car.data.prepare import open_prepared
from automl_car.fold_records import FoldResult, FoldTask, Machine
from automl_car.pipeline import search, searching
from automl_car.search import worker
from automl_car.training import features
from automl_car.training.fold import train_fold
from automl_car.workspace import Workspace


class InProcess:
    """Trains each fold where it is asked for."""

    def __init__(self, watch: Callable[..., None], log: Path) -> None:
        self._watch = watch

    def machine(self) -> Machine:
        return worker._prepare()

    def slots(self) -> int:
        return 1

    def submit(self, task: FoldTask) -> Future[FoldResult]:
        future: Future[FoldResult] = Future()
        try:
            prepared = open_prepared(task.directory, task.cache)
            result = train_fold(task, load_catalog(task.plugins), prepared, lambda message: self._watch(task, message))
            future.set_result(result)
        except Exception as error:
            future.set_exception(error)
        return future

    def measure(self, task: Any) -> Future[Any]:
        raise AssertionError("nothing is measured without a time limit")

    def close(self) -> None:
        pass


def search_here(scene: Scene, notes: list[str] | None = None) -> None:
    """`automl-car search` in the workspace; what a person would be told goes to `notes`."""

    class View(Lines):
        def note(self, text: str) -> None:
            (notes if notes is not None else []).append(text)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searching, "open_executor", lambda catalog, config, view, log: InProcess(view.trained, log))
        patch.setattr(features, "_checked", set())  # as in a new process
        patch.setattr("os.fsync", lambda descriptor: None)  # nobody pulls the plug here
        config = load_config(scene.root / "automl-car.yaml", {})
        search(Workspace(scene.root), config, sample=False, view=View(), log=scene.root / "worker.log")


def remove_set_aside(scene: Scene) -> list[str]:
    """Remove what damage was renamed to; its names."""
    found = [path for path in scene.root.rglob("*.damaged*") if path.exists()]
    for path in found:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return sorted(path.name for path in found)
