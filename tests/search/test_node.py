"""What a process of a node does with an order, without any engine: it trains, and says what it lacks."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from automl_car.catalog.records import PluginSources
from automl_car.data.index import read_dataset
from automl_car.data.prepare import Prepared, prepare
from automl_car.errors import ExecutorError, KilledError, MachineError, PluginError
from automl_car.fold_records import Epoch, FoldResult, FoldTask, Machine
from automl_car.records import Recipe
from automl_car.search import node
from automl_car.search.node import Wanted, answers, make_order, plugin_versions
from automl_car.store import read_result

HEAD = Recipe("toy", tuning="head", image_size=16, epochs=2, weights="random", params=(("toy.width", 8),))
FULL = replace(HEAD, tuning="full", batch_size=8, learning_rate=0.01, head_multiplier=1.0)


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory, tiny_photos: Callable[[Path], Path], toy_plugin_text: str
) -> tuple[Path, Prepared]:
    folder = tmp_path_factory.mktemp("place")
    (folder / "toy_networks.py").write_text(toy_plugin_text)
    dataset = read_dataset(tiny_photos(folder / "data"))
    folders = {"cache_directory": folder / "cache", "study_directory": folder / "study"}
    return folder, prepare(dataset, **folders, short_side=32, folds=2, seed=0)


@pytest.fixture(scope="module", autouse=True)
def _ended_afterwards() -> Iterator[None]:
    yield
    node._training.end()


def task(place: tuple[Path, Prepared], recipe: Recipe = HEAD, **changes: Any) -> FoldTask:
    folder, prepared = place
    sources = PluginSources(files=(folder / "toy_networks.py",))
    made = FoldTask(recipe, recipe.id(prepared.folds), 0, folder / "study", folder / "cache", sources)
    return replace(made, **changes)


def obey(place: tuple[Path, Prepared], task: FoldTask | None, **changes: Any) -> list[Any]:
    order = replace(make_order(task, place[0] / "search.worker.log"), **changes)
    return list(answers(pickle.loads(pickle.dumps(order))))


def test_it_says_what_it_runs_on_then_each_epoch_then_the_result(place: tuple[Path, Prepared]) -> None:
    machine, *epochs, result = obey(place, task(place, FULL))
    assert isinstance(machine, Machine)
    assert isinstance(result, FoldResult)
    assert tuple(message for message in epochs if isinstance(message, Epoch)) == result.curve
    assert read_result(task(place, FULL).fold_directory) == result


def test_one_training_process_serves_one_order_after_the_other(place: tuple[Path, Prepared]) -> None:
    seen = []
    for power in (0.4, 0.45):
        obey(place, task(place, replace(HEAD, power=power)))
        child = node._training._executor and node._training._executor._child
        assert child is not None
        seen.append(child.pid)
    assert seen[0] == seen[1]


def test_without_a_task_it_says_what_it_runs_on_alone(place: tuple[Path, Prepared]) -> None:
    (machine,) = obey(place, None)
    assert isinstance(machine, Machine)


def test_what_training_processes_print_goes_to_a_file_beside_the_drivers(place: tuple[Path, Prepared]) -> None:
    obey(place, None)
    assert len(list(place[0].glob("search.worker-*-*.log"))) == 1


def test_what_goes_wrong_comes_back_as_the_error_that_it_is(place: tuple[Path, Prepared]) -> None:
    _, error = obey(place, task(place, replace(HEAD, backbone="no_such", params=())))
    assert isinstance(error, PluginError)
    assert "Unknown backbone `no_such`" in error.message


def test_time_that_an_order_has_waited_is_gone(place: tuple[Path, Prepared]) -> None:
    soon = task(place, replace(FULL, seed=5), deadline=time.monotonic() + 60)
    *_, result = obey(place, soon, sent=time.time() - 120)
    assert result.status == "stopped"


# ---- what a node lacks ----------------------------------------------------------------------------------------------


def test_another_version_of_automl_car_is_told_with_both(place: tuple[Path, Prepared]) -> None:
    (error,) = obey(place, None, version="99.1")
    assert isinstance(error, MachineError)
    assert "99.1" in error.message
    assert "install the same version" in (error.hint or "")


def test_a_folder_that_the_node_does_not_have_is_named(place: tuple[Path, Prepared]) -> None:
    (error,) = obey(place, task(place, directory=Path("/no/such/place")))
    assert isinstance(error, MachineError)
    assert "has no folder `/no/such/place`" in error.message
    assert "file system that every node has" in (error.hint or "")


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (Wanted("gone", "1234abcd", False), "does not have the plugin `gone`, version 1234abcd"),
        (Wanted("toy_networks", "1234abcd", False), "of the plugin `toy_networks`, version 1234abcd"),
        (Wanted("their_cars", "2.0", True), "does not have the plugin `their_cars`, version 2.0"),
    ],
)
def test_a_plugin_that_the_node_lacks_is_named_before_anything_is_trained(
    place: tuple[Path, Prepared], wanted: Wanted, words: str
) -> None:
    (error,) = obey(place, task(place), plugins=(wanted,))
    assert isinstance(error, MachineError)
    assert words in error.message
    assert ("the same distribution" if wanted.installed else "file system") in (error.hint or "")


def test_the_order_names_the_plugins_of_the_driver_and_no_bundled_one(place: tuple[Path, Prepared]) -> None:
    (wanted,) = make_order(task(place), place[0] / "log").plugins
    assert (wanted.name, wanted.installed, len(wanted.version)) == ("toy_networks", False, 8)
    assert plugin_versions(PluginSources(files=(place[0] / "toy_networks.py",), disabled=("toy_networks",))) == ()


def test_paths_of_an_order_do_not_depend_on_where_a_process_works(
    place: tuple[Path, Prepared], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place[0])
    sources = PluginSources(verdicts=Path("cache/plugins"))
    order = make_order(task(place, directory=Path("study"), cache=Path("cache"), plugins=sources), Path("a.log"))
    assert order.task is not None
    sent, _ = order.task
    assert isinstance(sent, FoldTask)
    paths = (sent.directory, sent.cache, sent.plugins.verdicts, Path(order.log))
    assert paths == tuple(place[0] / name for name in ("study", "cache", "cache/plugins", "a.log"))


# ---- the end --------------------------------------------------------------------------------------------------------


def test_an_order_that_is_broken_off_ends_the_training_process(place: tuple[Path, Prepared]) -> None:
    order = make_order(task(place, replace(FULL, epochs=500, patience=0)), place[0] / "search.worker.log")
    under_way = answers(order)
    assert isinstance(next(under_way), Machine)
    assert isinstance(next(under_way), Epoch)
    child = node._training._executor and node._training._executor._child
    assert child is not None
    under_way.close()  # type: ignore[attr-defined]
    assert not child.is_alive()
    assert node._training._executor is None


def test_another_gpu_or_other_threads_take_another_training_process(
    place: tuple[Path, Prepared], monkeypatch: pytest.MonkeyPatch
) -> None:
    obey(place, None)
    before = node._training._executor
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    obey(place, None)
    assert before is not None
    assert node._training._executor is not before


def test_how_a_process_died_and_whether_it_hung_travel_with_the_error() -> None:
    error = KilledError("It was killed.", hint="see the log")
    error.exit_code, error.hung = -9, True
    copy: ExecutorError = pickle.loads(pickle.dumps(error))
    assert (type(copy), copy.message, copy.hint, copy.exit_code, copy.hung) == (
        KilledError,
        "It was killed.",
        "see the log",
        -9,
        True,
    )
