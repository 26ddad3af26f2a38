"""Tasks and folds that go through an exchange: workers with folders of their own, a driver that takes folds once."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from automl_car.catalog.records import PluginSources
from automl_car.data.prepare import Prepared, open_prepared
from automl_car.errors import ConfigError, MachineError, ProcessLostError, StoreError, TransferError
from automl_car.exchange import bucket as buckets
from automl_car.fold_records import FoldResult, FoldTask, Machine, Speed, SpeedTask
from automl_car.records import Recipe
from automl_car.search import elsewhere
from automl_car.search.elsewhere import carry_out
from automl_car.search.exchanging import exchanging, folder_id
from automl_car.store import FoldLogits, read_recipe, read_result, write_fold

TOY = Recipe("toy")


def _train(task: FoldTask, log_loss: float = 0.5) -> FoldResult:
    """What training leaves, without any."""
    prepared = open_prepared(task.directory, task.cache)
    rows = prepared.folds.validation_rows(task.fold)
    result = FoldResult(task.recipe_id, task.fold, "finished", log_loss, log_loss, 1.0, (), 1.0)
    logits = np.zeros((len(rows), 3), np.float32)
    write_fold(task, result, FoldLogits(rows, logits, logits), b"model")
    return result


def _far(task: Any) -> Any:
    """The task as it is to a machine that has none of the driver's folders."""
    gone = Path("/no/such/folder")
    plugins = replace(task.plugins, files=tuple(gone / file.name for file in task.plugins.files))
    folders = {"directory": gone / "study"} if isinstance(task, FoldTask) else {}
    return replace(task, cache=gone / "cache", plugins=plugins, **folders)


@dataclass
class Worker:
    """An executor that works at once, on another machine; it keeps the tasks that it worked on there."""

    work: Callable[[Any], Any] = _train
    far: Callable[[Any], Any] = _far
    seen: list[Any] = field(default_factory=list)
    closed: bool = False

    def machine(self) -> Machine:
        return Machine("cpu", "CPU", 2)

    def slots(self) -> int:
        return 7

    def submit(self, task: FoldTask) -> Future[FoldResult]:
        return self._answer(task)

    def measure(self, task: SpeedTask) -> Future[Speed]:
        return self._answer(task)

    def close(self) -> None:
        self.closed = True

    def _answer(self, task: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(self.run(task))
        except Exception as error:
            future.set_exception(error)
        return future

    def run(self, task: Any) -> Any:
        def work(here: Any, bring: Callable[[str], None]) -> Any:
            self.seen.append(here)
            bring("ours")
            return self.work(here)

        return carry_out(self.far(task), work, lambda message: None)


@dataclass
class Place:
    """A driver's folders, an exchange and a worker."""

    folder: Path
    worker: Worker = field(default_factory=Worker)
    progress: list[tuple[str, int, int]] = field(default_factory=list)

    def executor(self, **changes: Any) -> Any:
        options = {
            "url": f"file://{self.folder}/exchange",
            "node_gb": 1.0,
            "directory": self.folder / "study",
            "progress": lambda *said: self.progress.append(said),
        }
        return exchanging(self.worker, **(options | changes))

    def task(self, fold: int = 0, recipe: Recipe = TOY, **changes: Any) -> FoldTask:
        values = {"plugins": PluginSources()} | changes
        return FoldTask(recipe, "abc", fold, self.folder / "study", self.folder / "cache", **values)

    def speed_task(self) -> SpeedTask:
        return SpeedTask(Recipe("toy"), 3, self.folder / "cache")

    @property
    def waiting(self) -> list[Path]:
        """Files of folds in the exchange."""
        return [path for path in (self.folder / "exchange" / "folds").rglob("*") if path.is_file()]


@pytest.fixture
def place(tiny_prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    shutil.copytree(tiny_prepared.images.directory.parents[2], tmp_path / "place")
    monkeypatch.setenv("AUTOML_CAR_NODE_DIR", str(tmp_path / "machine"))
    monkeypatch.setattr(buckets, "PAUSES", (0.0,))
    yield Place(tmp_path / "place")
    for once in (elsewhere._bucket, elsewhere._node, elsewhere._listing):
        once.cache_clear()


def _result(future: Future[Any]) -> Any:
    return future.result(timeout=20)


# ---- whose folders --------------------------------------------------------------------------------------------------


def test_a_worker_that_sees_the_driver_s_folders_works_in_them(place: Place) -> None:
    place.worker.far = lambda task: task
    task = place.task()
    assert _result(place.executor().submit(task)).status == "finished"
    assert place.worker.seen[0].directory == task.directory
    assert not place.waiting


def test_folders_of_the_same_path_that_are_copies_are_not_the_driver_s(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    name = folder_id(tmp_path / "a", tmp_path / "b")
    assert [elsewhere.read_id(tmp_path / folder) for folder in ("a", "b")] == [name, name]
    assert folder_id(tmp_path / "a", tmp_path / "b") == name
    shutil.copytree(tmp_path / "a", tmp_path / "c")
    assert elsewhere.read_id(tmp_path / "c") == ""


def test_a_worker_with_folders_of_its_own_sees_none_of_the_driver_s_paths(place: Place) -> None:
    (place.folder / "toy.py").write_text("# a plugin")
    _result(place.executor().submit(place.task(plugins=PluginSources(files=(place.folder / "toy.py",)))))
    (here,) = place.worker.seen
    machine = place.folder.parent / "machine"
    paths = (here.directory, here.cache, *here.plugins.files)
    assert len(paths) == 3
    assert all(path.exists() and path.is_relative_to(machine) for path in paths)


def test_a_fold_that_was_trained_elsewhere_is_in_the_driver_s_store(place: Place) -> None:
    task = place.task()
    result = _result(place.executor().submit(task))
    assert result == read_result(task.fold_directory)
    assert (result.log_loss, result.pushed) == (0.5, "")
    assert not place.waiting  # what the driver has needs no room in the bucket


def test_a_measurement_goes_there_and_back(place: Place) -> None:
    place.worker.work = lambda task: Speed(1.0, 2.0)
    assert _result(place.executor().measure(place.speed_task())) == Speed(1.0, 2.0)
    assert place.worker.seen[0].cache.is_relative_to(place.folder.parent / "machine")


def test_measurements_and_folds_of_a_machine_share_a_cache(place: Place) -> None:
    executor = place.executor()
    _result(executor.submit(place.task()))
    place.worker.work = lambda task: Speed(1.0, 2.0)
    _result(executor.measure(place.speed_task()))
    assert place.worker.seen[0].cache == place.worker.seen[1].cache


def test_the_driver_s_features_come_along_for_those_who_ask_for_them(place: Place) -> None:
    for key in ("ours", "others"):
        view = place.folder / "cache" / "features" / key / "whole"
        view.mkdir(parents=True)
        np.save(view / "train.npy", np.ones((36, 4), np.float16))
        np.save(view / "test.npy", np.ones((5, 4), np.float16))
        (view / "sha256.txt").write_text("")
    _result(place.executor().submit(place.task()))
    assert [path.name for path in (place.worker.seen[0].cache / "features").iterdir()] == ["ours"]


def test_weights_of_a_file_are_found_there_and_recorded_by_their_name_here(place: Place) -> None:
    import hashlib

    file = place.folder / "w.safetensors"
    file.write_bytes(b"weights")
    recipe = Recipe("toy", weights=str(file), weights_digest=hashlib.sha256(b"weights").hexdigest())
    read: list[bytes] = []

    def train(task: FoldTask) -> FoldResult:
        read.append(Path(task.recipe.weights).read_bytes())
        return _train(task)

    place.worker.work = train
    task = place.task(recipe=recipe)
    _result(place.executor().submit(task))
    assert read == [b"weights"]
    assert place.worker.seen[0].recipe.weights != str(file)
    assert read_recipe(task.fold_directory) == recipe


def test_an_early_end_leaves_nothing_in_the_exchange(place: Place) -> None:
    place.worker.work = lambda task: FoldResult("abc", 0, "beaten", 2.0, 2.0, 1.0, (), 1.0, reason="too slow")
    assert _result(place.executor().submit(place.task())).status == "beaten"
    assert not place.waiting


# ---- once -----------------------------------------------------------------------------------------------------------


def test_data_is_put_there_once_for_all_folds(place: Place) -> None:
    executor = place.executor()
    _result(executor.submit(place.task(0)))
    times = {path: path.stat().st_mtime_ns for path in (place.folder / "exchange" / "data").iterdir()}
    _result(executor.submit(place.task(1)))
    _result(place.executor().submit(place.task(2)))
    assert times == {path: path.stat().st_mtime_ns for path in (place.folder / "exchange" / "data").iterdir()}


def test_a_fold_whose_answer_was_lost_is_not_trained_again_on_its_machine(place: Place) -> None:
    task = place.task()
    executor = place.executor()
    _result(executor.submit(task))
    shutil.rmtree(task.fold_directory)
    _result(executor.submit(task))
    assert len(place.worker.seen) == 1
    assert read_result(task.fold_directory) is not None


@dataclass
class Slow(Worker):
    """Ends its tasks when it is told to."""

    waiting: list[tuple[Any, Future[Any]]] = field(default_factory=list)

    def _answer(self, task: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.waiting.append((task, future))
        return future

    def end(self, number: int, log_loss: float, machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AUTOML_CAR_NODE_DIR", str(machine))
        elsewhere._node.cache_clear()
        task, future = self.waiting[number]
        self.work = lambda here: _train(here, log_loss)
        future.set_result(self.run(task))


def test_the_late_result_of_an_attempt_that_was_given_up_changes_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = place.worker = Slow()
    task, executor = place.task(), place.executor()
    given_up, second = executor.submit(task), executor.submit(task)
    slow.end(1, 0.25, place.folder / "machine-2", monkeypatch)
    assert _result(second).log_loss == 0.25
    slow.end(0, 0.75, place.folder / "machine-1", monkeypatch)
    assert _result(given_up).log_loss == 0.25
    stored = read_result(task.fold_directory)
    assert stored is not None
    assert stored.log_loss == 0.25
    assert not place.waiting


def test_a_task_that_is_cancelled_is_cancelled_in_the_executor(place: Place) -> None:
    slow = place.worker = Slow()
    future = place.executor().submit(place.task())
    assert future.cancel()
    assert slow.waiting[0][1].cancelled()


def test_results_are_pulled_in_no_thread_of_the_executor(place: Place) -> None:
    threads: list[str] = []
    future = place.executor().submit(place.task())
    future.add_done_callback(lambda done: threads.append(threading.current_thread().name))
    _result(future)
    until = time.monotonic() + 5
    while not threads and time.monotonic() < until:
        time.sleep(0.01)
    assert threads in (["exchange"], [threading.current_thread().name])  # the second if it was done before


# ---- what goes wrong ------------------------------------------------------------------------------------------------


def test_a_damaged_copy_is_fetched_again_and_the_fold_trained(place: Place) -> None:
    def train(task: FoldTask) -> FoldResult:
        pixels = next(task.cache.glob("images/*/pixels.bin"))
        if len(place.worker.seen) == 1:
            data = bytearray(pixels.read_bytes())
            data[0] ^= 1
            pixels.write_bytes(data)
            raise StoreError("a picture is damaged")
        return _train(task)

    place.worker.work = train
    assert _result(place.executor().submit(place.task())).status == "finished"
    pixels = [path.read_bytes() for path in place.folder.parent.rglob("pixels.bin")]
    assert len(pixels) == 2
    assert pixels[0] == pixels[1]


def test_an_error_that_is_no_damage_of_the_copies_is_told(place: Place) -> None:
    def fail(task: FoldTask) -> FoldResult:
        raise StoreError("something else")

    place.worker.work = fail
    with pytest.raises(StoreError, match="something else"):
        _result(place.executor().submit(place.task()))
    assert len(place.worker.seen) == 1


def test_a_worker_without_a_way_to_the_exchange_is_like_one_that_was_lost(place: Place) -> None:
    executor = place.executor()
    _result(executor.submit(place.task(0)))
    shutil.rmtree(place.folder / "exchange")
    shutil.rmtree(place.folder.parent / "machine")
    elsewhere._node.cache_clear()
    with pytest.raises(ProcessLostError) as caught:
        _result(executor.submit(place.task(1)))
    assert type(caught.value) is TransferError


def test_a_search_in_which_nothing_comes_through_is_stopped(place: Place) -> None:
    def cut(task: FoldTask) -> FoldResult:
        raise TransferError("the network is down", hint="see to it")

    place.worker.work = cut
    executor = place.executor()
    errors = [executor.submit(place.task(fold)).exception(timeout=20) for fold in (0, 1, 2)]
    assert [type(error) for error in errors] == [TransferError, TransferError, MachineError]


def test_what_cannot_be_put_there_is_tried_again_with_the_next_task(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = place.executor()
    _result(executor.submit(place.task(0)))
    file = place.folder / "w.safetensors"
    file.write_bytes(b"weights")
    recipe = Recipe("toy", weights=str(file), weights_digest="a" * 64)
    with monkeypatch.context() as broken:
        broken.setattr(buckets.Bucket, "put", lambda *_: (_ for _ in ()).throw(TransferError("cut")))
        assert type(executor.submit(place.task(1, recipe)).exception(timeout=20)) is MachineError
    _result(executor.submit(place.task(1, recipe)))
    assert Path(place.worker.seen[-1].recipe.weights).read_bytes() == b"weights"


def test_a_wrong_url_ends_the_executor_that_was_started(place: Place) -> None:
    with pytest.raises(ConfigError, match=r"s3://\*\*\*@bucket"):
        place.executor(url="s3://key:secret@bucket/folder")
    assert place.worker.closed


def test_without_an_exchange_the_executor_stays_what_it_is(place: Place) -> None:
    assert place.executor(url=None) is place.worker


def test_an_exchange_has_as_many_slots_as_its_executor(place: Place) -> None:
    executor = place.executor()
    assert (executor.slots(), executor.machine().cores) == (7, 2)
