"""TrivialAugment (Müller & Hutter, 2021, arXiv:2103.10158) and RandAugment (Cubuk et al., 2019, arXiv:1909.13719).

Both draw from one list of operations: `trivial` applies one of a random strength, `rand` applies several of one
strength. A cut at the borders comes first, as in the other bundled augmentations.
"""

import os

from automl_car import Augmentation, Param, hookimpl


def operations(low: float, high: float):
    """Ten operations whose strength is drawn from [low, high], on a scale from 0 (none) to 1 (strong)."""
    import albumentations as A
    import cv2

    reflect = cv2.BORDER_REFLECT_101
    factors = (max(0.1, 1 - 0.8 * high), 1 + 0.8 * high)
    angle, shift = 25 * high, 0.2 * high
    return [
        A.NoOp(p=1.0),
        A.AutoContrast(p=1.0),
        A.Equalize(p=1.0),
        A.Posterize(num_bits=(max(2, round(8 - 5 * high)), max(2, round(8 - 5 * low))), p=1.0),
        A.Solarize(threshold_range=(1 - 0.9 * high, 1 - 0.5 * low), p=1.0),
        A.ColorJitter(brightness=factors, contrast=(1, 1), saturation=(1, 1), hue=(0, 0), p=1.0),
        A.ColorJitter(brightness=(1, 1), contrast=factors, saturation=factors, hue=(0, 0), p=1.0),
        A.Sharpen(alpha=(0.5 * low, 0.5 * high), p=1.0),
        A.Affine(rotate=(-angle, angle), border_mode=reflect, p=1.0),
        A.Affine(shear=(-angle, angle), translate_percent=(-shift, shift), border_mode=reflect, p=1.0),
    ]


def compose(image_size: int, steps: list):
    """Return the common beginning (cut, resize) followed by `steps`."""
    import albumentations as A
    import cv2

    cut = A.RandomCropFromBorders(crop_left=0.25, crop_right=0.25, crop_top=0.25, crop_bottom=0.25, p=1.0)
    resize = A.Resize(image_size, image_size, interpolation=cv2.INTER_CUBIC, area_for_downscale="image")
    return A.Compose([cut, resize, *steps])


def build_trivial(image_size: int):
    """Return a transform from uint8 (H, W, 3) to uint8 (image_size, image_size, 3)."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it would ask the network at import
    import albumentations as A

    return compose(image_size, [A.OneOf(operations(0.0, 1.0), p=1.0)])


def build_rand(image_size: int, *, count: int = 2, strength: float = 0.5):
    """Return a transform from uint8 (H, W, 3) to uint8 (image_size, image_size, 3)."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it would ask the network at import
    import albumentations as A

    return compose(image_size, [A.SomeOf(operations(strength, strength), n=count, p=1.0)])


@hookimpl
def register_augmentations():
    params = (Param.int("count", 1, 3, default=2), Param.float("strength", 0.1, 1.0, default=0.5))
    return [
        Augmentation("trivial", build_trivial, source="arXiv:2103.10158"),
        Augmentation("rand", build_rand, params=params, source="arXiv:1909.13719"),
    ]
