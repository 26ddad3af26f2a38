"""Training processes side by side: how many there are, what each of them sees, and who gets the next task."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from automl_car.catalog.records import PluginSources
from automl_car.data.index import read_dataset
from automl_car.data.prepare import prepare
from automl_car.errors import DivergedError, ExecutorError, KilledError, MachineError
from automl_car.fold_records import Epoch, FoldResult, FoldTask, Machine, Speed, SpeedTask
from automl_car.records import Recipe
from automl_car.search import fleet
from automl_car.search.fleet import Fleet, lanes_that_fit, share_of_cores, visible_gpu
from automl_car.store import read_result

GB = 2**30
CPU = Machine("cpu", "CPU", 8)
GPUS = Machine("cuda", "a GPU", 32, devices=2, memory=24 * GB)


@dataclass
class Lane:
    """Stands in for a child: it answers when it is told to."""

    watch: Callable[..., None]
    log: Path
    environment: Callable[[], Mapping[str, str]]
    threads: Callable[[], int | None]
    machine_wanted: Machine | None
    found: Machine
    tasks: list[tuple[Any, Future[Any]]] = field(default_factory=list)
    closed: bool = False

    def machine(self) -> Machine:
        return self.found

    def submit(self, task: FoldTask) -> Future[FoldResult]:
        future: Future[FoldResult] = Future()
        self.tasks.append((task, future))
        return future

    def measure(self, task: SpeedTask) -> Future[Speed]:
        future: Future[Speed] = Future()
        self.tasks.append((task, future))
        return future

    def answer(self, peak: float = 0) -> None:
        task, future = self.tasks.pop(0)
        if isinstance(task, SpeedTask):
            future.set_result(Speed(1.0, 1.0, round(peak)))
        else:
            result = FoldResult(task.recipe_id, task.fold, "finished", 0.5, 0.5, 1.0, (), 1.0)
            future.set_result(replace(result, peak_memory_bytes=round(peak)))

    def close(self) -> None:
        self.closed = True
        for _, future in self.tasks:
            future.set_exception(ExecutorError("The training process was ended with the search."))


@dataclass
class Yard:
    """Makes fleets whose children are stand-ins, and remembers those."""

    found: Machine = CPU
    lanes: list[Lane] = field(default_factory=list)

    def build(self, watch: Any, log: Path, *, environment: Any, threads: Any, machine: Machine | None) -> Lane:
        self.lanes.append(Lane(watch, log, environment, threads, machine, self.found))
        return self.lanes[-1]

    @property
    def loads(self) -> list[int]:
        """Tasks of each lane that was opened."""
        return [len(lane.tasks) for lane in self.lanes]


@pytest.fixture
def yard(monkeypatch: pytest.MonkeyPatch) -> Yard:
    made = Yard()
    monkeypatch.setattr(fleet, "LocalExecutor", made.build)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    for name in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    return made


def _fleet(workers: Any = "auto") -> Fleet:
    return Fleet(lambda task, message: None, Path("worker.log"), workers)


def _task(fold: int = 0) -> FoldTask:
    return FoldTask(Recipe("toy"), "abc", fold, Path("d"), Path("c"))


# ---- how many -------------------------------------------------------------------------------------------------------


def test_on_a_cpu_there_is_one_child_and_it_has_all_cores(yard: Yard) -> None:
    ships = _fleet()
    for fold in range(3):
        ships.submit(_task(fold))
    assert (ships.slots(), yard.loads) == (1, [1])
    assert (yard.lanes[0].threads(), yard.lanes[0].environment()) == (None, {})


def test_each_gpu_has_a_child_of_its_own_that_sees_no_other(yard: Yard) -> None:
    yard.found = GPUS
    ships = _fleet()
    for fold in range(3):
        ships.submit(_task(fold))
    assert (ships.slots(), yard.loads) == (2, [1, 1])
    assert [lane.environment() for lane in yard.lanes] == [{"CUDA_VISIBLE_DEVICES": str(gpu)} for gpu in (0, 1)]
    assert [lane.threads() for lane in yard.lanes] == [4, 4]
    assert [lane.machine_wanted for lane in yard.lanes] == [None, GPUS]


def test_more_children_than_gpus_take_turns_at_them_and_share_the_cores(yard: Yard) -> None:
    yard.found = GPUS
    ships = _fleet(5)
    for fold in range(5):
        ships.submit(_task(fold))
    assert [lane.environment()["CUDA_VISIBLE_DEVICES"] for lane in yard.lanes] == ["0", "1", "0", "1", "0"]
    assert {lane.threads() for lane in yard.lanes} == {1}


def test_children_on_a_cpu_share_the_cores_also_in_the_libraries_they_load(yard: Yard) -> None:
    ships = _fleet(3)
    for fold in range(3):
        ships.submit(_task(fold))
    for lane in yard.lanes:
        assert lane.threads() == 2
        assert set(lane.environment().values()) == {"2"}
        assert {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"} == set(lane.environment())


def test_nobody_gets_more_threads_than_the_environment_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert share_of_cores(2) == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "6")
    assert share_of_cores(2) == 4


def test_gpus_that_the_command_was_given_are_the_ones_that_are_used(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, 6")
    assert [visible_gpu(lane, 2, os.environ["CUDA_VISIBLE_DEVICES"]) for lane in range(3)] == ["3", "6", "3"]


# ---- several on one GPU ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("peak", "lanes"), [(0, 1), (20, 1), (10.9, 1), (10.7, 2), (7.1, 3), (5.3, 4), (0.5, 4)], ids=str
)
def test_as_many_share_a_gpu_as_fit_into_nine_tenths_of_its_memory(peak: float, lanes: int) -> None:
    assert lanes_that_fit(24 * GB, round(peak * GB)) == lanes


def test_a_second_child_joins_a_gpu_when_a_fold_was_small_enough(yard: Yard) -> None:
    yard.found = GPUS
    ships = _fleet()
    for fold in range(6):
        ships.submit(_task(fold))
    assert yard.loads == [1, 1]
    yard.lanes[0].answer(peak=10 * GB)
    assert (ships.slots(), yard.loads) == (4, [1, 1, 1, 1])
    assert [lane.threads() for lane in yard.lanes] == [2] * 4
    assert [lane.environment()["CUDA_VISIBLE_DEVICES"] for lane in yard.lanes] == ["0", "1", "0", "1"]


def test_what_a_measurement_needed_counts_as_well(yard: Yard) -> None:
    yard.found = GPUS
    ships = _fleet()
    ships.measure(SpeedTask(Recipe("toy"), 3, Path("c")))
    yard.lanes[0].answer(peak=7 * GB)
    assert ships.slots() == 6


def test_children_leave_a_gpu_when_folds_turn_out_larger(yard: Yard) -> None:
    yard.found = GPUS
    ships = _fleet()
    ships.submit(_task())
    yard.lanes[0].answer(peak=10 * GB)
    futures = [ships.submit(_task(fold)) for fold in range(6)]
    assert yard.loads == [1, 1, 1, 1]
    yard.lanes[0].answer(peak=20 * GB)
    assert (ships.slots(), yard.loads) == (2, [1, 1, 1, 1])
    for lane in (3, 2):
        yard.lanes[lane].answer(peak=20 * GB)
    assert [lane.closed for lane in yard.lanes] == [False, False, True, True]
    assert [future.done() for future in futures] == [True, False, True, True, False, False]


def test_a_number_in_the_settings_is_taken_at_its_word(yard: Yard) -> None:
    yard.found = GPUS
    ships = _fleet(3)
    ships.submit(_task())
    yard.lanes[0].answer(peak=GB)
    assert ships.slots() == 3


# ---- tasks ----------------------------------------------------------------------------------------------------------


def test_tasks_wait_until_a_child_is_free_in_the_order_in_which_they_came(yard: Yard) -> None:
    ships = _fleet(2)
    futures = [ships.submit(_task(fold)) for fold in range(4)]
    assert yard.loads == [1, 1]
    yard.lanes[1].answer()
    assert [future.done() for future in futures] == [False, True, False, False]
    assert yard.lanes[1].tasks[0][0].fold == 2


def test_no_child_is_started_before_there_is_work_for_it(yard: Yard) -> None:
    ships = _fleet(4)
    for fold in range(3):
        ships.submit(_task(fold))
        yard.lanes[0].answer()
    assert len(yard.lanes) == 1


def test_an_error_goes_to_whoever_asked_and_the_child_works_on(yard: Yard) -> None:
    ships = _fleet(1)
    first, second = ships.submit(_task(0)), ships.submit(_task(1))
    yard.lanes[0].tasks.pop(0)[1].set_exception(DivergedError("nan"))
    with pytest.raises(DivergedError):
        first.result(timeout=1)
    yard.lanes[0].answer()
    assert second.result(timeout=1).fold == 1


def test_closing_ends_all_children_and_answers_all_who_wait(yard: Yard) -> None:
    ships = _fleet(2)
    futures = [ships.submit(_task(fold)) for fold in range(4)]
    ships.close()
    assert all(lane.closed for lane in yard.lanes)
    for future in futures:
        with pytest.raises(ExecutorError):
            future.result(timeout=1)
    assert len(yard.lanes) == 2


def test_a_machine_that_cannot_be_found_is_told_to_whoever_submits(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    ships = _fleet(2)

    def refuse() -> Machine:
        raise MachineError("no room for another process")

    yard.lanes[0].machine = refuse  # type: ignore[method-assign]
    with pytest.raises(MachineError):
        ships.submit(_task()).result(timeout=1)


def test_messages_of_several_children_come_one_at_a_time(yard: Yard) -> None:
    inside, most = [0], [0]

    def watch(task: Any, message: Any) -> None:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        time.sleep(0.001)
        inside[0] -= 1

    Fleet(watch, Path("worker.log"), 2)
    (lane,) = yard.lanes
    tellers = [threading.Thread(target=lane.watch, args=(_task(), Epoch(1, 2, 1.0, 1.0, 1.0))) for _ in range(8)]
    for teller in tellers:
        teller.start()
    for teller in tellers:
        teller.join()
    assert most == [1]


# ---- real children --------------------------------------------------------------------------------------------------


HEAD = Recipe("toy", tuning="head", image_size=16, epochs=2, weights="random")
FULL = replace(HEAD, tuning="full", batch_size=8, learning_rate=0.01, head_multiplier=1.0)

DEADLY = """
import os, signal, time
from automl_car import Backbone, hookimpl

def killed(*args, **kwargs): os.kill(os.getpid(), signal.SIGKILL)

@hookimpl
def register_backbones():
    return [Backbone("killed", killed, image_size=16)]
"""


@pytest.fixture(scope="module")
def real(
    tmp_path_factory: pytest.TempPathFactory, tiny_photos: Callable[[Path], Path], toy_plugin_text: str
) -> Iterator[tuple[Fleet, Callable[[Recipe, int], FoldTask]]]:
    folder = tmp_path_factory.mktemp("fleet")
    (folder / "toy_networks.py").write_text(toy_plugin_text)
    (folder / "deadly.py").write_text(DEADLY)
    folders = {"cache_directory": folder / "cache", "study_directory": folder / "study"}
    prepared = prepare(read_dataset(tiny_photos(folder / "data")), **folders, short_side=32, folds=2, seed=0)
    plugins = PluginSources(files=(folder / "toy_networks.py", folder / "deadly.py"))

    def task(recipe: Recipe, fold: int) -> FoldTask:
        return FoldTask(recipe, recipe.id(prepared.folds), fold, folder / "study", folder / "cache", plugins)

    ships = Fleet(lambda task, message: None, folder / "worker.log", 2)
    yield ships, task
    ships.close()


def _runs(process: int) -> bool:
    """Whether it is there and has not ended with all of its threads: nobody may have asked yet how it did."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z" or len(list(Path(f"/proc/{process}/task").iterdir())) > 1
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.slow
def test_two_children_train_at_the_same_time_and_a_killed_one_takes_no_other_fold(
    real: tuple[Fleet, Callable[[Recipe, int], FoldTask]],
) -> None:
    ships, task = real
    tasks = [task(recipe, fold) for recipe in (HEAD, FULL) for fold in range(2)]
    futures = [ships.submit(task(replace(FULL, backbone="killed"), 0)), *map(ships.submit, tasks)]
    wait(futures, timeout=120)
    assert isinstance(futures[0].exception(), KilledError)
    assert [future.result() for future in futures[1:]] == [read_result(one.fold_directory) for one in tasks]
    children = {lane.executor._child.pid for lane in ships._lanes if lane.executor._child is not None}
    assert len(children) == 2
    for child in children:
        status = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        assert f"OMP_NUM_THREADS={share_of_cores(2)}".encode() in status
    os.kill(killed := children.pop(), signal.SIGTERM)
    until = time.monotonic() + 60
    while _runs(killed) and time.monotonic() < until:  # a fold that it got before would be its last one
        time.sleep(0.02)
    assert ships.submit(task(replace(HEAD, shrinkage=0.7), 0)).result(timeout=120).status == "finished"
