"""The rules of the contract: each takes a bench with a backbone or an augmentation, and raises where it is broken.

`contract.py` says which of them are looked at, and in which order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from automl_car.catalog.params import Param, ParamValue, default_values
from automl_car.catalog.records import Augmentation, Backbone
from automl_car.catalog.words import how_to_install
from automl_car.errors import PluginError

CLASSES, IMAGES = 5, 2


# ---- backbones ------------------------------------------------------------------------------------------------------


@dataclass
class NetworkBench:
    """A backbone, and what the rules so far have made of it."""

    backbone: Backbone
    side: int
    made: dict[str, Any] = field(default_factory=dict)

    def build(self, **values: ParamValue) -> Any:
        backbone = self.backbone
        params = {**default_values(backbone.params), **values}
        return _build(backbone.name, lambda: backbone.build(CLASSES, pretrained=False, **params), values)

    def forward(self) -> Any:
        model, images = self.made["model"], self.images()
        try:
            return model(images)
        except Exception as error:
            shape = tuple(images.shape)
            words = f"{type(error).__name__}: {error}{how_to_install(error)}"
            raise PluginError(f"`{self.backbone.name}` raised on images {shape}: {words}") from error

    def images(self) -> Any:
        """Float32 (2, 3, S, S), the same each time."""
        import torch

        return torch.rand(IMAGES, 3, self.side, self.side, generator=torch.Generator().manual_seed(0))


def _backbone_builds(bench: NetworkBench) -> None:
    import torch

    model = bench.build()
    if not isinstance(model, torch.nn.Module):
        raise PluginError(f"`build` of `{bench.backbone.name}` returned {type(model).__name__}, not a torch.nn.Module.")
    bench.made["model"] = model


def _gives_logits(bench: NetworkBench) -> None:
    bench.made["logits"] = bench.forward()
    _require_logits(bench.backbone.name, bench.made["logits"])


def _passes_gradients(bench: NetworkBench) -> None:
    model, logits = bench.made["model"], bench.made["logits"]
    if logits.requires_grad:
        logits.sum().backward()
    if all(parameter.grad is None for parameter in model.parameters()):
        raise PluginError(f"No parameter of `{bench.backbone.name}` receives a gradient.")


def _is_evaluated_alike(bench: NetworkBench) -> None:
    import torch

    bench.made["model"].eval()
    with torch.inference_mode():
        logits, again = bench.forward(), bench.forward()
    _require_logits(bench.backbone.name, logits)
    _require_logits(bench.backbone.name, again)
    if not torch.equal(logits, again):
        raise PluginError(f"`{bench.backbone.name}` gives different logits for the same images in evaluation mode.")


def _ends_in_a_linear_layer(bench: NetworkBench) -> None:
    """`tuning: head` trains a new last layer on what the network gives without it."""
    import torch

    from automl_car.training.model import classifier, feature_extractor

    model, images = bench.made["model"].eval(), bench.images()
    with torch.inference_mode():
        logits, last = bench.forward(), classifier(model, CLASSES)
        try:
            again = last(feature_extractor(model, CLASSES)(images))
            same = again.shape == logits.shape and torch.allclose(again, logits, rtol=1e-3, atol=1e-4)
        except RuntimeError:  # what comes after the layer does not take its input
            same = False
    if not same:
        raise PluginError(
            f"`{bench.backbone.name}` does not end in a torch.nn.Linear: something comes after its last one."
        )


def _takes_its_parameters(bench: NetworkBench | PictureBench) -> None:
    """A search goes to the ends of every range that a plugin declares."""
    record = bench.backbone if isinstance(bench, NetworkBench) else bench.augmentation
    for param in record.params:
        for value in _ends(param):
            bench.build(**{param.name: value})


def _ends(param: Param) -> tuple[ParamValue, ...]:
    if param.kind == "choice":
        return param.choices
    assert param.low is not None
    assert param.high is not None
    return (int(param.low), int(param.high)) if param.kind == "int" else (param.low, param.high)


# ---- augmentations --------------------------------------------------------------------------------------------------


@dataclass
class PictureBench:
    """An augmentation, and what the rules so far have made of it."""

    augmentation: Augmentation
    side: int
    made: dict[str, Any] = field(default_factory=dict)

    def build(self, **values: ParamValue) -> Any:
        from automl_car.training.augment import build_transform

        params = {**default_values(self.augmentation.params), **values}
        return _build(self.augmentation.name, lambda: build_transform(self.augmentation, self.side, params), values)


def _augmentation_builds(bench: PictureBench) -> None:
    bench.made["transform"] = bench.build()


def _makes_pictures(bench: PictureBench) -> None:
    import numpy as np

    name, side = bench.augmentation.name, bench.side
    random = np.random.default_rng(0)
    for height, width in ((40, 90), (64, 64), (200, 120)):
        image = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        first, again = (_picture(bench, image) for _ in range(2))
        if not isinstance(first, np.ndarray) or first.shape != (side, side, 3):
            raise PluginError(
                f"`{name}` turned ({height}, {width}, 3) into {getattr(first, 'shape', type(first))}, "
                f"not ({side}, {side}, 3)."
            )
        if first.dtype != np.uint8:
            raise PluginError(f"`{name}` returns {first.dtype} pixels, not uint8.")
        if not np.array_equal(first, again):
            raise PluginError(f"`{name}` gives different pictures for one seed: it must not keep state.")


def _picture(bench: PictureBench, image: Any) -> Any:
    from automl_car.training.augment import augment

    try:
        return augment(bench.made["transform"], image.copy(), seed=7)
    except Exception as error:
        raise PluginError(
            f"`{bench.augmentation.name}` raised on a picture {image.shape}: {type(error).__name__}: {error}"
            f"{how_to_install(error)}"
        ) from error


# ---- both -----------------------------------------------------------------------------------------------------------


def _names_its_source(bench: NetworkBench | PictureBench) -> None:
    record = bench.backbone if isinstance(bench, NetworkBench) else bench.augmentation
    if not record.source:
        raise PluginError(f"`{record.name}` has no `source`: name the paper, repository or page it comes from.")


def _build(name: str, build: Callable[[], Any], values: Mapping[str, ParamValue]) -> Any:
    try:
        return build()
    except (Exception, SystemExit) as error:  # any plugin code may run here, `sys.exit()` included
        given = "".join(f" with `{key}={value!r}`" for key, value in values.items())
        words = f"{type(error).__name__}: {error}{how_to_install(error)}"
        raise PluginError(f"`build` of `{name}` raised{given} {words}") from error


def _require_logits(name: str, logits: Any) -> None:
    import torch

    if not isinstance(logits, torch.Tensor) or logits.shape != (IMAGES, CLASSES):
        shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise PluginError(f"`{name}` turned {IMAGES} images into {shape}, not into logits ({IMAGES}, {CLASSES}).")
    if not logits.is_floating_point():
        raise PluginError(f"`{name}` returns logits of type {logits.dtype}; they must be floating point numbers.")
    if not torch.isfinite(logits).all():
        raise PluginError(f"`{name}` returns logits that are not finite.")


BACKBONE_RULES: Mapping[str, Callable[[NetworkBench], None]] = {
    "source": _names_its_source,
    "build": _backbone_builds,
    "logits": _gives_logits,
    "gradient": _passes_gradients,
    "evaluation": _is_evaluated_alike,
    "last layer": _ends_in_a_linear_layer,
    "parameters": _takes_its_parameters,
}
AUGMENTATION_RULES: Mapping[str, Callable[[PictureBench], None]] = {
    "source": _names_its_source,
    "build": _augmentation_builds,
    "pictures": _makes_pictures,
    "parameters": _takes_its_parameters,
}
# A rule that is not looked at where the other one is broken.
BUILDS_ON = {
    "logits": "build",
    "gradient": "logits",
    "evaluation": "logits",
    "last layer": "logits",
    "parameters": "build",
    "pictures": "build",
    "events": "open",
    "manners": "open",
    "machine": "start",
    "tasks": "machine",
    "errors": "machine",
    "close": "start",
}
