"""ResNet-50 (He et al., 2015, arXiv:1512.03385) with the A1 weights of Wightman et al., 2021, arXiv:2110.00476.

Their date is the one under which timm's list of changes has them.
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
            "resnet50",
            partial(build, tag="resnet50.a1_in1k"),
            image_size=224,
            default_lr=3e-4,
            crop_pct=0.95,
            params=(Param.float("drop_path", 0.0, 0.2, default=0.05),),
            source="arXiv:1512.03385; arXiv:2110.00476",
            license="Apache-2.0",
            weights_date="2021-10-19",
            find_weights=partial(find_in_hub_cache, "timm/resnet50.a1_in1k"),
        ),
    ]
