"""Carries out a task on a machine that may not see the driver's folders: with this machine's copies of what it needs.

Nothing changes for a process that sees the driver's folders. Any other one fetches the study's files, the decoded
photos, plugins and weights from the exchange, works in the folders of this machine's copies (`exchange/node.py`),
and puts a finished fold into the exchange. Epochs of unfinished folds stay on the machine.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from automl_car.errors import StoreError
from automl_car.exchange.bucket import Bucket, open_bucket
from automl_car.exchange.folds import push_fold
from automl_car.exchange.listing import LONGEST, Files, Listing
from automl_car.exchange.node import Node, this_node
from automl_car.exchange.publish import data_name
from automl_car.fold_records import Epoch, Exchange, FoldResult, FoldTask, Progress, SpeedTask
from automl_car.records import Recipe
from automl_car.store import read_result, record_recipe

ID_FILE = "exchange-id"
Task = FoldTask | SpeedTask
Bring = Callable[[str], None]
Work = Callable[[Any, Bring], object]
Tell = Callable[[Epoch | Progress], None]


def carry_out(task: Task, work: Work, tell: Tell) -> object:
    """What `work` returns for the task, or for the same task with paths that exist on this machine.

    Args:
        work: called with the task, and with a function that fetches the features of a key, if the driver has them.
        tell: called with how much was fetched.

    Returns:
        What `work` returned; a FoldResult of a finished fold says where in the exchange the fold is.

    Raises:
        TransferError: the exchange cannot be reached, or a file of it is damaged; another machine may do better.
        MachineError: it refuses this machine, or this machine's disk is full.
    """
    if task.exchange is None or _sees_driver(task, task.exchange.folder_id):
        return work(task, lambda key: None)
    return _Elsewhere(task.exchange, tell).carry_out(task, work)


def _sees_driver(task: Task, folder_id: str) -> bool:
    """Whether the task's folders are those of the driver, and not others of the same path."""
    folders = (task.cache, *((task.directory,) if isinstance(task, FoldTask) else ()))
    return all(read_id(folder) == folder_id for folder in folders)


def read_id(folder: Path) -> str:
    """What `write_id` wrote into this very folder; empty where it is a copy of it, or has none."""
    path = folder / ID_FILE
    try:
        name, _, number = path.read_text(encoding="utf-8").partition(" ")
        return name if number == str(path.stat().st_ino) else ""
    except (OSError, UnicodeDecodeError):
        return ""


def write_id(folder: Path, name: str) -> None:
    """Write a name into a folder, with the number that the file system gives to the file: a copy has another one."""
    with (folder / ID_FILE).open("w", encoding="utf-8") as file:
        file.write(f"{name} {os.fstat(file.fileno()).st_ino}")


class _Elsewhere:
    """One task on a machine with folders of its own."""

    def __init__(self, exchange: Exchange, tell: Tell) -> None:
        self._bucket = _bucket(exchange.url)
        self._node = _node(exchange.node_gb)
        self._parts = _listing(exchange.url, exchange.listing).parts
        self._tell = tell

    def carry_out(self, task: Task, work: Work) -> object:
        here = self._with_our_paths(task)
        if isinstance(here, FoldTask) and (finished := _finished(here)) is not None:
            return self._pushed(task, here, finished)  # its answer was lost, and not its files

        def bring(key: str) -> None:
            for part in [part for part in self._parts if part.startswith(f"features/{key}/")]:
                self._node.bring_into(here.cache / part, self._bucket, self._parts[part], self._progress)

        try:
            answer = work(here, bring)
        except StoreError:  # a disk lets bits flip, and here are no photos to make a picture again from
            if not any([self._node.drop_damaged(part, self._files(part)) for part in ("study", "images")]):
                raise
            answer = work(self._with_our_paths(task), bring)
        return self._pushed(task, here, answer) if isinstance(answer, FoldResult) else answer

    def _pushed(self, task: Task, here: Task, result: FoldResult) -> FoldResult:
        if result.status != "finished" or not isinstance(here, FoldTask):
            return result
        if here.recipe != task.recipe:
            record_recipe(here.fold_directory, task.recipe)
        return replace(result, pushed=push_fold(self._bucket, here.fold_directory))

    # ---- paths ----

    def _with_our_paths(self, task: Task) -> Task:
        cache = self._bring("images")
        sources = task.plugins
        plugins = self._bring("plugins")
        there = [entry.name for entry in self._files("plugins")]
        paths: dict[str, Any] = {
            "cache": cache,
            "plugins": replace(
                sources,
                workspace_folder=plugins / "workspace" if sources.workspace_folder else None,
                files=tuple(plugins / name for name in there if name.startswith("files/")),
                verdicts=self._node.verdicts if sources.verdicts else None,
            ),
            "recipe": self._with_our_weights(task.recipe),
            "exchange": None,
        }
        if isinstance(task, FoldTask):
            return replace(task, directory=self._bring("study"), **paths)
        return replace(task, **paths)

    def _with_our_weights(self, recipe: Recipe) -> Recipe:
        part = f"weights/{recipe.weights_digest}"
        if not recipe.weights_digest or part not in self._parts:
            return recipe
        return replace(recipe, weights=str(self._bring(part) / self._files(part)[0].name))

    def _bring(self, part: str) -> Path:
        return self._node.bring(self._bucket, part, self._files(part), self._progress)

    def _files(self, part: str) -> Files:
        return self._parts.get(part, ())

    def _progress(self, done: int, total: int) -> None:
        if total >= 10**6:
            self._tell(Progress("MB fetched from the exchange", done // 10**6, total // 10**6))


def _finished(task: FoldTask) -> FoldResult | None:
    try:
        return read_result(task.fold_directory)
    except StoreError:  # it is trained again, file by file
        return None


# ---- once per process -----------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _bucket(url: str) -> Bucket:
    return open_bucket(url)


@lru_cache(maxsize=1)
def _node(gigabytes: float) -> Node:
    return this_node(gigabytes)


@lru_cache(maxsize=4)
def _listing(url: str, sha256: str) -> Listing:
    return Listing.from_bytes(_bucket(url).read(sha256, data_name(sha256), LONGEST))
