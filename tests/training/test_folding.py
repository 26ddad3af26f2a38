from __future__ import annotations

import pytest
import timm
import torch
from torch import Tensor, nn

from automl_car.training.folding import fold_batch_norm


def _settled(model: nn.Module) -> nn.Module:
    """With statistics and weights of batch normalisation that are not those it begins with."""
    random = torch.Generator().manual_seed(1)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for values in (layer.weight.data, layer.running_var):
                values.copy_(0.5 + torch.rand(len(values), generator=random))
            for values in (layer.bias.data, layer.running_mean):
                values.copy_(torch.randn(len(values), generator=random))
    return model.eval()


def _norms(model: nn.Module) -> int:
    return sum(isinstance(layer, nn.BatchNorm2d) for layer in model.modules())


def _images(side: int) -> Tensor:
    return torch.rand(3, 3, side, side, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "resnet18"])
def test_a_network_answers_the_same_without_its_batch_normalisation(name: str) -> None:
    model = _settled(timm.create_model(name, num_classes=4))
    folded = fold_batch_norm(model, 64)
    assert _norms(model) > 0
    assert _norms(folded) == 0
    with torch.no_grad():
        assert torch.allclose(folded(_images(64)), model(_images(64)), rtol=1e-4, atol=1e-4)


def test_a_network_without_batch_normalisation_stays_itself() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert fold_batch_norm(model, 16) is model


class Tapped(nn.Module):
    """Adds the convolution's own output to the normalised one."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, images: Tensor) -> Tensor:
        seen = self.convolution(images)
        return (seen + self.norm(seen)).mean((2, 3))


class Shared(nn.Module):
    """Uses one convolution before two normalisations."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.first, self.second = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, images: Tensor) -> Tensor:
        return self.second(self.convolution(self.first(self.convolution(images)))).mean((2, 3))


@pytest.mark.parametrize("kind", [Tapped, Shared])
def test_a_network_that_does_more_with_a_convolution_stays_itself(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    model = _settled(kind())
    assert fold_batch_norm(model, 16) is model


def test_normalisation_of_the_batch_itself_is_left_alone() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.Flatten())
    assert fold_batch_norm(model, 8) is model


def test_the_network_that_is_folded_keeps_its_weights() -> None:
    model = _settled(timm.create_model("resnet18", num_classes=4))
    before = {name: values.clone() for name, values in model.state_dict().items()}
    fold_batch_norm(model, 64)
    assert all(torch.equal(values, before[name]) for name, values in model.state_dict().items())
