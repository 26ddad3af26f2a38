"""ConvNeXt-Tiny (Liu et al., 2022, arXiv:2201.03545) and ConvNeXt V2-Base (Woo et al., 2023, arXiv:2301.00808).

The dates of the weights are those under which timm's list of changes has them.
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
            "convnext_tiny",
            partial(build, tag="convnext_tiny.in12k_ft_in1k"),
            image_size=224,
            default_lr=2e-4,
            crop_pct=0.95,
            params=(Param.float("drop_path", 0.0, 0.3, default=0.1),),
            source="arXiv:2201.03545",
            license="Apache-2.0",
            weights_date="2023-01-11",
            find_weights=partial(find_in_hub_cache, "timm/convnext_tiny.in12k_ft_in1k"),
        ),
        Backbone(
            "convnextv2_base",
            partial(build, tag="convnextv2_base.fcmae_ft_in22k_in1k_384"),
            image_size=384,
            default_lr=1e-4,
            crop_pct=1.0,
            params=(Param.float("drop_path", 0.0, 0.4, default=0.1),),
            source="arXiv:2301.00808",
            license="CC-BY-NC-4.0",
            weights_date="2023-01-05",
            find_weights=partial(find_in_hub_cache, "timm/convnextv2_base.fcmae_ft_in22k_in1k_384"),
        ),
    ]
