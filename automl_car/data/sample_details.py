"""Lights, grilles and wheels of the sample cars: the details by which near twins differ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from automl_car.data.sample_brush import Brush, Colour, shade
from automl_car.data.sample_geometry import Array, Body, Pixels, circle
from automl_car.data.sample_models import Point

Polygon = tuple[Point, ...]

LENS: Colour = (232, 238, 244)
CHROME: Colour = (190, 194, 200)
DARK: Colour = (24, 25, 29)
RED: Colour = (176, 22, 28)
TYRE: Colour = (26, 26, 29)
ALLOY: Colour = (184, 188, 194)


@dataclass(frozen=True)
class Lamp:
    """A lamp at a corner of the car.

    Args:
        parts: polygons in a unit square; (0, 0) is the lower inner corner.
        inner: where the lamp begins, as a share of the half width; it ends at the corner.
        height: metres.
        wrap: metres that the lamp runs along the side.
    """

    parts: tuple[Polygon, ...]
    inner: float
    height: float
    wrap: float = 0.0


def _round(u: float, v: float, a: float, b: float) -> Polygon:
    return tuple((u + a * float(x), v + b * float(y)) for x, y in circle(16))


_BLOCK: Polygon = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))

HEADLIGHTS = {
    "almond": Lamp((((0.0, 0.35), (0.4, 0.0), (1.0, 0.3), (1.0, 1.0), (0.5, 0.85)),), 0.42, 0.25, 0.40),
    "slit": Lamp((((0.0, 0.0), (1.0, 0.45), (1.0, 1.0), (0.0, 0.5)),), 0.38, 0.18, 0.55),
    "round": Lamp((_round(0.5, 0.5, 0.5, 0.5),), 0.50, 0.36),
    "twin": Lamp((_round(0.24, 0.5, 0.24, 0.5), _round(0.76, 0.5, 0.24, 0.5)), 0.40, 0.23),
    "square": Lamp((_BLOCK,), 0.52, 0.27, 0.14),
    "hook": Lamp((((0.0, 0.75), (0.72, 0.7), (0.72, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)),), 0.42, 0.36, 0.18),
    "tall": Lamp((((0.2, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 0.85)),), 0.68, 0.40, 0.16),
}
TAILLIGHTS = {
    "block": Lamp((_BLOCK,), 0.54, 0.17, 0.26),
    "bar": Lamp((((-1.5, 0.3), (0.0, 0.3), (0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (-1.5, 0.7)),), 0.60, 0.15, 0.34),
    "upright": Lamp((_BLOCK,), 0.76, 0.42, 0.10),
    "round": Lamp((_round(0.22, 0.5, 0.21, 0.5), _round(0.72, 0.5, 0.21, 0.5)), 0.36, 0.20),
}


@dataclass(frozen=True)
class Grille:
    """The outline of a grille in a box that is centred on the nose; u goes from -1 to 1, v from 0 to 1."""

    outline: Polygon
    half_width: float  # share of the half width of the car
    bottom: float  # share of the height of the nose
    top: float


GRILLES = {
    "wide": Grille(((-1, 0.15), (1, 0.15), (0.96, 0.9), (-0.96, 0.9)), 0.42, 0.60, 0.97),
    "hexagon": Grille(((-0.6, 0), (0.6, 0), (1, 0.55), (0.75, 1), (-0.75, 1), (-1, 0.55)), 0.42, 0.28, 0.96),
    "shield": Grille(((-0.7, 0), (0.7, 0), (1, 1), (-1, 1)), 0.36, 0.36, 1.02),
    "smile": Grille(((-0.8, 0.1), (0, 0), (0.8, 0.1), (1, 1), (0, 0.75), (-1, 1)), 0.66, 0.32, 0.62),
}


@dataclass(frozen=True)
class Rim:
    """The spokes of a wheel.

    Args:
        count: number of spokes.
        width: share of the circle that they cover.
        twist: radians by which their outer end is turned against the inner one.
        split: draws every spoke as a fork.
    """

    count: int
    width: float
    twist: float = 0.0
    split: bool = False


RIMS = {
    "five": Rim(5, 0.42),
    "ten": Rim(10, 0.45),
    "disc": Rim(7, 0.80),
    "turbine": Rim(9, 0.50, twist=0.55),
    "split": Rim(6, 0.30, split=True),
}


def draw_lamp(brush: Brush, body: Body, lamp: Lamp, *, front: bool) -> None:
    """Draw the pair of lamps at the nose or at the tail, on the end's surface."""
    top = (body.shape.nose if front else body.shape.tail) - 0.03
    place = body.on_front if front else body.on_rear
    for side in (-1, 1):
        for part in lamp.parts:
            u, v = np.array(part).T
            polygon = place(top - lamp.height * (1 - v), side * (lamp.inner + (0.98 - lamp.inner) * u))
            _glass(brush, polygon, front=front)


def draw_lamp_wrap(brush: Brush, body: Body, lamp: Lamp, *, front: bool) -> None:
    """Draw the part of a lamp that is seen from the side."""
    shape = body.shape
    top = (shape.nose if front else shape.tail) - 0.03
    x, step = (0.06, 1) if front else (shape.length - 0.04, -1)
    ends = [x, x + 0.3 * step * lamp.wrap, x + step * (lamp.wrap + 0.05), x]
    heights = [top - 0.8 * lamp.height, top - 0.75 * lamp.height, top - 0.1 * lamp.height, top]
    _glass(brush, body.pixels(ends, heights), front=front)


def _glass(brush: Brush, polygon: Pixels, *, front: bool) -> None:
    if front:
        brush.gradient(polygon, LENS, (140, 152, 166))
    else:
        brush.gradient(polygon, (214, 46, 44), RED)
    brush.stroke(polygon, (*DARK, 200), closed=True)


def draw_grille(brush: Brush, body: Body, grille: Grille, pattern: str) -> None:
    """Draw the grille, its bars and the badge on the nose."""
    u, v = np.array(grille.outline, dtype=np.float64).T
    bottom, height = grille.bottom * body.shape.nose, (grille.top - grille.bottom) * body.shape.nose
    frame = body.on_front(bottom + height * v, grille.half_width * u)
    brush.fill(frame, DARK)
    for line in _bars(pattern):
        brush.stroke(body.on_front(bottom + height * line[:, 1], grille.half_width * line[:, 0]), CHROME, 1.2)
    brush.stroke(frame, CHROME, 1.6, closed=True)


def _bars(pattern: str) -> list[Array]:
    across, along = np.linspace(-0.8, 0.8, 7), np.linspace(0.25, 0.85, 3)
    lying = [np.array([(-0.82, v), (0.0, v), (0.82, v)]) for v in along]
    upright = [np.array([(u, 0.12), (u, 0.9)]) for u in across]
    return {"bars": lying, "slats": upright, "mesh": lying + upright, "open": []}[pattern]


def draw_wheel(brush: Brush, body: Body, x: float, rim: Rim, phase: float) -> None:
    """Draw the near wheel whose axle is `x` metres behind the nose, turned by `phase` radians."""
    radius = body.shape.wheel_radius

    def ring(points: Array, scale: float = 1.0, w: float = 1.0) -> Pixels:
        return body.pixels(x + scale * radius * points[:, 0], radius + scale * radius * points[:, 1], w)

    tread = ring(circle(), w=0.76)
    brush.fill(tread, shade(TYRE, 0.5))
    brush.fill(ring(circle()), TYRE)
    brush.fill(ring(circle(), 0.68), (52, 53, 58))
    for spoke in _spokes(rim, phase):
        brush.fill(ring(spoke), ALLOY)
    brush.stroke(ring(circle(), 0.68), ALLOY, 1.4, closed=True)
    brush.fill(ring(circle(10), 0.14), CHROME)


def _spokes(rim: Rim, phase: float) -> list[Array]:
    half = np.pi * rim.width / rim.count
    tips = ((-1.6, -0.5), (0.5, 1.6)) if rim.split else ((-1.0, 1.0),)
    return [
        _spoke(phase + 2 * np.pi * number / rim.count, half, rim.twist, tip)
        for number in range(rim.count)
        for tip in tips
    ]


def _spoke(angle: float, half: float, twist: float, tip: tuple[float, float]) -> Array:
    angles = angle + np.array([-half, half, twist + half * tip[1], twist + half * tip[0]])
    radii = np.array([0.1, 0.1, 0.68, 0.68])
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)
