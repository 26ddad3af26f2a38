from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from automl_car import Backbone
from automl_car.catalog.manager import load_catalog
from automl_car.errors import PluginError, WeightsError
from automl_car.records import Recipe
from automl_car.training.model import build_model, classifier, feature_extractor, load_weights

CLASSES = 4


def build(num_classes: int, *, pretrained: bool = True, width: int = 8) -> nn.Module:
    if pretrained:
        raise FileNotFoundError("no such file: net.pth")
    return nn.Sequential(nn.Flatten(), nn.Linear(12, width), nn.ReLU(), nn.Linear(width, num_classes))


TOY = Backbone("toy", build)


def tensors_of(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def saved(path: Path, tensors: Any) -> Path:
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path)
    return path


# ---- what a recipe asks for -----------------------------------------------------------------------------------------


def test_the_recipes_parameters_reach_the_plugin() -> None:
    recipe = Recipe("toy", weights="random", params=(("light.border", 0.1), ("toy.width", 5)))
    assert classifier(build_model(TOY, recipe, CLASSES), CLASSES).in_features == 5


def test_missing_pretrained_weights_are_an_error_that_says_what_to_do_and_no_random_start() -> None:
    with pytest.raises(WeightsError, match="pretrained weights of `toy` cannot be loaded: FileNotFoundError") as caught:
        build_model(TOY, Recipe("toy"), CLASSES)
    assert caught.value.hint is not None
    assert "weights: {toy: FILE}" in caught.value.hint
    assert "weights: random" in caught.value.hint


def test_random_weights_ask_the_plugin_for_no_pretrained_ones() -> None:
    assert isinstance(build_model(TOY, Recipe("toy", weights="random"), CLASSES), nn.Module)


# ---- the hub's cache ------------------------------------------------------------------------------------------------

TIMM_PLUGIN = """
from functools import partial
from automl_car import Backbone, hookimpl
from automl_car.catalog.hub import find_in_hub_cache

def build(num_classes, *, pretrained=True):
    import timm
    return timm.create_model("mobilenetv3_small_050.lamb_in1k", pretrained=pretrained, num_classes=num_classes)

@hookimpl
def register_backbones():
    find = partial(find_in_hub_cache, "timm/mobilenetv3_small_050.lamb_in1k")
    return [Backbone("small_net", build, source="arXiv:1905.02244", find_weights=find)]
"""

LOAD = """
import sys
from pathlib import Path
from safetensors.torch import save_file
from automl_car.catalog.manager import load_catalog
from automl_car.catalog.records import PluginSources
from automl_car.errors import WeightsError
from automl_car.records import Recipe
from automl_car.training.model import build_model

backbone = load_catalog(PluginSources(files=(Path(sys.argv[1]),))).backbone("small_net")
print("found:", backbone.find_weights())
try:
    save_file(build_model(backbone, Recipe("small_net"), 4).state_dict(), sys.argv[2])
except WeightsError as error:
    print("WeightsError:", error.message)
    print("hint:", error.hint)
"""


def load_offline(tmp_path: Path) -> str:
    """Build the plugin's network without a network connection, in a process whose hub cache is `tmp_path/hub`."""
    (tmp_path / "small_net.py").write_text(TIMM_PLUGIN)
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    command = [sys.executable, "-c", LOAD, str(tmp_path / "small_net.py"), str(tmp_path / "loaded.safetensors")]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


def test_pretrained_weights_in_the_hubs_cache_are_loaded_without_a_network(tmp_path: Path) -> None:
    cached = tensors_of(timm.create_model("mobilenetv3_small_050.lamb_in1k", pretrained=False))
    folder = tmp_path / "hub" / "models--timm--mobilenetv3_small_050.lamb_in1k"
    snapshot = folder / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("0" * 40)
    saved(snapshot / "model.safetensors", cached)
    assert f"found: {snapshot / 'model.safetensors'}" in load_offline(tmp_path)
    from safetensors.torch import load_file

    loaded = load_file(tmp_path / "loaded.safetensors")
    assert loaded.keys() == cached.keys()
    assert loaded["classifier.weight"].shape == (4, 1024)
    body = [name for name in cached if not name.startswith("classifier")]
    assert [name for name in body if not torch.equal(loaded[name], cached[name])] == []


def test_an_empty_hub_cache_without_a_network_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    answer = load_offline(tmp_path)
    assert "found: None" in answer
    assert "WeightsError: The pretrained weights of `small_net` cannot be loaded" in answer
    assert "hint: put `model.safetensors` of https://huggingface.co/timm/mobilenetv3_small_050.lamb_in1k" in answer
    assert "name a file (`training: {weights: {small_net: FILE}}`)" in answer
    assert not (tmp_path / "loaded.safetensors").exists()


# ---- weights from a file --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_a_file_of_the_same_classes_is_loaded_whole(name: str, tmp_path: Path) -> None:
    theirs = build(CLASSES, pretrained=False)
    path = saved(tmp_path / name, tensors_of(theirs))
    loaded = build_model(TOY, Recipe("toy", weights=str(path)), CLASSES).state_dict()
    assert all(torch.equal(loaded[key], tensor) for key, tensor in theirs.state_dict().items())


def test_a_file_of_other_classes_leaves_the_last_layer_fresh_and_loads_all_others(tmp_path: Path) -> None:
    theirs = tensors_of(build(9, pretrained=False))
    path = saved(tmp_path / "w.safetensors", theirs)
    torch.manual_seed(0)
    fresh = tensors_of(build(CLASSES, pretrained=False))
    torch.manual_seed(0)
    loaded = build_model(TOY, Recipe("toy", weights=str(path)), CLASSES).state_dict()
    assert torch.equal(loaded["1.weight"], theirs["1.weight"])
    assert torch.equal(loaded["1.bias"], theirs["1.bias"])
    assert torch.equal(loaded["3.weight"], fresh["3.weight"])
    assert torch.equal(loaded["3.bias"], fresh["3.bias"])


def test_a_checkpoint_that_holds_its_state_dict_under_that_name_is_loaded(tmp_path: Path) -> None:
    theirs = tensors_of(build(CLASSES, pretrained=False))
    path = saved(tmp_path / "w.pth", {"epoch": 3, "state_dict": theirs})
    model = build(CLASSES, pretrained=False)
    load_weights(model, path, CLASSES)
    assert torch.equal(model.state_dict()["1.weight"], theirs["1.weight"])


def test_a_file_of_another_architecture_is_refused_with_its_tensors(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.safetensors", {"conv.weight": torch.zeros(2), "conv.bias": torch.zeros(2)})
    with pytest.raises(WeightsError, match="does not fit the network") as caught:
        load_weights(build(CLASSES, pretrained=False), path, CLASSES)
    assert "2 tensors (`1.weight`, `1.bias`) are missing or of another shape" in caught.value.message
    assert "2 tensors (`conv.bias`, `conv.weight`) of the file are not in the network" in caught.value.message


def test_a_file_with_a_tensor_of_another_shape_is_refused_by_its_name(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.safetensors", tensors_of(build(CLASSES, pretrained=False, width=9)))
    with pytest.raises(WeightsError, match=r"2 tensors \(`1.weight`, `1.bias`\) are missing or of another shape"):
        load_weights(build(CLASSES, pretrained=False), path, CLASSES)


def test_weights_of_a_deeper_network_of_the_same_family_are_refused(tmp_path: Path) -> None:
    catalog = load_catalog()
    lite1 = catalog.backbone("efficientnet_lite1").build(CLASSES, pretrained=False)
    path = saved(tmp_path / "lite1.safetensors", tensors_of(lite1))
    with pytest.raises(WeightsError, match=r"90 tensors .* of the file are not in the network"):
        load_weights(catalog.backbone("efficientnet_lite0").build(CLASSES, pretrained=False), path, CLASSES)


class Canary:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_weights_file_cannot_run_code(tmp_path: Path) -> None:
    canary = tmp_path / "it ran"
    path = saved(tmp_path / "w.pth", {"1.weight": Canary(canary)})
    with pytest.raises(WeightsError, match=r"w\.pth` cannot be read") as caught:
        load_weights(build(CLASSES, pretrained=False), path, CLASSES)
    assert not canary.exists()
    assert caught.value.hint == "use a .safetensors file, or a state dict saved by torch.save that holds tensors only."
    pickle.loads(pickle.dumps(Canary(canary)))
    assert canary.exists(), "the canary sings where pickles are trusted"


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
@pytest.mark.parametrize("content", [b"", b"not a file of tensors", None], ids=["empty", "text", "missing"])
def test_a_file_that_cannot_be_read_is_a_weights_error_with_its_path(
    name: str, content: bytes | None, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=f"`{tmp_path / name}` cannot be read"):
        load_weights(build(CLASSES, pretrained=False), tmp_path / name, CLASSES)


@pytest.mark.parametrize("content", [torch.zeros(3), [1, 2], {"epoch": 3}, {"state_dict": 5}])
def test_a_file_without_a_state_dict_is_refused(content: Any, tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pth", content)
    with pytest.raises(WeightsError, match="holds no state dict"):
        load_weights(build(CLASSES, pretrained=False), path, CLASSES)


# ---- the last layer -------------------------------------------------------------------------------------------------


def test_the_classifier_is_the_last_linear_layer_of_that_many_classes() -> None:
    model = nn.Sequential(nn.Linear(2, CLASSES), nn.Linear(CLASSES, CLASSES), nn.Linear(CLASSES, 9))
    assert classifier(model, CLASSES) is model[1]


def test_a_network_without_such_a_layer_is_refused() -> None:
    with pytest.raises(PluginError, match=r"Sequential has no torch.nn.Linear with 4 outputs"):
        classifier(nn.Sequential(nn.Linear(2, 3)), CLASSES)


def test_features_are_what_the_classifier_makes_logits_of() -> None:
    model = build(CLASSES, pretrained=False)
    images = torch.rand(5, 3, 2, 2)
    features = feature_extractor(model, CLASSES)(images)
    assert features.shape == (5, 8)
    torch.testing.assert_close(classifier(model, CLASSES)(features), model(images))


def test_taking_features_leaves_the_network_as_it_was() -> None:
    model = build(CLASSES, pretrained=False)
    before = list(model.state_dict())
    feature_extractor(model, CLASSES)
    assert list(model.state_dict()) == before
