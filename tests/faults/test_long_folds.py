"""Folds that take long, and networks that are broken, in whole searches (rows 1, 2 and 14 of the fault matrix)."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fault_scene import Scene, kill_group

# One fine-tuning of many short epochs, each of which counts as long.
LONG = """
data: {folds: 2}
search: {study: main, trials: 1, tuning: full, backbones: [toy], augmentations: [none]}
training: {weights: random, epochs: 60, patience: 0, batch_size: 8, head_multiplier: 1, step: plain,
           checkpoint_seconds: 0}
plugins: {files: [toy_networks.py]}
"""

BROKEN = """
data: {folds: 2}
search: {study: main, trials: 20, tuning: full, backbones: [toy], augmentations: [none]}
training: {weights: random, epochs: 2, batch_size: 8, head_multiplier: 1, step: plain}
plugins: {files: [toy_networks.py]}
"""


# Well while it is tried out on two images.
SICK = """
def sick():
    from torch import nn

    class Sick(nn.Module):
        def forward(self, features):
            return features if len(features) <= 2 else features * float("nan")

    return Sick()
"""


def _wait_for_epoch(scene: Scene, number: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until a fold has a checkpoint of that epoch or a later one."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        assert process.poll() is None, scene.output
        for path in scene.store.glob("*/fold-*/checkpoint-*.safetensors"):
            if int(path.stem.partition("-")[2]) >= number:
                return
        time.sleep(0.005)
    raise AssertionError(scene.output)


def _curve(path: Path) -> list[dict[str, Any]]:
    record = json.loads(path.read_text(encoding="utf-8"))
    return list(record["curve"] if "curve" in record else record["result"]["curve"])


@pytest.mark.slow
def test_a_long_fold_that_was_killed_trains_at_most_one_epoch_again_and_comes_to_the_same(
    make_scene: Callable[[], Scene],
) -> None:
    undisturbed, killed = make_scene(), make_scene()
    for scene in (undisturbed, killed):
        (scene.root / "automl-car.yaml").write_text(LONG)
    assert undisturbed.run() == 0, undisturbed.output
    process = killed.start()
    _wait_for_epoch(killed, 9, process)
    kill_group(process)
    (checkpoint,) = killed.store.glob("*/fold-*/checkpoint.json")
    done = _curve(checkpoint)
    assert 8 <= len(done) < 60
    assert killed.run() == 0, killed.output
    # An epoch that were trained again would have ended at another time.
    assert _curve(checkpoint.parent / "record.json")[: len(done)] == done
    assert killed.log_losses() == pytest.approx(undisturbed.log_losses(), abs=1e-9)
    assert np.abs(killed.probabilities() - undisturbed.probabilities()).max() < 1e-9
    assert killed.leftovers() == []
    assert list(killed.store.rglob("checkpoint*")) == []
    assert killed.processes() == []


@pytest.mark.slow
def test_a_network_that_only_gives_nan_stops_the_search_with_its_name_and_leaves_no_fold(scene: Scene) -> None:
    (scene.root / "automl-car.yaml").write_text(BROKEN)
    plugin = scene.root / "toy_networks.py"
    text = plugin.read_text()
    assert "nn.Flatten()," in text
    plugin.write_text(text.replace("nn.Flatten(),", "nn.Flatten(), sick(),") + SICK)
    assert scene.run() == 2, scene.output
    said = " ".join(scene.output.split())
    assert "3 trials in a row failed for one reason: training diverges, and no trial is complete" in said
    assert "of `toy`: The training loss was nan in epoch 1, step 1, although the learning rate was halved" in said
    assert scene.records() == {}
    assert scene.leftovers() == []
    assert scene.processes() == []
