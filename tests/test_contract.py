from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from automl_car import Augmentation, Backbone
from automl_car.contract import check_augmentation, check_backbone, check_plugin_file
from automl_car.errors import PluginError

SIDE = 16


def net(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), *layers)


def check(build: Callable[..., Any], *, source: str = "a paper") -> None:
    check_backbone(Backbone("toy", build, image_size=SIDE, source=source))


class Wrong(nn.Module):
    """A linear network whose answer is changed by `change(logits, module)`."""

    def __init__(self, classes: int, change: Callable[[Tensor, nn.Module], Any]) -> None:
        super().__init__()
        self.body = net(nn.Linear(12, classes))
        self.change = change

    def forward(self, images: Tensor) -> Any:
        return self.change(self.body(images), self)


# ---- backbones ------------------------------------------------------------------------------------------------------


def test_a_network_that_ends_in_a_linear_layer_passes() -> None:
    check(lambda classes, pretrained: net(nn.Linear(12, 7), nn.ReLU(), nn.Linear(7, classes)))


def test_a_linear_layer_after_dropout_passes() -> None:
    check(lambda classes, pretrained: net(nn.Dropout(0.5), nn.Linear(12, classes)))


def frozen(classes: int) -> nn.Module:
    return net(nn.Linear(12, classes)).requires_grad_(False)


def nan_when_evaluated(logits: Tensor, module: nn.Module) -> Tensor:
    return logits if module.training else logits * torch.nan


BREACHES: dict[str, tuple[Callable[[int], Any], str]] = {
    "no module": (lambda classes: "resnet", "`build` of `toy` returned str, not a torch.nn.Module"),
    "build raises": (lambda classes: 1 // 0, "`build` of `toy` raised ZeroDivisionError"),
    "forward raises": (
        lambda classes: net(nn.Linear(99, classes)),
        r"raised on images \(2, 3, 16, 16\): Runtime",
    ),
    "wrong number of classes": (lambda classes: net(nn.Linear(12, 4)), r"into \(2, 4\), not into logits \(2, 5\)"),
    "tuple": (lambda classes: Wrong(classes, lambda logits, _: (logits,)), "turned 2 images into tuple"),
    "not a number": (
        lambda classes: Wrong(classes, lambda logits, _: logits * torch.nan),
        "that are not finite",
    ),
    "not a number when evaluated": (lambda classes: Wrong(classes, nan_when_evaluated), "that are not finite"),
    "frozen": (frozen, "No parameter of `toy` receives a gradient"),
    "detached": (lambda classes: Wrong(classes, lambda logits, _: logits.detach()), "receives a gradient"),
    "random": (
        lambda classes: Wrong(classes, lambda logits, _: logits + torch.rand_like(logits)),
        "different logits for the same images in evaluation mode",
    ),
    "convolution at the end": (
        lambda classes: nn.Sequential(nn.Conv2d(3, classes, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        "has no torch.nn.Linear with 5 outputs",
    ),
    "softmax at the end": (
        lambda classes: net(nn.Linear(12, classes), nn.LogSoftmax(dim=1)),
        "`toy` does not end in a torch.nn.Linear: something comes after its last one",
    ),
    "another layer at the end": (
        lambda classes: net(nn.Linear(12, classes), nn.BatchNorm1d(classes, affine=False)),
        "`toy` does not end in a torch.nn.Linear: something comes after its last one",
    ),
}


@pytest.mark.parametrize(("build", "message"), BREACHES.values(), ids=BREACHES)
def test_a_backbone_that_breaks_a_rule_is_refused_by_that_rule(build: Callable[[int], Any], message: str) -> None:
    with pytest.raises(PluginError, match=message):
        check(lambda classes, pretrained: build(classes))


def test_a_backbone_without_a_source_is_refused() -> None:
    with pytest.raises(PluginError, match="`toy` has no `source`"):
        check(lambda classes, pretrained: net(nn.Linear(12, classes)), source="")


def test_no_pretrained_weights_are_asked_for() -> None:
    asked = []

    def build(classes: int, pretrained: bool = True) -> nn.Module:
        asked.append(pretrained)
        return net(nn.Linear(12, classes))

    check(build)
    assert asked == [False]


# ---- augmentations --------------------------------------------------------------------------------------------------


def transform(side: int, change: Callable[[Any], Any] = lambda image: image) -> Any:
    """A resize of albumentations followed by `change`."""
    import albumentations as A

    return A.Compose([A.Resize(side, side), A.Lambda(image=partial(_apply, change))])


def _apply(change: Callable[[Any], Any], image: Any, **_: Any) -> Any:
    return change(image)


def test_a_plain_transform_passes() -> None:
    import albumentations as A

    check_augmentation(Augmentation("plain", lambda side: A.Resize(side, side), source="a paper"))


def count_calls() -> Callable[[Any], Any]:
    calls = iter(range(100))
    return lambda image: np.full_like(image, next(calls))


AUGMENTATION_BREACHES: dict[str, tuple[Callable[[int], Any], str]] = {
    "wrong size": (
        lambda side: transform(side + 1),
        r"`toy` turned \(40, 90, 3\) into \(65, 65, 3\), not \(64, 64, 3\)",
    ),
    "grey": (lambda side: transform(side, lambda image: image[..., 0]), r"into \(64, 64\), not \(64, 64, 3\)"),
    "floats": (lambda side: transform(side, lambda image: image / np.float32(255)), "float32 pixels, not uint8"),
    "state": (lambda side: transform(side, count_calls()), "different pictures for one seed: it must not keep state"),
    "no transform": (lambda side: 5, "`build` of `toy` raised"),
    "build raises": (lambda side: 1 // 0, "`build` of `toy` raised ZeroDivisionError"),
}


@pytest.mark.parametrize(("build", "message"), AUGMENTATION_BREACHES.values(), ids=AUGMENTATION_BREACHES)
def test_an_augmentation_that_breaks_a_rule_is_refused_by_that_rule(build: Callable[[int], Any], message: str) -> None:
    with pytest.raises(PluginError, match=message):
        check_augmentation(Augmentation("toy", build, source="a paper"))


def test_an_augmentation_without_a_source_is_refused() -> None:
    with pytest.raises(PluginError, match="`toy` has no `source`"):
        check_augmentation(Augmentation("toy", transform))


# ---- files ----------------------------------------------------------------------------------------------------------

PLUGIN = """
from automl_car import Backbone, hookimpl

def build(num_classes, *, pretrained=True):
    from torch import nn
    return nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, num_classes))

@hookimpl
def register_backbones():
    return [Backbone("their_net", build, image_size=16, source="SOURCE")]
"""


def test_a_plugin_file_that_keeps_the_contract_gives_its_names(tmp_path: Path) -> None:
    (tmp_path / "theirs.py").write_text(PLUGIN)
    assert check_plugin_file(tmp_path / "theirs.py") == ("their_net",)


def test_a_relative_path_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "theirs.py").write_text(PLUGIN)
    monkeypatch.chdir(tmp_path)
    assert check_plugin_file("theirs.py") == ("their_net",)


def test_a_plugin_file_that_breaks_the_contract_is_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs.py").write_text(PLUGIN.replace("SOURCE", ""))
    with pytest.raises(PluginError, match="`their_net` has no `source`"):
        check_plugin_file(tmp_path / "theirs.py")


def test_a_plugin_file_that_cannot_be_loaded_is_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "theirs.py").write_text("import a_library_nobody_has")
    with pytest.raises(PluginError, match=r"theirs\.py` cannot be loaded: ModuleNotFoundError"):
        check_plugin_file(tmp_path / "theirs.py")


def test_of_a_bundled_file_its_own_records_are_checked_and_no_others() -> None:
    crops = Path(__file__).parents[1] / "plugins" / "crops.py"
    assert check_plugin_file(crops) == ("heavy", "light", "medium", "none")
