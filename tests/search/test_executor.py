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
from automl_car.errors import (
    AutomlCarError,
    DeviceLostError,
    ExecutorError,
    KilledError,
    MachineError,
    OutOfMemoryError,
    PluginError,
    ProcessLostError,
)
from automl_car.fold_records import Epoch, FoldTask, Machine, Progress, SpeedTask
from automl_car.records import Recipe
from automl_car.search import beats
from automl_car.search.child import describe_exit
from automl_car.search.executor import LocalExecutor
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
def stopped(*args, **kwargs): os.kill(os.getpid(), signal.SIGSTOP)
def greedy(*args, **kwargs): raise MemoryError
def limited(*args, **kwargs):
    import resource, torch
    resource.setrlimit(resource.RLIMIT_AS, (2**33, resource.RLIM_INFINITY))
    torch.empty(2**34)
def filling(*args, **kwargs): raise OSError(28, "No space left on device", "/some/file")
def asserting(*args, **kwargs): raise RuntimeError("CUDA error: device-side assert triggered")
def vanishing(*args, **kwargs): raise RuntimeError("No CUDA GPUs are available")
def writing(*args, **kwargs):
    from pathlib import Path
    from automl_car.files import open_atomically
    with open_atomically(Path(__file__).with_name("half.bin")):
        time.sleep(600)
def quitting(*args, **kwargs): os._exit(7)
def sleeping(*args, **kwargs): time.sleep(600)
def talking(*args, **kwargs):
    print("a word on stdout", flush=True)
    print("a word on stderr", file=sys.stderr, flush=True)
    raise ValueError("that is all")

@hookimpl
def register_backbones():
    return [Backbone(build.__name__, build, image_size=16)
            for build in (killed, leaving, raising, quitting, sleeping, talking, stopped, greedy, limited, filling,
                          asserting, vanishing, writing)]
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
    shop.executor._send(None).result(timeout=60)  # has started, if the one before was lost
    assert shop.executor._child is not None
    return shop.executor._child.pid


def _kill_idle(shop: Shop) -> None:
    os.kill(_process(shop), signal.SIGKILL)
    child = shop.executor._child
    assert child is not None
    _wait_until(lambda: not child.is_alive())


def _wait_until(what: Callable[[], bool], seconds: float = 10) -> None:
    until = time.monotonic() + seconds
    while not what() and time.monotonic() < until:
        time.sleep(0.02)
    assert what()


def _error(
    future: Future[Any], kind: type[AutomlCarError] | tuple[type[AutomlCarError], ...] = (ExecutorError, PluginError)
) -> AutomlCarError:
    with pytest.raises(kind) as caught:
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


@pytest.mark.parametrize("name", ["SIGINT", "SIGHUP"])
def test_ctrl_c_and_a_closed_terminal_are_the_drivers_to_handle(shop: Shop, name: str) -> None:
    os.kill(_process(shop), getattr(signal, name))
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
    error = _error(shop.executor.submit(shop.rogue("killed")), KilledError)
    assert "SIGKILL" in error.message
    assert "worker.log" in (error.hint or "")
    shop.executor.submit(shop.task(replace(HEAD, shrinkage=0.7))).result(timeout=120)
    assert _process(shop) != before


def test_a_process_killed_between_folds_costs_no_fold(shop: Shop) -> None:
    before = _process(shop)
    _kill_idle(shop)
    shop.executor.submit(shop.task(replace(HEAD, shrinkage=0.75))).result(timeout=120)
    assert _process(shop) != before


def test_a_stopped_process_gives_no_sign_of_life_and_is_replaced(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beats, "SILENT_SECONDS", 3.0)
    monkeypatch.setattr(beats, "BEAT_SECONDS", 0.5)
    before = _process(shop)
    error = _error(shop.executor.submit(shop.rogue("stopped")), ProcessLostError)
    assert "gave no sign of life for 3 s and was ended" in error.message
    assert not _is_alive(before)
    shop.executor.submit(shop.task(replace(HEAD, shrinkage=0.76))).result(timeout=120)


@pytest.mark.slow
def test_a_plugin_that_waits_for_ever_does_not_get_a_step_further(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beats, "STUCK_SECONDS", 3.0)
    error = _error(shop.executor.submit(shop.rogue("sleeping")), ProcessLostError)
    assert "did not get a step further for 3 s and was ended" in error.message


def test_no_memory_is_told_as_that(shop: Shop) -> None:
    error = _error(shop.executor.submit(shop.rogue("greedy")), OutOfMemoryError)
    assert "`greedy` at 16 px, batch 8" in error.message


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not keep a process to such a limit")
def test_a_limit_of_the_address_space_is_told_as_no_memory(shop: Shop) -> None:
    _error(shop.executor.submit(shop.rogue("limited")), OutOfMemoryError)
    _kill_idle(shop)  # the limit stays


def test_a_full_disk_is_no_fault_of_the_plugin_in_which_it_shows(shop: Shop) -> None:
    error = _error(shop.executor.submit(shop.rogue("filling")), MachineError)
    assert error.message == "`/some/file` cannot be written: No space left on device."
    assert "free space" in (error.hint or "")


@pytest.mark.parametrize("name", ["asserting", pytest.param("vanishing", marks=pytest.mark.slow)])
def test_a_gpu_that_fails_takes_its_process_with_it(shop: Shop, name: str) -> None:
    before = _process(shop)
    error = _error(shop.executor.submit(shop.rogue(name)), DeviceLostError)
    assert error.message.startswith("The GPU failed: ")
    assert _process(shop) != before
    assert not _is_alive(before)


@pytest.mark.slow
def test_a_new_process_without_the_gpu_ends_the_search(shop: Shop) -> None:
    own = shop.executor._machine
    _kill_idle(shop)
    shop.executor._machine = Machine("cuda", "a GPU", 2)
    try:
        error = _error(shop.executor.submit(shop.task(HEAD)), MachineError)
    finally:
        shop.executor._machine = own
    assert error.message.startswith("a GPU is not there any more: ")


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
    future = shop.executor.submit(shop.rogue("writing"))
    _wait_until(lambda: list(shop.folder.glob(".*.tmp")) != [])
    assert not future.done()
    shop.executor.close()
    assert not _is_alive(process)
    assert _error(future).message == "The training process was ended with the search."
    assert list(shop.folder.glob(".*.tmp")) == []
