"""An executor whose workers need not see the driver's folders: it is any other executor with an exchange around it.

Before the first task it puts into the exchange what folds need; of each fold that comes back from another machine it
pulls the files into the driver's fold store, before anybody hears of the result.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

from automl_car.errors import AutomlCarError, ConfigError, ExecutorError, MachineError, TransferError
from automl_car.exchange.bucket import Bucket, open_bucket
from automl_car.exchange.folds import forget_fold, pull_fold
from automl_car.exchange.publish import Hashes, publish, sources_of
from automl_car.fold_records import Exchange, FoldResult, FoldTask, Machine, Speed, SpeedTask
from automl_car.search.elsewhere import read_id, write_id
from automl_car.search.executor import Executor

AT_ONCE = 4  # folds that are pulled
MOST_FAILURES = 3  # of transfers, without one task between them that ended well
Progress = Callable[[str, int, int], None]


def exchanging(executor: Executor, url: str | None, *, node_gb: float, directory: Path, progress: Progress) -> Executor:
    """The executor with an exchange, or as it is where none is wanted.

    Args:
        url: of the exchange.
        node_gb: gigabytes that copies may take on each machine.
        directory: checkpoints/<study>.
        progress: called with (what, megabytes done, megabytes in all).

    Raises:
        ConfigError: the URL is wrong, or a package is missing.
    """
    if url is None:
        return executor
    try:
        return ExchangingExecutor(executor, open_bucket(url), node_gb, directory, progress)
    except ConfigError:
        executor.close()
        raise


class ExchangingExecutor:
    """See `exchanging`."""

    def __init__(self, executor: Executor, bucket: Bucket, node_gb: float, directory: Path, progress: Progress) -> None:
        self._executor = executor
        self._bucket = bucket
        self._node_gb = node_gb
        self._directory = directory
        self._progress = progress
        self._weights: Mapping[str, Path] = {}
        self._published: Exchange | None = None
        self._failures = 0
        self._closed = False
        self._pulling = threading.Semaphore(AT_ONCE)
        self._folds: dict[Path, threading.Lock] = {}
        self._changing = threading.Lock()

    def machine(self) -> Machine:
        """See `Executor`."""
        return self._executor.machine()

    def slots(self) -> int:
        """See `Executor`."""
        return self._executor.slots()

    def submit(self, task: FoldTask) -> Future[FoldResult]:
        """See `Executor`; the future's fold is in the driver's fold store."""
        outer: Future[FoldResult] = Future()
        try:
            inner = self._executor.submit(replace(task, exchange=self._exchange(task)))
        except AutomlCarError as error:
            return _failed(error)
        return _following(inner, outer, lambda: self._later(task, inner, outer))

    def measure(self, task: SpeedTask) -> Future[Speed]:
        """See `Executor`."""
        try:
            return self._executor.measure(replace(task, exchange=self._exchange(task)))
        except AutomlCarError as error:
            return _failed(error)

    def close(self) -> None:
        """See `Executor`; what comes after it is not pulled."""
        self._closed = True
        self._executor.close()

    # ---- out ----

    def _exchange(self, task: FoldTask | SpeedTask) -> Exchange:
        """What a task is told of the exchange; at the first task, and when a file of weights is new, it is filled."""
        with self._changing:
            digest = task.recipe.weights_digest
            if self._published is None or (digest and digest not in self._weights):
                weights = {**self._weights, **({digest: Path(task.recipe.weights)} if digest else {})}
                self._published = self._publish(task, weights)
                self._weights = weights
            return self._published

    def _publish(self, task: FoldTask | SpeedTask, weights: Mapping[str, Path]) -> Exchange:
        sources = sources_of(self._directory, task.cache, task.plugins, weights)

        def tell(done: int, total: int) -> None:
            if total >= 10**6:
                self._progress("MB put into the exchange", done // 10**6, total // 10**6)

        try:
            listing = publish(self._bucket, sources, Hashes(task.cache), tell)
        except TransferError as error:  # before anything is trained: a person has to see to it
            raise MachineError(error.message, hint=error.hint) from error
        return Exchange(self._bucket.url, listing, folder_id(task.cache, self._directory), self._node_gb)

    # ---- and back ----

    def _later(self, task: FoldTask, inner: Future[FoldResult], outer: Future[FoldResult]) -> None:
        """End it in a thread of its own, so that the executor's need not wait for files."""
        threading.Thread(target=self._end, args=(task, inner, outer), name="exchange", daemon=True).start()

    def _end(self, task: FoldTask, inner: Future[FoldResult], outer: Future[FoldResult]) -> None:
        try:
            result = inner.result()
            if result.pushed:
                result = self._pull(task, result)
            self._failures = 0
            outer.set_result(result)
        except BaseException as error:
            outer.set_exception(self._worse(error) if isinstance(error, TransferError) else error)

    def _pull(self, task: FoldTask, result: FoldResult) -> FoldResult:
        with self._changing:
            one_at_a_time = self._folds.setdefault(task.fold_directory, threading.Lock())
        with self._pulling, one_at_a_time:
            if self._closed:
                raise ExecutorError("The search has ended.")
            pulled = pull_fold(self._bucket, result.pushed, task)
        forget_fold(self._bucket, result.pushed)
        return pulled

    def _worse(self, error: TransferError) -> BaseException:
        """The error, or, when nothing has come through for some time, one that stops the search."""
        self._failures += 1
        if self._failures < MOST_FAILURES:
            return error
        return MachineError(error.message, hint=error.hint)


def _failed(error: AutomlCarError) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_exception(error)
    return future


def _following(inner: Future[Any], outer: Future[Any], end: Callable[[], None]) -> Future[Any]:
    """The outer future, which ends after the inner one, and takes it along where it is cancelled."""

    def cancel(future: Future[Any]) -> None:
        if future.cancelled():
            inner.cancel()

    def go_on(future: Future[Any]) -> None:
        if future.cancelled():
            outer.cancel()
        if outer.set_running_or_notify_cancel():
            end()

    outer.add_done_callback(cancel)
    inner.add_done_callback(go_on)
    return outer


def folder_id(*folders: Path) -> str:
    """What tells these folders from others of the same path: a file in each of them holds it."""
    known = [read_id(folder) for folder in folders]
    name = next(filter(None, known), uuid.uuid4().hex)
    for folder in [folder for folder, found in zip(folders, known, strict=True) if found != name]:
        write_id(folder, name)
    return name
