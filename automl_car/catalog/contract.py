"""The contract that every plugin must pass; plugin authors call it from their own tests.

Example:
    from automl_car.catalog.contract import check_plugin_file

    def test_my_plugin_keeps_the_contract():
        check_plugin_file("my_plugin.py")
"""

from __future__ import annotations

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

    catalog = load_catalog(PluginSources(files=(Path(path),)))
    row = catalog.plugins[-1]
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

    from automl_car.training.model import feature_extractor

    _require_source(backbone.name, backbone.source)
    model = _build(backbone, pretrained=False, **default_values(backbone.params))
    if not isinstance(model, torch.nn.Module):
        raise PluginError(f"`build` of `{backbone.name}` returned {type(model).__name__}, not a torch.nn.Module.")
    side = image_size or backbone.image_size
    images = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))  # (B, 3, H, W)
    logits = model(images)
    _require_logits(backbone.name, logits)
    logits.sum().backward()
    if all(parameter.grad is None for parameter in model.parameters()):
        raise PluginError(f"No parameter of `{backbone.name}` receives a gradient.")
    model.eval()
    with torch.inference_mode():
        if not torch.equal(model(images), model(images)):
            raise PluginError(f"`{backbone.name}` gives different logits for the same images in evaluation mode.")
        features = feature_extractor(model, _CLASSES)(images)  # (B, D)
    if features.ndim != 2 or len(features) != len(images):
        raise PluginError(f"Features of `{backbone.name}` have shape {tuple(features.shape)}, not (2, D).")


def check_augmentation(augmentation: Augmentation, *, image_size: int = 64) -> None:
    """Build the augmentation and check its pictures: shape, type, and that the seed alone decides them.

    Raises:
        PluginError: names the first rule that is broken.
    """
    import numpy as np

    from automl_car.training.augment import augment

    _require_source(augmentation.name, augmentation.source)
    transform = _build(augmentation, image_size, **default_values(augmentation.params))
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


def _build(record: Backbone | Augmentation, *args: Any, **params: Any) -> Any:
    positional = args or (_CLASSES,)
    try:
        return record.build(*positional, **params)
    except Exception as error:
        raise PluginError(f"`build` of `{record.name}` raised {type(error).__name__}: {error}") from error


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
