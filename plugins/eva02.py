"""EVA-02-Large at 448 px (Fang et al., 2023, arXiv:2303.11331).

The date of the weights is the one under which timm's list of changes has them.
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
            "eva02_large",
            partial(build, tag="eva02_large_patch14_448.mim_m38m_ft_in22k_in1k"),
            image_size=448,
            default_lr=4e-5,
            mean=(0.48145466, 0.4578275, 0.40821073),
            std=(0.26862954, 0.26130258, 0.27577711),
            crop_pct=1.0,
            params=(Param.float("drop_path", 0.0, 0.3, default=0.1),),
            source="arXiv:2303.11331",
            license="MIT",
            weights_date="2023-03-31",
            find_weights=partial(find_in_hub_cache, "timm/eva02_large_patch14_448.mim_m38m_ft_in22k_in1k"),
        ),
    ]
