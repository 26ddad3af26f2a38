"""What a fold takes of a cluster, and how many fit: with made-up nodes, and without Ray."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from automl_car.errors import (
    DivergedError,
    ExecutorError,
    KilledError,
    MachineError,
    ProcessLostError,
)
from automl_car.search.ray_cluster import Cluster, Needs, Share, pick_needs
from automl_car.search.ray_errors import explain

LARGE, SMALL, HEAD = {"CPU": 64.0, "GPU": 8.0}, {"CPU": 16.0}, {"CPU": 0.0}


@pytest.mark.parametrize(
    ("nodes", "cpus", "gpus", "expected"),
    [
        ([LARGE], 0, -1.0, Needs(8, 1.0)),
        ([LARGE, SMALL, HEAD], 0, -1.0, Needs(8, 1.0)),  # nodes without a GPU are left out, with their cores
        ([LARGE], 0, 0.5, Needs(4, 0.5)),
        ([LARGE], 2, -1.0, Needs(2, 1.0)),
        ([SMALL, {"CPU": 4.0}], 0, -1.0, Needs(4, 0.0)),
        ([LARGE, SMALL], 0, 0.0, Needs(16, 0.0)),
        ([HEAD], 0, -1.0, Needs(1, 0.0)),
        ([], 0, -1.0, Needs(1, 0.0)),
        ([{"CPU": 4.0, "GPU": 8.0}], 0, -1.0, Needs(1, 1.0)),
    ],
)
def test_a_fold_takes_what_the_nodes_leave_to_it(
    nodes: list[dict[str, float]], cpus: int, gpus: float, expected: Needs
) -> None:
    assert pick_needs(nodes, cpus, gpus) == expected


def fake_ray(*nodes: dict[str, float]) -> Any:
    """As much of Ray as a count of its nodes takes; the list of nodes may be changed."""
    listed = [{"Alive": True, "Resources": node} for node in nodes]
    context = SimpleNamespace(gcs_address="127.0.0.1:1")
    return SimpleNamespace(nodes=lambda: listed, get_runtime_context=lambda: context, listed=listed)


def test_slots_are_those_of_the_nodes_that_are_alive() -> None:
    ray = fake_ray(LARGE, LARGE, SMALL)
    cluster = Cluster(ray, "auto", Share(), ours=False)
    assert cluster.slots() == 16
    ray.listed[0]["Alive"] = False
    cluster.refresh()
    assert cluster.slots() == 8
    ray.listed.append({"Alive": True, "Resources": {"CPU": 32.0, "GPU": 4.0}})
    cluster.refresh()
    assert cluster.slots() == 12


def test_where_no_node_is_one_task_waits_or_as_many_as_the_settings_say() -> None:
    assert Cluster(fake_ray(), "auto", Share(), ours=False).slots() == 1
    assert Cluster(fake_ray(SMALL), "auto", Share(at_least=12), ours=False).slots() == 12


@pytest.mark.parametrize(
    ("nodes", "address", "words"),
    [
        ((LARGE, SMALL), "auto", "Ray, 2 nodes: 8 folds at a time, each with 8 cores and 1 GPU"),
        (({"CPU": 2.0},), "", "Ray, this machine: 1 fold at a time, each with 2 cores"),
        ((HEAD,), "auto", "Ray, 1 node: no node has 1 core for a fold; the search waits until one joins"),
    ],
)
def test_a_person_is_told_what_there_is(nodes: tuple[dict[str, float], ...], address: str, words: str) -> None:
    assert Cluster(fake_ray(*nodes), address, Share(), ours=False).describe() == words


def test_a_head_that_nobody_listens_for_does_not_answer() -> None:
    assert not Cluster(fake_ray(SMALL), "auto", Share(), ours=False).answers()


# ---- errors ---------------------------------------------------------------------------------------------------------


def raised(name: str, text: str = "some words", base: type[Exception] = Exception, **attributes: Any) -> Exception:
    """An error of a class of this name, as Ray has them."""
    error: Exception = type(name, (base,), {})(text)
    for key, value in attributes.items():
        setattr(error, key, value)
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (raised("WorkerCrashedError"), ProcessLostError),
        (raised("NodeDiedError"), ProcessLostError),
        (raised("OwnerDiedError", base=type("ObjectLostError", (Exception,), {})), ProcessLostError),
        (raised("OutOfMemoryError"), KilledError),
        (raised("TaskCancelledError"), ExecutorError),
        (raised("TaskUnschedulableError"), MachineError),
        (raised("RaySystemError"), MachineError),
        (ConnectionError("gone"), MachineError),
        (raised("RayTaskError", cause=ModuleNotFoundError("No module named 'automl_car'")), MachineError),
        (raised("RayTaskError", cause=ValueError("a bug")), ExecutorError),
        (raised("RayTaskError", cause=DivergedError("its loss")), DivergedError),
        (DivergedError("its loss"), DivergedError),
    ],
)
def test_an_error_of_ray_is_told_as_what_it_means_for_a_fold(error: Exception, kind: type[Exception]) -> None:
    assert type(explain(error)) is kind


def test_what_ray_says_of_a_lost_node_is_kept() -> None:
    told = explain(raised("NodeDiedError", "Task failed because the node it was running on is dead.\n\n  IP: 10.0.0.7"))
    assert told.hint == "Task failed because the node it was running on is dead. IP: 10.0.0.7"


def test_a_lost_cluster_is_told_with_what_to_do() -> None:
    told = explain(ConnectionError("refused"))
    assert told.message == "The connection with the cluster of Ray is lost: ConnectionError: refused"
    assert "what is finished is kept" in (told.hint or "")
