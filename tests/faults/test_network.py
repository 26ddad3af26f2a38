"""No command uses a network that nobody asked for (row 28): every process is stopped and told of at its first try."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fault_scene import Scene

# Python runs this first in every process: an audit hook, which no library can get around.
BLOCKER = """
import os, sys

def refuse(event, arguments):
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.connect", "socket.sendto"):
        if event == "socket.connect" and isinstance(arguments[1], (str, bytes)):
            return  # a socket in the file system
        with open(os.environ["NETWORK_LOG"], "a") as log:
            log.write(f"{event} {arguments!r}\\n")
        raise OSError("there is no network in this test")

sys.addaudithook(refuse)
"""
IMPORT_ALL = """
import importlib, pkgutil, automl_car
for module in pkgutil.walk_packages(automl_car.__path__, "automl_car."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""
# It imports what would ask the network for updates before anything of automl-car's training does.
EAGER = """
import albumentations as A
from automl_car import Augmentation, hookimpl

def build(size):
    return A.Compose([A.Resize(size, size), A.RandomRotate90()])

@hookimpl
def register_augmentations():
    return [Augmentation("eager", build, source="here")]
"""


@pytest.fixture
def blocked(tmp_path: Path) -> dict[str, str]:
    """An environment in which every try to use the network fails, and is written to `NETWORK_LOG`."""
    (tmp_path / "sitecustomize.py").write_text(BLOCKER)
    return {
        "PYTHONPATH": str(tmp_path),
        "NETWORK_LOG": str(tmp_path / "network.log"),
        "HF_HOME": str(tmp_path / "hub"),
        "NO_ALBUMENTATIONS_UPDATE": "",
    }


def used(environment: dict[str, str]) -> str:
    log = Path(environment["NETWORK_LOG"])
    return log.read_text() if log.exists() else ""


def python(code: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    merged = {**os.environ, **environment}
    del merged["NO_ALBUMENTATIONS_UPDATE"]  # the setting has to come from automl-car
    return subprocess.run([sys.executable, "-c", code], env=merged, capture_output=True, text=True)


def test_the_block_is_noticed(blocked: dict[str, str]) -> None:
    ended = python("import socket; socket.create_connection(('localhost', 9), 1)", blocked)
    assert "there is no network in this test" in ended.stderr
    assert "getaddrinfo" in used(blocked)


def test_importing_everything_uses_no_network(blocked: dict[str, str]) -> None:
    ended = python(IMPORT_ALL + "import albumentations, timm, huggingface_hub", blocked)
    assert ended.returncode == 0, ended.stderr
    assert used(blocked) == ""


@pytest.mark.slow
def test_a_plugin_that_imports_albumentations_first_makes_it_ask_nobody(blocked: dict[str, str], scene: Scene) -> None:
    (scene.root / "plugins").mkdir()
    (scene.root / "plugins" / "eager.py").write_text(EAGER)
    blocked.pop("NO_ALBUMENTATIONS_UPDATE")
    for command in (["plugins", "list", "--json"], ["plugins", "check", "eager"]):
        assert scene.run(*command, environment=blocked) == 0, scene.output
    assert used(blocked) == ""


@pytest.mark.slow
def test_no_journey_uses_a_network(blocked: dict[str, str], scene: Scene) -> None:
    (scene.root / "plugins").mkdir()
    (scene.root / "plugins" / "eager.py").write_text(EAGER)
    text = (scene.root / "automl-car.yaml").read_text().replace("augmentations: [none]", "augmentations: [eager]")
    (scene.root / "automl-car.yaml").write_text(text)
    blocked.pop("NO_ALBUMENTATIONS_UPDATE")
    for command in (
        ["search", "--plan"],
        ["search"],
        ["ensemble", "--output", str(scene.root / "submission.csv")],
        ["report"],
        ["bundle", "--plugin", str(scene.root / "toy_networks.py")],
        ["predict", str(scene.root / "data" / "test"), "--output", str(scene.root / "predictions.csv")],
    ):
        options = ["--bundle", str(scene.root / "bundles" / "main")] if command[0] == "predict" else []
        assert scene.run(*command, *options, environment=blocked) == 0, scene.output
    assert used(blocked) == ""


@pytest.mark.slow
def test_the_hub_is_asked_only_for_a_backbone_that_is_named_and_not_here(blocked: dict[str, str], scene: Scene) -> None:
    text = (scene.root / "automl-car.yaml").read_text().replace("weights: random, ", "")
    (scene.root / "automl-car.yaml").write_text(text)
    offline = {**blocked, "HF_HUB_OFFLINE": "1"}
    named = ["search", "--backbone", "resnet50", "--tuning", "head", "--trials", "1"]
    assert scene.run(*named, environment=offline) == 2, scene.output
    assert used(blocked) == ""
    assert "put `model.safetensors` of https://huggingface.co/timm/resnet50" in scene.output
    assert "name a file (`training: {weights: {resnet50: FILE}}`)" in scene.output
    assert "Traceback" not in scene.output
    assert scene.run(*named, environment=blocked) == 2, scene.output
    assert "huggingface.co" in used(blocked)


WEIGHTS_HERE = """
import os, sys
from pathlib import Path
import timm
from safetensors.torch import save_file
folder = Path(os.environ["HF_HOME"], "hub", "models--timm--resnet18.tv_in1k")
snapshot = folder / "snapshots" / ("0" * 40)
snapshot.mkdir(parents=True)
(folder / "refs").mkdir()
(folder / "refs" / "main").write_text("0" * 40)
model = timm.create_model("resnet18.tv_in1k", pretrained=False)
save_file(model.state_dict(), snapshot / "model.safetensors")

from functools import partial
from automl_car import Backbone
from automl_car.catalog.hub import find_in_hub_cache
from automl_car.records import Recipe
from automl_car.training.model import build_model
def build(classes, *, pretrained=True):
    return timm.create_model("resnet18.tv_in1k", pretrained=pretrained, num_classes=classes)
build_model(Backbone("net", build, find_weights=partial(find_in_hub_cache, "timm/resnet18.tv_in1k")), Recipe("net"), 4)
"""


def test_weights_that_are_here_are_loaded_without_asking_for_newer_ones(blocked: dict[str, str]) -> None:
    ended = python(WEIGHTS_HERE, blocked)
    assert ended.returncode == 0, ended.stderr
    assert used(blocked) == ""
