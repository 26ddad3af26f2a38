"""Plugins that misbehave in a search (rows 15 and 16 of the fault matrix): named, struck out, and survived."""

from __future__ import annotations

import json
from pathlib import Path

import optuna
import pytest
from fault_scene import Scene

SETTINGS = """
data: {{folds: 2}}
search: {{study: main, trials: {trials}, tuning: {tuning}, backbones: {backbones}, augmentations: {augmentations}}}
training: {{weights: random, epochs: 1, batch_size: 8, head_multiplier: 1, step: plain}}
pruning: {{enabled: false}}
plugins: {{files: [toy_networks.py], time_limit: 5}}
"""
PICTURES = """
from automl_car import Augmentation, hookimpl

def build(size):
    import albumentations as A
    def change(image, **_): {code}
    return A.Compose([A.Resize(size, size), A.Lambda(image=change)])

@hookimpl
def register_augmentations():
    return [Augmentation("bad_pictures", build)]
"""
NETWORK = """
from automl_car import Backbone, hookimpl

def build(num_classes, *, pretrained=True):
    from torch import nn
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.last = nn.Linear(3, num_classes)
        def forward(self, images):
            {code}
            return self.last(images.mean((2, 3)))
    return Net()

@hookimpl
def register_backbones():
    return [Backbone("bad_net", build, image_size=16)]
"""


def add_plugin(scene: Scene, name: str, text: str) -> Path:
    path = scene.root / "plugins" / f"{name}.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def settings(scene: Scene, **values: str) -> None:
    defaults = {"trials": "4", "tuning": "head", "backbones": "[toy]", "augmentations": "[none]"}
    (scene.root / "automl-car.yaml").write_text(SETTINGS.format(**{**defaults, **values}))


def study(scene: Scene) -> optuna.Study:
    return optuna.load_study(study_name="main", storage=f"sqlite:///{scene.study}")


def test_an_augmentation_that_fails_is_struck_out_and_the_search_goes_on_without_it(scene: Scene) -> None:
    path = add_plugin(scene, "pictures", PICTURES.format(code='raise ValueError("no colour")'))
    settings(scene, trials="7", tuning="full", augmentations="[bad_pictures, none]")
    assert scene.run() == 0, scene.output
    trials = study(scene).trials
    failed = [trial for trial in trials if trial.user_attrs.get("failed_by") == ["bad_pictures"]]
    assert len(failed) <= 3
    assert len(trials) == 7
    assert {trial.user_attrs["augmentation"] for trial in trials if trial not in failed} == {"none"}
    title = f"plugin `pictures` ({path}, version "
    assert scene.output.index(title) < scene.output.index("trial 0")
    assert f"`bad_pictures` of {title}" in failed[0].user_attrs["reason"]
    assert "no colour" in failed[0].user_attrs["reason"]
    (recorded,) = [row for row in study(scene).user_attrs["plugins"] if row["name"] == "pictures"]
    assert (recorded["location"], len(recorded["version"])) == (str(path), 8)
    scene.probabilities()
    assert scene.processes() == []


@pytest.mark.slow
def test_a_plugin_that_ends_the_process_that_loads_it_stops_a_search_with_its_name(scene: Scene) -> None:
    path = add_plugin(scene, "quits", "import os; os._exit(0)")
    assert scene.run() == 2
    assert f"`quits` ({path}): while it was imported: it ended the process with exit code 0." in scene.output
    assert "Traceback" not in scene.output
    assert scene.run("plugins", "list") == 0
    assert "plugin `quits` is broken: while it was imported" in scene.output
    assert scene.run("search", "--no-local-plugins", "--trials", "1") == 0, scene.output


DEADLY = {
    "crash": ("import ctypes; ctypes.string_at(0)", "The training process was killed by SIGSEGV."),
    "exit": ("import os; os._exit(3)", "The training process ended with exit code 3."),
    "endless loop": ("while True: pass", "it did not come back from being tried out on two images"),
    "loop that keeps the interpreter": ("import re; re.match('(a+)+$', 'a' * 60 + 'b')", "`bad_net` of plugin"),
    "processes": ("import subprocess; [subprocess.Popen(['sleep', '3']) for _ in 'ab']", ""),
    "output": ("print('hello')", ""),
}


@pytest.mark.slow
@pytest.mark.parametrize(("code", "reason"), DEADLY.values(), ids=DEADLY)
def test_a_network_that_is_deadly_is_named_and_the_other_ones_are_searched(
    code: str, reason: str, scene: Scene
) -> None:
    path = add_plugin(scene, "network", NETWORK.format(code=code))
    settings(scene, trials="6", backbones="[bad_net, toy]")
    assert scene.run() == 0, scene.output
    trials = study(scene).trials
    assert {trial.state.name for trial in trials if trial.user_attrs["backbone"] == "toy"} == {"COMPLETE"}
    bad = [trial for trial in trials if trial.user_attrs["backbone"] == "bad_net"]
    assert bad
    if reason:
        assert all(trial.user_attrs["failed_by"] == ["bad_net"] for trial in bad)
        assert f"`bad_net` of plugin `network` ({path}, version " in bad[0].user_attrs["reason"]
        assert reason in bad[0].user_attrs["reason"]
    scene.probabilities()
    assert scene.processes() == []


@pytest.mark.slow
def test_what_a_plugin_prints_does_not_spoil_json(scene: Scene) -> None:
    add_plugin(scene, "network", "print('hello at import')\n" + NETWORK.format(code="print('hello in forward')"))
    settings(scene, trials="2", backbones="[bad_net]")
    process = scene.start("search", "--json", environment={"PYTHONUNBUFFERED": "1"})
    assert process.wait(180) == 0, scene.output
    before, brace, after = scene.output.partition("\n{\n")
    assert brace, before
    assert json.loads("{\n" + after[: after.rindex("\n}\n") + 3])["complete"] == 2


@pytest.mark.slow
def test_when_every_backbone_fails_the_search_ends_with_the_reasons(scene: Scene) -> None:
    add_plugin(scene, "network", NETWORK.format(code='raise ValueError("no such layer")'))
    settings(scene, trials="9", backbones="[bad_net]")
    assert scene.run() == 2
    assert "error: Nothing is left to search: 3 trials have failed by each of `bad_net`." in scene.output
    assert "no such layer" in scene.output
