"""Weights as safetensors, and the versions that made them."""

from __future__ import annotations

import pickle
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from automl_car.catalog.manager import Catalog
from automl_car.errors import StoreError
from automl_car.records import Recipe
from automl_car.training.checkpoint import from_safetensors, to_safetensors, versions
from automl_car.training.model import build_model

RECIPE = Recipe("toy", weights="random", params=(("toy.width", 8),))


def test_a_model_saved_and_loaded_gives_the_same_logits(toy_catalog: Catalog) -> None:
    torch.manual_seed(0)
    model = build_model(toy_catalog.backbone("toy"), RECIPE, 3).eval()
    again = build_model(toy_catalog.backbone("toy"), RECIPE, 3).eval()
    images = torch.rand(4, 3, 16, 16)
    with torch.inference_mode():
        assert not torch.equal(model(images), again(images))
        again.load_state_dict(from_safetensors(to_safetensors(model.state_dict())))
        assert torch.equal(model(images), again(images))


def test_every_kind_of_tensor_comes_back_as_it_was() -> None:
    state = {
        "float": torch.rand(2, 3),
        "count": torch.tensor(7),
        "half": torch.rand(3).half(),
        "transposed": torch.rand(2, 3).T,
        "channels_last": torch.rand(1, 3, 4, 4).contiguous(memory_format=torch.channels_last),
    }
    loaded = from_safetensors(to_safetensors(state))
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], state[name]) and loaded[name].dtype == state[name].dtype for name in state)


def test_tied_weights_can_be_saved() -> None:
    shared = torch.rand(3, 3)
    loaded = from_safetensors(to_safetensors({"a": shared, "b": shared}))
    assert torch.equal(loaded["a"], loaded["b"])


@pytest.mark.parametrize("data", [b"", b"<html>", bytes(100)])
def test_bytes_that_are_no_safetensors_file_are_refused(data: bytes) -> None:
    with pytest.raises(StoreError, match="safetensors"):
        from_safetensors(data)


class _Canary:
    """An object whose unpickling writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_in_place_of_weights_does_not_run(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        from_safetensors(pickle.dumps(_Canary(tmp_path / "canary")))
    assert not (tmp_path / "canary").exists()


def test_the_versions_are_those_that_are_installed() -> None:
    assert versions()["torch"] == version("torch")
    assert {"automl-car", "torch", "timm", "albumentations"} <= versions().keys()
