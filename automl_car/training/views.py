"""The views of a photo that a frozen backbone sees, in the order in which `Recipe.views` counts them.

    photo              the whole photo
    mirror             its mirror image
    centre-85          the middle of the photo, 85 % of each side
    centre-70-mirror   the mirror image of a tighter middle, 70 % of each side
    centre-92-mirror, centre-78

Each is squeezed to the square of the network. Closer views show more detail at the same input size, and views that
differ in crop as well as in direction make different mistakes, which their mean evens out.
"""

from __future__ import annotations

from dataclasses import dataclass

from automl_car.training.photos import Picture


@dataclass(frozen=True)
class View:
    """One way to look at a photo.

    Attributes:
        name: of its folder in the cache of features.
        side: share of height and width that is kept, around the middle.
        mirrored: whether left and right change places.
    """

    name: str
    side: float
    mirrored: bool = False


_WITH_MIRRORS = (
    View("photo", 1.0),
    View("mirror", 1.0, mirrored=True),
    View("centre-85", 0.85),
    View("centre-70-mirror", 0.7, mirrored=True),
    View("centre-92-mirror", 0.92, mirrored=True),
    View("centre-78", 0.78),
)
_WITHOUT_MIRRORS = (
    View("photo", 1.0),
    View("centre-85", 0.85),
    View("centre-70", 0.7),
    View("centre-92", 0.92),
    View("centre-78", 0.78),
    View("centre-60", 0.6),
)


def choose_views(count: int, *, flip: bool) -> tuple[View, ...]:
    """The first `count` views.

    Args:
        count: from 1 to 6.
        flip: whether mirror images are among them.

    Example:
        >>> [view.name for view in choose_views(3, flip=True)]
        ['photo', 'mirror', 'centre-85']
        >>> [view.name for view in choose_views(3, flip=False)]
        ['photo', 'centre-85', 'centre-70']
    """
    return (_WITH_MIRRORS if flip else _WITHOUT_MIRRORS)[:count]


def view_counts(views: int) -> tuple[int, ...]:
    """The numbers of views whose predictions a fold keeps, so that the ensemble can choose: 1, 2 and all.

    Example:
        >>> view_counts(4), view_counts(2), view_counts(1)
        ((1, 2, 4), (1, 2), (1,))
    """
    return tuple(sorted({min(count, views) for count in (1, 2, views)}))


def cut(picture: Picture, side: float) -> Picture:
    """The middle of a picture.

    Args:
        picture: uint8 (H, W, 3).
        side: share of height and width that is kept.

    Returns:
        uint8 (h, w, 3) without a copy; at least a pixel each way.

    Example:
        >>> import numpy as np
        >>> cut(np.zeros((100, 200, 3), np.uint8), 0.85).shape
        (85, 170, 3)
    """
    height, width = (max(1, round(side * length)) for length in picture.shape[:2])
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    return picture[top : top + height, left : left + width]
