"""Folds as tasks of Ray, on a cluster of several nodes on this machine; what runs on a node is made up."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from automl_car.catalog.records import ExecutorContext
from automl_car.errors import ConfigError, DivergedError, ExecutorError, MachineError, ProcessLostError
from automl_car.fold_records import Epoch, FoldResult, FoldTask, Machine, Progress, Speed, SpeedTask
from automl_car.records import Recipe
from automl_car.search import on_ray
from automl_car.search.node import Answer, Order
from automl_car.search.on_ray import RayExecutor, open_ray
from automl_car.search.ray_cluster import Share
from automl_car.search.retrying import train

ray = pytest.importorskip("ray", reason="pip install 'automl-car[ray]'")

pytestmark = pytest.mark.slow  # a cluster takes seconds to start, and each of its processes one more


def fake_answers(order: Order) -> Iterator[Answer]:
    """In place of training: what to do is the backbone's name, and files tell what was done."""
    import os
    import signal
    import time

    import ray

    yield Machine("cpu", "CPU", 2)
    if order.task is None:
        return
    task, _ = order.task
    if isinstance(task, SpeedTask):
        yield Speed(10.0, 20.0)
        return
    here = task.directory
    with (here / "began").open("a") as began:
        began.write(f"{task.fold} {ray.get_runtime_context().get_node_id()} {os.getpid()}\n")
    yield Epoch(1, 2, 1.0, 0.5, 0.1)
    what = task.recipe.backbone
    if what == "crashes" or (what == "crashes_once" and not (here / "crashed").exists()):
        (here / "crashed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "diverges":
        yield DivergedError("Its loss is not finite.")
        return
    if what == "raises":
        raise ValueError("a bug of ours")
    try:
        while what == "waits" and not (here / "go").exists():
            time.sleep(0.05)
    except BaseException as error:
        (here / f"broken off {task.fold}").write_text(type(error).__name__)
        raise
    yield FoldResult(task.recipe_id, task.fold, "finished", 0.5, 0.5, 1.0, (), 0.1)


@dataclass
class Bench:
    """A cluster of two nodes with a core each, and an executor on it."""

    cluster: Any
    second: Any
    executor: RayExecutor
    folder: Path
    seen: list[tuple[FoldTask, Epoch | Progress]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def task(self, what: str, fold: int = 0) -> FoldTask:
        return FoldTask(Recipe(what), "abc", fold, self.folder, self.folder)

    def began(self) -> list[list[str]]:
        """Fold, node and process of each attempt."""
        file = self.folder / "began"
        return [line.split() for line in file.read_text().splitlines()] if file.exists() else []

    def wait(self, what: Callable[[], bool], seconds: float = 60) -> None:
        until = time.monotonic() + seconds
        while not what() and time.monotonic() < until:
            time.sleep(0.05)
        assert what()

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(scope="module")
def nodes() -> Iterator[tuple[Any, Any]]:
    from ray import cloudpickle
    from ray.cluster_utils import Cluster

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    second = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    yield cluster, second
    cluster.shutdown()


@pytest.fixture
def bench(nodes: tuple[Any, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(on_ray, "answers", fake_answers)
    cluster, second = nodes
    seen: list[tuple[FoldTask, Epoch | Progress]] = []
    notes: list[str] = []
    context = ExecutorContext(
        lambda task, message: seen.append((task, message)), tmp_path / "log", notes.append, cluster.address
    )
    executor = open_ray(context, Share(cpus=1))
    yield Bench(cluster, second, executor, tmp_path, seen, notes)
    executor.close()


def result(future: Future[Any]) -> Any:
    return future.result(timeout=90)


def test_the_machine_is_what_a_node_found_with_the_cores_of_a_fold(bench: Bench) -> None:
    assert bench.executor.machine() == Machine("cpu", "CPU", 1)
    assert bench.notes == ["Ray, 2 nodes: 2 folds at a time, each with 1 core"]
    assert bench.executor.slots() == 2


def test_epochs_come_as_they_happen_and_the_result_at_last(bench: Bench) -> None:
    task = bench.task("waits")
    future = bench.executor.submit(task)
    bench.wait(lambda: bool(bench.seen))
    assert not future.done()
    (bench.folder / "go").touch()
    assert result(future).log_loss == 0.5
    assert bench.seen == [(task, Epoch(1, 2, 1.0, 0.5, 0.1))]


def test_the_speed_of_a_recipe_is_asked_for_in_the_same_way(bench: Bench) -> None:
    assert result(bench.executor.measure(SpeedTask(Recipe("any"), 3, bench.folder))) == Speed(10.0, 20.0)


def test_folds_are_trained_on_all_nodes_at_once_and_others_wait(bench: Bench) -> None:
    futures = [bench.executor.submit(bench.task("waits", fold)) for fold in range(3)]
    bench.wait(lambda: len(bench.began()) == 2)
    time.sleep(1)
    assert len({node for _, node, _ in bench.began()}) == len(bench.began()) == 2
    (bench.folder / "go").touch()
    assert [result(future).fold for future in futures] == [0, 1, 2]


def test_an_error_of_training_is_that_error(bench: Bench) -> None:
    with pytest.raises(DivergedError, match="not finite"):
        result(bench.executor.submit(bench.task("diverges")))


def test_what_is_raised_on_a_node_beside_training_is_told_with_its_place(bench: Bench) -> None:
    with pytest.raises(ExecutorError, match="ValueError: a bug of ours") as told:
        result(bench.executor.submit(bench.task("raises")))
    assert "raise ValueError" in (told.value.hint or "")


def test_a_process_of_ray_that_is_killed_is_lost_and_ray_does_not_repeat_its_task(bench: Bench) -> None:
    with pytest.raises(ProcessLostError, match="was lost"):
        result(bench.executor.submit(bench.task("crashes")))
    assert len(bench.began()) == 1


def test_a_lost_fold_is_trained_once_more_and_a_note_says_so(bench: Bench) -> None:
    assert train(bench.executor, bench.task("crashes_once"), bench).log_loss == 0.5
    assert [fold for fold, _, _ in bench.began()] == ["0", "0"]
    assert "Fold 0 is trained again in a new one." in bench.notes[-1]


def test_what_is_lost_twice_is_given_up_with_its_cause(bench: Bench) -> None:
    with pytest.raises(ProcessLostError) as told:
        train(bench.executor, bench.task("crashes"), bench)
    assert told.value.message.startswith("Twice: ")
    assert told.value.hint
    assert told.value.__cause__ is not None


def test_a_process_serves_many_tasks(bench: Bench) -> None:
    for fold in range(6):
        result(bench.executor.submit(bench.task("trains", fold)))
    assert len({process for _, _, process in bench.began()}) <= 2


def test_a_node_that_joins_is_used_and_one_that_leaves_costs_its_fold_a_second_attempt(bench: Bench) -> None:
    third = bench.cluster.add_node(num_cpus=1)
    bench.wait(lambda: bench.executor.slots() == 3)
    results: dict[int, FoldResult] = {}

    def run(fold: int) -> None:
        results[fold] = train(bench.executor, bench.task("waits", fold), bench)

    threads = [threading.Thread(target=run, args=(fold,)) for fold in range(3)]
    for thread in threads:
        thread.start()
    bench.wait(lambda: len(bench.began()) == 3)
    assert len({node for _, node, _ in bench.began()}) == 3
    bench.cluster.remove_node(third, allow_graceful=False)
    bench.wait(lambda: bench.executor.slots() == 2)
    bench.wait(lambda: any("is trained again" in note for note in bench.notes))
    (bench.folder / "go").touch()
    for thread in threads:
        thread.join(90)
    assert sorted(results) == [0, 1, 2]
    attempts = [fold for fold, _, _ in bench.began()]
    assert len(attempts) == 4, "only the fold of the lost node is trained again"


def test_a_node_with_another_kind_of_device_ends_the_search(bench: Bench) -> None:
    bench.executor.machine()
    bench.executor._machine = Machine("cuda", "H100", 1)
    with pytest.raises(MachineError, match="The nodes differ: one trains on H100, and another one found CPU"):
        result(bench.executor.submit(bench.task("trains")))


def test_the_end_of_the_search_breaks_off_what_runs_on_nodes(bench: Bench) -> None:
    future = bench.executor.submit(bench.task("waits"))
    bench.wait(lambda: bool(bench.began()))
    began = time.monotonic()
    bench.executor.close()
    assert time.monotonic() - began < 9
    with pytest.raises(ExecutorError, match="ended with the search"):
        result(future)
    bench.wait(lambda: (bench.folder / "broken off 0").exists())
    with pytest.raises(ExecutorError, match="has ended"):
        result(bench.executor.submit(bench.task("trains")))


def test_a_head_that_does_not_answer_any_more_ends_the_search(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.executor.machine()
    future = bench.executor.submit(bench.task("waits"))
    monkeypatch.setattr(on_ray, "_HEAD_SECONDS", 0.1)
    monkeypatch.setattr(bench.executor._cluster, "answers", lambda: False)
    with pytest.raises(MachineError, match="The connection with the cluster of Ray is lost") as told:
        result(future)
    assert "what is finished is kept" in (told.value.hint or "")
    with pytest.raises(MachineError):
        result(bench.executor.submit(bench.task("trains")))


def test_a_cluster_that_is_not_there_is_told_with_its_address(tmp_path: Path) -> None:
    context = ExecutorContext(lambda *_: None, tmp_path / "log", lambda text: None, "127.0.0.1:1")
    with pytest.raises(MachineError, match=r"There is no cluster of Ray at `127\.0\.0\.1:1`"):
        open_ray(context, Share())


@pytest.mark.parametrize("changes", [{"cpus": -1}, {"gpus": -0.5}, {"at_least": 0}])
def test_a_setting_that_is_too_small_is_refused_before_anything_is_started(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    (name,) = changes
    with pytest.raises(ConfigError, match=rf"executors\.ray\.{name}"):
        open_ray(ExecutorContext(lambda *_: None, tmp_path / "log", lambda text: None), replace(Share(), **changes))
