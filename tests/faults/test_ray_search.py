"""Whole searches on a cluster of Ray, two nodes on this machine: they come to what this machine alone comes to."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from fault_scene import Scene, kill_group

ray = pytest.importorskip("ray", reason="pip install 'automl-car[ray]'")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*:ResourceWarning")]  # of Ray's own pipes

# One thread a process on both sides, as sums in another order differ in their last digits; one trial at a time, as
# which trial is asked for next depends on those that have ended; and no choice by seconds, as other work changes these.
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
SAMPLE = """
search:
  {study: main, trials: 12, parallel_trials: 1, gain_per: trial, backbones: [efficientnet_lite0, efficientnet_lite1]}
space: {image_size: 64, views: 2}
training: {step: plain}
executors: {ray: {cpus: 1}}
"""


@pytest.fixture
def two_nodes() -> Iterator[tuple[Any, Any]]:
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        for name, value in ONE_THREAD.items():
            patch.setenv(name, value)
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        second = cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
    yield cluster, second
    cluster.shutdown()


def trials(scene: Scene) -> list[dict[str, Any]]:
    """Parameters, state, log loss and fold losses of each trial, read from the study's database by Optuna alone."""
    import optuna

    study = optuna.load_study(study_name="main", storage=f"sqlite:///{scene.study}")
    return [
        {
            "params": trial.params,
            "state": trial.state.name,
            "value": trial.value,
            "folds": trial.user_attrs.get("fold_log_loss"),
        }
        for trial in study.trials
    ]


def assert_same(ours: Scene, theirs: Scene) -> None:
    """Trials, folds and log losses, and the submission, within 1e-9."""
    mine, others = trials(ours), trials(theirs)
    assert [(trial["params"], trial["state"]) for trial in mine] == [(one["params"], one["state"]) for one in others]
    for trial, other in zip(mine, others, strict=True):
        assert trial["value"] == pytest.approx(other["value"], abs=1e-9)
        assert trial["folds"] == pytest.approx(other["folds"], abs=1e-9)
    assert any(trial["folds"] for trial in mine)
    assert np.abs(ours.probabilities() - theirs.probabilities()).max() < 1e-9


def search(scene: Scene, *arguments: str) -> int:
    return scene.run("search", "--sample", *arguments, environment=ONE_THREAD, timeout=1800)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Scene]:
    """Makes a workspace for the sample search."""

    def make() -> Scene:
        root = tmp_path_factory.mktemp("sample")
        (root / "automl-car.yaml").write_text(SAMPLE)
        return Scene(root, photos="data/sample")

    return make


@pytest.fixture(scope="module")
def alone(sample: Callable[[], Scene]) -> Scene:
    """The sample search by processes of this machine; tests only read it."""
    scene = sample()
    assert search(scene) == 0, scene.output
    return scene


def test_the_sample_search_comes_to_the_same_on_two_nodes_as_on_this_machine(
    alone: Scene, sample: Callable[[], Scene], two_nodes: tuple[Any, Any]
) -> None:
    scene = sample()
    assert search(scene, "--executor", "ray", "--address", two_nodes[0].address) == 0, scene.output
    assert "2 folds are trained at a time" in scene.output
    assert_same(scene, alone)
    assert len(list((scene.root / "logs").glob("*.worker-*.log"))) >= 2
    assert scene.leftovers() == []


def test_a_node_that_is_lost_in_the_middle_costs_no_finished_fold_and_the_submission_is_the_same(
    alone: Scene, sample: Callable[[], Scene], two_nodes: tuple[Any, Any]
) -> None:
    cluster, second = two_nodes
    scene = sample()
    process = scene.start(
        "search", "--sample", "--executor", "ray", "--address", cluster.address, environment=ONE_THREAD
    )
    try:
        scene.wait_for_folds(7, process, timeout=900)
        cluster.remove_node(second, allow_graceful=False)
        scene.look()
        time.sleep(5)
        cluster.add_node(num_cpus=1)  # and another one joins
        assert process.wait(1800) == 0, scene.output
    finally:
        kill_group(process)
    scene.look()
    assert_same(scene, alone)


def test_ctrl_c_ends_a_search_on_ray_in_good_order_and_the_same_command_finishes_it(
    scene: Scene, assert_as_undisturbed: Callable[[Scene], None]
) -> None:
    process = scene.start("search", "--executor", "ray", environment=ONE_THREAD)
    try:
        scene.wait_for_folds(2, process)
        began = time.monotonic()
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(30) == 130
        assert time.monotonic() - began < 11
    finally:
        kill_group(process)
    assert scene.run("search", "--executor", "ray", environment=ONE_THREAD) == 0, scene.output
    assert_as_undisturbed(scene)


def test_a_lost_head_ends_the_search_with_a_line_and_this_machine_finishes_it(
    scene: Scene, two_nodes: tuple[Any, Any]
) -> None:
    cluster, _ = two_nodes
    longer = ("search", "--trials", "60", "--timeout", "10m")
    arguments = (*longer, "--executor", "ray", "--address", cluster.address)
    process = scene.start(*arguments, environment=ONE_THREAD)
    try:
        scene.wait_for_folds(1, process)
        cluster.head_node.kill_gcs_server()
        assert process.wait(120) == 2, scene.output
    finally:
        kill_group(process)
    assert "error: The connection with the cluster of Ray is lost" in scene.output
    scene.look()
    assert scene.run(*longer, environment=ONE_THREAD) == 0, scene.output
    scene.look()
    assert len(scene.probabilities())
