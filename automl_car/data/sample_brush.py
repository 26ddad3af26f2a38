"""A brush for the sample pictures: flat fills, gradients and strokes on a Pillow picture."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw

from automl_car.data.sample_geometry import Pixels

Colour = tuple[int, int, int]
Paint = Colour | tuple[int, int, int, int]  # the fourth number is the opacity, 0 to 255


def shade(colour: Colour, factor: float) -> Colour:
    """The colour made darker (factor below 1) or brighter."""
    red, green, blue = (round(min(255.0, max(0.0, part * factor))) for part in colour)
    return red, green, blue


def blend(one: Colour, other: Colour, share: float) -> Colour:
    """The colour between two colours; `share` is that of the other."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


@dataclass(frozen=True)
class Brush:
    """Paints on an RGB picture; colours with an opacity let what lies below shine through.

    Args:
        picture: is changed in place.
        unit: width of a thin line in pixels.
    """

    picture: Image.Image
    unit: float
    _draw: ImageDraw.ImageDraw = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_draw", ImageDraw.Draw(self.picture, "RGBA"))

    def fill(self, polygon: Pixels, paint: Paint) -> None:
        """Fill a polygon."""
        self._draw.polygon(polygon, fill=paint)

    def stroke(self, line: Pixels, paint: Paint, width: float = 1.0, *, closed: bool = False) -> None:
        """Draw a line, `width` thin lines wide."""
        path = [*line, line[0]] if closed else line
        self._draw.line(path, fill=paint, width=max(1, round(width * self.unit)), joint="curve")

    def gradient(self, polygon: Pixels, top: Colour, bottom: Colour) -> None:
        """Fill a polygon with a colour that changes from its highest to its lowest point."""
        corners = np.array(polygon)
        left, upper = np.floor(corners.min(axis=0)).astype(int)
        right, lower = np.ceil(corners.max(axis=0)).astype(int) + 1
        size = (int(right - left), int(lower - upper))
        mask = Image.new("L", size)
        ImageDraw.Draw(mask).polygon([(u - left, v - upper) for u, v in polygon], fill=255)
        self.picture.paste(vertical_gradient(size, top, bottom), (int(left), int(upper)), mask)

    def ellipse(self, centre: tuple[float, float], radii: tuple[float, float], paint: Paint) -> None:
        """Fill an upright ellipse."""
        (u, v), (a, b) = centre, radii
        self._draw.ellipse((u - a, v - b, u + a, v + b), fill=paint)


def vertical_gradient(size: tuple[int, int], top: Colour, bottom: Colour) -> Image.Image:
    """An RGB picture of `size` (width, height) whose rows go from one colour to the other."""
    share = np.linspace(0.0, 1.0, size[1])[:, None, None]
    column = np.array(top) * (1 - share) + np.array(bottom) * share
    return Image.fromarray(column.astype(np.uint8)).resize(size, Image.Resampling.NEAREST)
