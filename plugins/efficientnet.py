"""EfficientNet-B0 and -B1 (Tan & Le, 2019, arXiv:1905.11946), weights from timm.

Dates: timm's list of changes has B0's under 2020-01-03; B1's are named in the wheel timm 0.4.5, of 2021-03-08.
"""

from functools import partial

from automl_car import Backbone, Param, hookimpl
from automl_car.catalog.hub import find_in_hub_cache


def build(num_classes: int, *, pretrained: bool = True, tag: str, drop_path: float = 0.0):
    """Return a network from images (B, 3, H, W) to logits (B, num_classes)."""
    import timm

    return timm.create_model(tag, pretrained=pretrained, num_classes=num_classes, drop_path_rate=drop_path)


@hookimpl
def register_backbones():
    return [
        Backbone(
            "efficientnet_b0",
            partial(build, tag="efficientnet_b0.ra_in1k"),
            image_size=224,
            default_lr=5e-4,
            params=(Param.float("drop_path", 0.0, 0.2, default=0.0),),
            source="arXiv:1905.11946",
            license="Apache-2.0",
            weights_date="2020-01-03",
            find_weights=partial(find_in_hub_cache, "timm/efficientnet_b0.ra_in1k"),
        ),
        Backbone(
            "efficientnet_b1",
            partial(build, tag="efficientnet_b1.ft_in1k"),
            image_size=224,
            default_lr=5e-4,
            params=(Param.float("drop_path", 0.0, 0.2, default=0.0),),
            source="arXiv:1905.11946",
            license="Apache-2.0",
            weights_date="2021-03-08",
            find_weights=partial(find_in_hub_cache, "timm/efficientnet_b1.ft_in1k"),
        ),
    ]
