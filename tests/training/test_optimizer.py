from __future__ import annotations

from dataclasses import replace

import pytest
import timm
import torch
from timm.utils import ModelEmaV3
from torch import nn

from automl_car.records import Recipe
from automl_car.training.model import classifier
from automl_car.training.optimizer import MeanModel, make_optimizer, set_training_mode

CLASSES = 3
RECIPE = Recipe("toy", learning_rate=0.01, layer_decay=0.5, head_multiplier=10.0, weight_decay=0.1)


def plain_network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, CLASSES))


def rates(model: nn.Module, recipe: Recipe = RECIPE, *, warm: bool = False) -> dict[str, float]:
    """Peak learning rate of each parameter, by name."""
    optimizer, peaks = make_optimizer(model, recipe, CLASSES, torch.device("cpu"), warm=warm)
    by_parameter = {
        id(parameter): peak
        for group, peak in zip(optimizer.param_groups, peaks, strict=True)
        for parameter in group["params"]
    }
    return {name: by_parameter[id(parameter)] for name, parameter in model.named_parameters()}


def test_in_a_plain_network_only_the_random_last_layer_is_multiplied() -> None:
    found = rates(plain_network(), replace(RECIPE, layer_decay=1.0))
    assert found == {"0.weight": 0.01, "0.bias": 0.01, "1.weight": 0.01, "1.bias": 0.01, "3.weight": 0.1, "3.bias": 0.1}


def test_in_a_plain_network_each_layer_is_slower_than_the_next() -> None:
    found = rates(plain_network(), warm=True)
    assert [found["0.weight"], found["1.weight"], found["3.weight"]] == pytest.approx([0.0025, 0.005, 0.01])


def test_in_a_network_of_timm_the_stem_is_slowest_and_the_last_layer_has_the_full_rate() -> None:
    model = timm.create_model("resnet10t", pretrained=False, num_classes=CLASSES)
    found = rates(model, warm=True)
    assert found["fc.weight"] == pytest.approx(0.01)
    assert found["conv1.0.weight"] == min(found.values()) < 0.01 / 4


def test_every_parameter_is_trained_once_even_where_layers_share_one() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, CLASSES))
    model[1].weight = model[0].weight
    optimizer, _ = make_optimizer(model, RECIPE, CLASSES, torch.device("cpu"), warm=True)
    trained = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(trained) == sorted(id(parameter) for parameter in model.parameters())


def test_biases_and_norms_do_not_decay() -> None:
    model = plain_network()
    optimizer, _ = make_optimizer(model, RECIPE, CLASSES, torch.device("cpu"), warm=True)
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    decayed = {name for name, parameter in model.named_parameters() if decays[id(parameter)] > 0}
    assert decayed == {"0.weight", "3.weight"}


def test_frozen_norms_use_and_keep_their_statistics() -> None:
    model = plain_network()
    set_training_mode(model, freeze_norm=True)
    before = model[1].running_mean.clone()
    model(torch.randn(8, 3, 4, 4) + 5)
    assert torch.equal(model[1].running_mean, before)
    assert classifier(model, CLASSES).training


def test_norms_that_are_not_frozen_learn_their_statistics() -> None:
    model = plain_network()
    set_training_mode(model, freeze_norm=False)
    before = model[1].running_mean.clone()
    model(torch.randn(8, 3, 4, 4) + 5)
    assert not torch.equal(model[1].running_mean, before)


# ---- the running mean -----------------------------------------------------------------------------------------------


def test_the_running_mean_is_timms() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    ours, theirs = MeanModel(model, half_life=3.0), ModelEmaV3(model, decay=0.5 ** (1 / 3))
    for _ in range(5):
        model(torch.randn(8, 3, 6, 6))  # moves the statistics
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
        ours.update()
        theirs.update(model)
    for name, tensor in theirs.module.state_dict().items():
        torch.testing.assert_close(ours.model.state_dict()[name], tensor)


def test_after_a_half_life_the_mean_is_half_way() -> None:
    model = nn.Linear(1, 1)
    nn.init.zeros_(model.weight)
    mean = MeanModel(model, half_life=10.0)
    nn.init.ones_(model.weight)
    for _ in range(10):
        mean.update()
    assert float(mean.model.weight.detach()) == pytest.approx(0.5)
