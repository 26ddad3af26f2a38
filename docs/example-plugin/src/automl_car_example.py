"""A backbone and an augmentation that pip installs; the entry point in pyproject.toml names this module."""

from automl_car import Augmentation, Backbone, Param, hookimpl


def build_network(num_classes: int, *, pretrained: bool = True, width: int = 16):
    """Return a network from images (B, 3, H, W) to logits (B, num_classes)."""
    from torch import nn

    if pretrained:
        raise FileNotFoundError("small_cnn has no pretrained weights: say `--weights random`")
    layers = []
    for inputs, outputs in ((3, width), (width, 2 * width), (2 * width, 4 * width)):
        layers += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, num_classes))


def build_weather(image_size: int, *, share: float = 0.5):
    """Return a transform from uint8 (H, W, 3) to uint8 (image_size, image_size, 3)."""
    import albumentations as A

    weather = A.OneOf([A.RandomRain(p=1.0), A.RandomFog(p=1.0), A.RandomShadow(p=1.0)], p=share)
    return A.Compose([A.Resize(image_size, image_size), weather])


@hookimpl
def register_backbones():
    width = Param.int("width", 8, 32, default=16, log=True)
    return [
        Backbone(
            "small_cnn",
            build_network,
            image_size=32,
            default_lr=3e-3,
            params=(width,),
            source="three convolutions; docs/example-plugin of automl-car",
            license="MIT",
            find_weights=lambda: None,  # there are none: it is searched where `training.weights` says random
        )
    ]


@hookimpl
def register_augmentations():
    share = Param.float("share", 0.2, 0.8, default=0.5)
    return [Augmentation("weather", build_weather, params=(share,), source="albumentations.ai")]
