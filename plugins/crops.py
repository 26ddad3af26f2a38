"""Crops and photometric changes in four strengths; mirror images are the recipe's.

For cars the geometric part matters most and heavy photometric changes can hurt (measured by contestants of the
Hecto AI challenge), so `light` is the default of the search. The cut keeps the photo's own proportions before it is
squeezed to a square, as the evaluation does, so that training and evaluation see cars of the same shape.
"""

import os
from functools import partial

from automl_car import Augmentation, Param, hookimpl


def build(image_size: int, *, strength: str, border: float = 0.25):
    """Return a transform from uint8 (H, W, 3) to uint8 (image_size, image_size, 3)."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it would ask the network at import
    import albumentations as A
    import cv2

    resize = A.Resize(image_size, image_size, interpolation=cv2.INTER_CUBIC, area_for_downscale="image")
    cut = A.RandomCropFromBorders(crop_left=border, crop_right=border, crop_top=border, crop_bottom=border, p=1.0)
    light = [cut, resize]
    medium = [
        A.Affine(rotate=(-8, 8), shear=(-5, 5), border_mode=cv2.BORDER_REFLECT_101, p=0.5),
        A.ColorJitter(brightness=(0.8, 1.2), contrast=(0.8, 1.2), saturation=(0.8, 1.2), hue=(-0.02, 0.02), p=0.5),
    ]
    heavy = [
        A.ToGray(p=0.1),
        A.OneOf(
            [A.GaussianBlur(blur_limit=(3, 5)), A.MotionBlur(blur_limit=(3, 7)), A.GaussNoise(std_range=(0.02, 0.1))],
            p=0.3,
        ),
        A.CoarseDropout(num_holes_range=(1, 3), hole_height_range=(0.1, 0.3), hole_width_range=(0.1, 0.3), p=0.5),
    ]
    steps = {"none": [resize], "light": light, "medium": light + medium, "heavy": light + medium + heavy}
    return A.Compose(steps[strength])


BORDER = Param.float("border", 0.05, 0.4, default=0.25)


@hookimpl
def register_augmentations():
    source = "albumentations.ai; crops as in arXiv:1409.4842"
    none = Augmentation("none", partial(build, strength="none"), source=source)
    return [none] + [
        Augmentation(strength, partial(build, strength=strength), params=(BORDER,), source=source)
        for strength in ("light", "medium", "heavy")
    ]
