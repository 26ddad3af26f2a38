"""The training process: that it trains, how it dies, and that it never outlives its driver."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from automl_car.catalog.records import PluginSources
from automl_car.data.index import read_dataset
from automl_car.data.prepare import Prepared, prepare
from automl_car.errors import AutomlCarError, ExecutorError, PluginError
from automl_car.records import Epoch, FoldTask, Progress, Recipe, SpeedTask
from automl_car.search.executor import LocalExecutor, describe_exit
from automl_car.store import read_result

HEAD = Recipe("toy", tuning="head", image_size=16, epochs=2, weights="random", params=(("toy.width", 8),))
FULL = replace(HEAD, tuning="full", batch_size=8, learning_rate=0.01, head_multiplier=1.0)

# Backbones that misbehave while they are built.
ROGUES = """
import os, signal, sys, time
from automl_car import Backbone, hookimpl

def killed(*args, **kwargs): os.kill(os.getpid(), signal.SIGKILL)
def leaving(*args, **kwargs): sys.exit(3)
def raising(*args, **kwargs): raise ValueError("no such layer")
def quitting(*args, **kwargs): os._exit(7)
def sleeping(*args, **kwargs): time.sleep(600)
def talking(*args, **kwargs):
    print("a word on stdout", flush=True)
    print("a word on stderr", file=sys.stderr, flush=True)
    raise ValueError("that is all")

@hookimpl
def register_backbones():
    return [Backbone(build.__name__, build, image_size=16)
            for build in (killed, leaving, raising, quitting, sleeping, talking)]
"""


@dataclass
class Shop:
    """One executor on a prepared study, for all tests: its process needs seconds to start."""

    executor: LocalExecutor
    prepared: Prepared
    folder: Path
    plugins: PluginSources
    seen: list[tuple[FoldTask, Epoch | Progress]] = field(default_factory=list)

    def task(self, recipe: Recipe, fold: int = 0, **changes: Any) -> FoldTask:
        identifier = recipe.id(self.prepared.folds)
        folders = (self.folder / "study", self.folder / "cache")
        return replace(FoldTask(recipe, identifier, fold, *folders, self.plugins), **changes)

    def rogue(self, name: str) -> FoldTask:
        return self.task(replace(FULL, backbone=name, params=()))


@pytest.fixture(scope="module")
def shop(
    tmp_path_factory: pytest.TempPathFactory, tiny_photos: Callable[[Path], Path], toy_plugin_text: str
) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("shop")
    (folder / "toy_networks.py").write_text(toy_plugin_text)
    (folder / "rogues.py").write_text(ROGUES)
    dataset = read_dataset(tiny_photos(folder / "data"))
    folders = {"cache_directory": folder / "cache", "study_directory": folder / "study"}
    prepared = prepare(dataset, **folders, short_side=32, folds=2, seed=0)
    seen: list[tuple[FoldTask, Epoch | Progress]] = []
    executor = LocalExecutor(lambda task, message: seen.append((task, message)), folder / "worker.log")
    plugins = PluginSources(files=(folder / "toy_networks.py", folder / "rogues.py"))
    yield Shop(executor, prepared, folder, plugins, seen)
    executor.close()


def _process(shop: Shop) -> int:
    """Number of the training process, which runs as a child of this one."""
    shop.executor.machine()
    assert shop.executor._child.pid is not None
    return shop.executor._child.pid


def _error(future: Future[Any]) -> AutomlCarError:
    with pytest.raises((ExecutorError, PluginError)) as caught:
        future.result(timeout=60)
    return caught.value


# ---- training -------------------------------------------------------------------------------------------------------


def test_the_machine_is_what_the_process_found(shop: Shop) -> None:
    machine = shop.executor.machine()
    assert machine.device in ("cpu", "cuda", "mps")
    assert machine.cores == os.cpu_count()


@pytest.mark.parametrize("recipe", [HEAD, FULL], ids=["head", "full"])
def test_a_fold_is_trained_in_the_process_and_stored(shop: Shop, recipe: Recipe) -> None:
    task = shop.task(recipe)
    result = shop.executor.submit(task).result(timeout=120)
    assert result.status == "finished"
    assert read_result(task.fold_directory) == result


def test_the_process_may_have_loader_processes_and_the_fold_is_the_same(shop: Shop) -> None:
    recipe = replace(FULL, seed=3)
    alone = shop.executor.submit(shop.task(recipe, workers=0)).result(timeout=120)
    shared = shop.executor.submit(shop.task(recipe, workers=2)).result(timeout=120)
    assert [epoch.log_loss for epoch in shared.curve] == [epoch.log_loss for epoch in alone.curve]


def test_each_epoch_reaches_the_watcher_with_its_task(shop: Shop) -> None:
    task = shop.task(FULL, fold=1)
    result = shop.executor.submit(task).result(timeout=120)
    messages = [message for seen, message in shop.seen if seen == task]
    assert tuple(message for message in messages if isinstance(message, Epoch)) == result.curve


def test_tasks_submitted_together_are_trained_one_after_another(shop: Shop) -> None:
    tasks = [shop.task(replace(HEAD, shrinkage=shrinkage)) for shrinkage in (0.1, 0.2, 0.4)]
    futures = [shop.executor.submit(task) for task in tasks]
    assert [future.result(timeout=60).recipe_id for future in futures] == [task.recipe_id for task in tasks]


def test_the_process_serves_many_tasks(shop: Shop) -> None:
    before = _process(shop)
    shop.executor.submit(shop.task(replace(HEAD, shrinkage=0.5))).result(timeout=60)
    assert _process(shop) == before


def test_the_speed_of_a_recipe_is_measured_there(shop: Shop) -> None:
    speed = shop.executor.measure(SpeedTask(FULL, 3, shop.folder / "cache", plugins=shop.plugins)).result(timeout=60)
    assert speed.training > 0
    assert speed.validation > 0


def test_ctrl_c_is_the_drivers_to_handle(shop: Shop) -> None:
    os.kill(_process(shop), signal.SIGINT)
    before = _process(shop)
    shop.executor.submit(shop.task(replace(HEAD, shrinkage=0.6))).result(timeout=60)
    assert _process(shop) == before


# ---- plugins that misbehave -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words"), [("leaving", "SystemExit: 3"), ("raising", "ValueError: no such layer")], ids=["exit", "raise"]
)
def test_a_plugin_that_raises_or_exits_is_named_and_the_process_lives_on(shop: Shop, name: str, words: str) -> None:
    before = _process(shop)
    error = _error(shop.executor.submit(shop.rogue(name)))
    assert f"`{name}`" in error.message
    assert words in error.message
    assert "rogues.py" in (error.hint or "")
    assert error.culprits == (name,)
    assert _process(shop) == before


def test_what_libraries_print_goes_to_the_log(shop: Shop) -> None:
    _error(shop.executor.submit(shop.rogue("talking")))
    log = (shop.folder / "worker.log").read_text()
    assert "a word on stdout" in log
    assert "a word on stderr" in log


# ---- death ----------------------------------------------------------------------------------------------------------


def test_a_process_killed_in_a_fold_is_told_by_its_signal_and_replaced(shop: Shop) -> None:
    before = _process(shop)
    error = _error(shop.executor.submit(shop.rogue("killed")))
    assert "SIGKILL" in error.message
    assert "worker.log" in (error.hint or "")
    shop.executor.submit(shop.task(replace(HEAD, shrinkage=0.7))).result(timeout=120)
    assert _process(shop) != before


def test_a_process_killed_between_folds_is_told_and_replaced_too(shop: Shop) -> None:
    before = _process(shop)
    os.kill(before, signal.SIGKILL)
    shop.executor._child.join()
    error = _error(shop.executor.submit(shop.task(HEAD)))
    assert "SIGKILL" in error.message
    shop.executor.submit(shop.task(replace(HEAD, shrinkage=0.75))).result(timeout=120)


@pytest.mark.slow
def test_a_process_that_a_plugin_ends_is_told_by_its_exit_code(shop: Shop) -> None:
    assert "exit code 7" in _error(shop.executor.submit(shop.rogue("quitting"))).message


@pytest.mark.parametrize(
    ("code", "words"), [(-9, "killed by SIGKILL"), (-11, "killed by SIGSEGV"), (3, "exit code 3"), (0, "exit code 0")]
)
def test_every_way_to_end_has_words(code: int, words: str) -> None:
    assert words in describe_exit(code)


def _is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks for the process in /proc")
def test_the_process_ends_when_its_driver_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from automl_car.search.executor import LocalExecutor\n"
        "if __name__ == '__main__':\n"
        "    executor = LocalExecutor(print, Path('worker.log'))\n"
        "    executor.machine()\n"
        "    print(executor._child.pid, flush=True)\n"
        "    time.sleep(600)\n"
    )
    (tmp_path / "driver.py").write_text(code)
    driver = subprocess.Popen([sys.executable, "driver.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    with driver.stdout:
        child = int(driver.stdout.readline())
        assert _is_alive(child)
        driver.kill()
        driver.wait()
    until = time.monotonic() + 10
    while _is_alive(child) and time.monotonic() < until:
        time.sleep(0.05)
    assert not _is_alive(child)


def test_closing_ends_the_process_whatever_it_is_doing(shop: Shop) -> None:
    # The last test: afterwards there is no process.
    process = _process(shop)
    future = shop.executor.submit(shop.rogue("sleeping"))
    time.sleep(0.5)
    assert not future.done()
    shop.executor.close()
    assert not _is_alive(process)
    assert "SIGKILL" in _error(future).message
