"""The contract that every plugin must pass; plugin authors call it from their own tests.

Example:
    from automl_car.contract import check_plugin_file

    def test_my_plugin_keeps_the_contract():
        check_plugin_file("my_plugin.py")
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from automl_car.catalog.records import Augmentation, Backbone, PluginSources, default_values
from automl_car.errors import PluginError

_CLASSES = 5


def check_plugin_file(path: str | Path) -> tuple[str, ...]:
    """Load a one-file plugin and check all that it offers.

    Returns:
        The names of its backbones and augmentations.

    Raises:
        PluginError: the file cannot be loaded, or a record breaks the contract.
    """
    from automl_car.catalog.manager import load_catalog

    file = Path(path).resolve()
    catalog = load_catalog(PluginSources(files=(file,)))
    # From the end, where named files come; a bundled file stands earlier and is not loaded twice.
    row = next(row for row in reversed(catalog.plugins) if row.name == file.stem)
    if row.error:
        raise PluginError(f"Plugin `{path}` cannot be loaded: {row.error}")
    for name in row.backbones:
        check_backbone(catalog.backbones[name])
    for name in row.augmentations:
        check_augmentation(catalog.augmentations[name])
    return row.backbones + row.augmentations


def check_backbone(backbone: Backbone, *, image_size: int | None = None) -> None:
    """Build the backbone with random weights, run it forward and backward once, and check what comes out.

    Args:
        backbone: what to check.
        image_size: side in pixels of the test images; the backbone's own size by default. A smaller one is
            quicker for networks that accept any size.

    Raises:
        PluginError: names the first rule that is broken.
    """
    import torch

    _require_source(backbone.name, backbone.source)
    model = _build(backbone.name, lambda: backbone.build(_CLASSES, pretrained=False, **default_values(backbone.params)))
    if not isinstance(model, torch.nn.Module):
        raise PluginError(f"`build` of `{backbone.name}` returned {type(model).__name__}, not a torch.nn.Module.")
    side = image_size or backbone.image_size
    images = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))  # (B, 3, H, W)
    logits = _forward(backbone.name, model, images)
    _require_logits(backbone.name, logits)
    _require_gradient(backbone.name, model, logits)
    model.eval()
    with torch.inference_mode():
        logits = _forward(backbone.name, model, images)
        _require_logits(backbone.name, logits)
        if not torch.equal(logits, _forward(backbone.name, model, images)):
            raise PluginError(f"`{backbone.name}` gives different logits for the same images in evaluation mode.")
        _require_linear_end(backbone.name, model, images, logits)


def check_augmentation(augmentation: Augmentation, *, image_size: int = 64) -> None:
    """Build the augmentation and check its pictures: shape, type, and that the seed alone decides them.

    Raises:
        PluginError: names the first rule that is broken.
    """
    import numpy as np

    from automl_car.training.augment import augment, build_transform

    _require_source(augmentation.name, augmentation.source)
    params = default_values(augmentation.params)
    transform = _build(augmentation.name, lambda: build_transform(augmentation, image_size, params))
    random = np.random.default_rng(0)
    for height, width in ((40, 90), (64, 64), (200, 120)):
        image = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        first, again = (augment(transform, image, seed=7) for _ in range(2))
        if not isinstance(first, np.ndarray) or first.shape != (image_size, image_size, 3):
            raise PluginError(
                f"`{augmentation.name}` turned ({height}, {width}, 3) into {getattr(first, 'shape', type(first))}, "
                f"not ({image_size}, {image_size}, 3)."
            )
        if first.dtype != np.uint8:
            raise PluginError(f"`{augmentation.name}` returns {first.dtype} pixels, not uint8.")
        if not np.array_equal(first, again):
            raise PluginError(f"`{augmentation.name}` gives different pictures for one seed: it must not keep state.")


def _build(name: str, build: Callable[[], Any]) -> Any:
    try:
        return build()
    except Exception as error:
        raise PluginError(f"`build` of `{name}` raised {type(error).__name__}: {error}") from error


def _forward(name: str, model: Any, images: Any) -> Any:
    try:
        return model(images)
    except Exception as error:
        shape = tuple(images.shape)
        raise PluginError(f"`{name}` raised on images {shape}: {type(error).__name__}: {error}") from error


def _require_source(name: str, source: str) -> None:
    if not source:
        raise PluginError(f"`{name}` has no `source`: name the paper, repository or page it comes from.")


def _require_logits(name: str, logits: Any) -> None:
    import torch

    if not isinstance(logits, torch.Tensor) or logits.shape != (2, _CLASSES):
        shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise PluginError(f"`{name}` turned 2 images into {shape}, not into logits (2, {_CLASSES}).")
    if not torch.isfinite(logits).all():
        raise PluginError(f"`{name}` returns logits that are not finite.")


def _require_gradient(name: str, model: Any, logits: Any) -> None:
    if logits.requires_grad:
        logits.sum().backward()
    if all(parameter.grad is None for parameter in model.parameters()):
        raise PluginError(f"No parameter of `{name}` receives a gradient.")


def _require_linear_end(name: str, model: Any, images: Any, logits: Any) -> None:
    """`tuning: head` trains a new last layer on what the network gives without it."""
    import torch

    from automl_car.training.model import classifier, feature_extractor

    last = classifier(model, _CLASSES)
    try:
        again = last(feature_extractor(model, _CLASSES)(images))
        same = again.shape == logits.shape and torch.allclose(again, logits, rtol=1e-3, atol=1e-4)
    except RuntimeError:  # what comes after the layer does not take its input
        same = False
    if not same:
        raise PluginError(f"`{name}` does not end in a torch.nn.Linear: something comes after its last one.")
