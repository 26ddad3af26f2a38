"""What stands behind and before the sample cars: skies, walls, trees, roads, and things in the way."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

from automl_car.data.sample_brush import Brush, Colour, shade, vertical_gradient
from automl_car.data.sample_geometry import Pixels

Backdrop = Callable[[Brush, np.random.Generator, float], None]
Obstacle = Callable[[Brush, np.random.Generator, float, float, float], None]

SKIES: tuple[tuple[Colour, Colour], ...] = (
    ((96, 150, 214), (206, 224, 240)),
    ((150, 160, 172), (206, 210, 214)),
    ((236, 158, 108), (250, 216, 176)),
    ((74, 96, 138), (196, 170, 170)),
)
_GROUNDS: tuple[Colour, ...] = ((98, 98, 102), (128, 124, 118), (150, 138, 116), (104, 122, 76), (84, 88, 96))
_WALLS: tuple[Colour, ...] = ((168, 92, 74), (188, 178, 160), (140, 146, 152), (206, 190, 150), (120, 84, 70))
_GREENS: tuple[Colour, ...] = ((58, 92, 48), (84, 112, 54), (44, 76, 56), (130, 118, 50))
_THINGS: tuple[Colour, ...] = (
    (180, 60, 50),
    (60, 90, 140),
    (200, 170, 70),
    (70, 72, 76),
    (222, 222, 216),
    (92, 120, 80),
)


def pick(rng: np.random.Generator, colours: tuple[Colour, ...]) -> Colour:
    """One of the colours, a little brighter or darker than it is."""
    return shade(colours[int(rng.integers(len(colours)))], float(rng.uniform(0.8, 1.15)))


def rectangle(left: float, top: float, right: float, bottom: float) -> Pixels:
    """The corners of an upright rectangle."""
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def draw_backdrop(brush: Brush, rng: np.random.Generator, horizon: float, sky: tuple[Colour, Colour]) -> None:
    """Fill the whole picture with sky, ground and one of the backdrops between them."""
    width, height = brush.picture.size
    edge = int(np.clip(horizon, 0.12 * height, 0.75 * height))
    brush.picture.paste(vertical_gradient((width, edge), *sky), (0, 0))
    ground = pick(rng, _GROUNDS)
    brush.picture.paste(vertical_gradient((width, height - edge), shade(ground, 1.1), shade(ground, 0.75)), (0, edge))
    _BACKDROPS[int(rng.integers(len(_BACKDROPS)))](brush, rng, float(edge))
    _draw_road_marks(brush, rng, float(edge))
    _mottle(brush, rng)
    # The camera is focused on the car.
    brush.picture.paste(brush.picture.filter(ImageFilter.BoxBlur(brush.unit * float(rng.uniform(2, 8)))))


def _draw_houses(brush: Brush, rng: np.random.Generator, edge: float) -> None:
    width, left = brush.picture.width, -0.05 * brush.picture.width
    while left < width:
        right, top = left + width * rng.uniform(0.14, 0.36), edge * rng.uniform(-0.2, 0.7)
        wall = pick(rng, _WALLS)
        brush.gradient(rectangle(left, top, right, edge + 2), wall, shade(wall, 0.8))
        columns, rows = int(rng.integers(2, 5)), int(rng.integers(2, 5))
        pane_width, pane_height = (right - left) / (2 * columns + 1), (edge - top) / (2 * rows + 1)
        pane = shade((150, 170, 190), float(rng.uniform(0.4, 1.2)))
        for number in range(columns * rows):
            u = left + pane_width * (1 + 2 * (number % columns))
            v = top + pane_height * (1 + 2 * (number // columns))
            brush.fill(rectangle(u, v, u + pane_width, v + pane_height), pane)
        left = right


def _draw_woods(brush: Brush, rng: np.random.Generator, edge: float) -> None:
    width = brush.picture.width
    brush.fill(rectangle(0, 0.85 * edge, width, edge + 2), shade(pick(rng, _GREENS), 0.7))
    for u in rng.uniform(0, width, size=9):
        size = edge * rng.uniform(0.2, 0.42)
        brush.fill(rectangle(u - 0.08 * size, edge - 1.4 * size, u + 0.08 * size, edge + 3), (70, 54, 42))
        draw_leaves(brush, rng, float(u), edge - 1.5 * size, float(size))


def _draw_hills(brush: Brush, rng: np.random.Generator, edge: float) -> None:
    width = brush.picture.width
    us = np.linspace(0, width, 30)
    for level in (0.45, 0.25, 0.1):
        waves = np.sin(us / width * rng.uniform(3, 9) + rng.uniform(0, 6))
        vs = edge * (1 - level - 0.5 * level * waves)
        line = [(float(u), float(v)) for u, v in zip(us, vs, strict=True)]
        brush.fill([(0.0, edge + 2), *line, (float(width), edge + 2)], shade(pick(rng, _GREENS), 0.8 + level))


def _draw_wall(brush: Brush, rng: np.random.Generator, edge: float) -> None:
    width, wall = brush.picture.width, pick(rng, _WALLS)
    foot = edge + 0.06 * brush.picture.height
    brush.gradient(rectangle(0, 0, width, foot), shade(wall, 1.05), shade(wall, 0.8))
    course = brush.picture.height * rng.uniform(0.03, 0.08)
    joint = (*shade(wall, 0.7), 150)
    for row, v in enumerate(np.arange(foot, 0, -course)):
        brush.stroke([(0.0, float(v)), (float(width), float(v))], joint)
        for u in np.arange((row % 2) * course, width, 2.4 * course):
            brush.stroke([(float(u), float(v)), (float(u), float(v - course))], joint)


def _draw_garage(brush: Brush, rng: np.random.Generator, edge: float) -> None:
    width, foot = brush.picture.width, edge + 0.08 * brush.picture.height
    wall = shade((150, 152, 156), float(rng.uniform(0.5, 1.2)))
    brush.gradient(rectangle(0, 0, width, foot), shade(wall, 0.7), wall)
    for _ in range(int(rng.integers(5, 14))):
        left, top = rng.uniform(-0.1, 0.95) * width, rng.uniform(0.05, 0.9) * foot
        right = left + rng.uniform(0.04, 0.25) * width
        brush.fill(rectangle(left, top, right, min(foot, top + rng.uniform(0.05, 0.6) * foot)), pick(rng, _THINGS))
    for u in np.arange(rng.uniform(0, 0.2), 1.0, 0.3) * width:
        brush.fill(rectangle(float(u), 0.04 * foot, float(u) + 0.16 * width, 0.08 * foot), (246, 246, 236))


def _draw_road_marks(brush: Brush, rng: np.random.Generator, edge: float) -> None:
    width, height = brush.picture.size
    if rng.random() < 0.5:
        v = edge + (height - edge) * rng.uniform(0.1, 0.3)
        brush.fill(rectangle(0, float(v), width, float(v) + 0.015 * height), (*shade((190, 190, 186), 0.9), 200))
    if rng.random() < 0.5:
        lean = rng.uniform(-0.4, 0.4) * width
        for u in np.arange(rng.uniform(-0.3, 0.1), 1.3, rng.uniform(0.25, 0.6)) * width:
            line = [(float(u), edge + 0.3 * (height - edge)), (float(u + lean), float(height))]
            brush.stroke(line, (222, 220, 206, 190), 5)


def _mottle(brush: Brush, rng: np.random.Generator) -> None:
    """Break the flat areas up with coarse brightness noise."""
    width, height = brush.picture.size
    noise = rng.normal(128, rng.uniform(5, 15), size=(height // 9, width // 9)).clip(0, 255).astype(np.uint8)
    veil = Image.fromarray(noise).resize((width, height), Image.Resampling.BILINEAR)
    # Half of the veil's distance from grey: the backdrop must not drown in it.
    brush.picture.paste(Image.blend(brush.picture, Image.merge("RGB", [veil] * 3), 0.22))


def draw_leaves(brush: Brush, rng: np.random.Generator, u: float, v: float, size: float) -> None:
    """Draw the crown of a tree, or a bush, about `size` pixels in radius."""
    green = pick(rng, _GREENS)
    for du, dv, radius in rng.uniform((-0.7, -0.5, 0.3), (0.7, 0.5, 0.6), size=(9, 3)):
        colour = shade(green, float(rng.uniform(0.75, 1.25)))
        brush.ellipse((u + size * du, v + size * dv), (size * radius, size * radius), colour)


_BACKDROPS: tuple[Backdrop, ...] = (_draw_houses, _draw_woods, _draw_hills, _draw_wall, _draw_garage)


def draw_obstacle(brush: Brush, rng: np.random.Generator, u: float, foot: float, size: float) -> None:
    """Put a random thing before the car.

    Args:
        u: its middle, in pixels from the left.
        foot: where it stands, in pixels from the top.
        size: height of the car's body in pixels.
    """
    _OBSTACLES[int(rng.integers(len(_OBSTACLES)))](brush, rng, u, foot, size)


def _draw_pole(brush: Brush, rng: np.random.Generator, u: float, foot: float, size: float) -> None:
    half, colour = size * rng.uniform(0.05, 0.13), pick(rng, _THINGS)
    brush.fill(rectangle(u - half, -5, u + half, foot), colour)
    brush.fill(rectangle(u + 0.3 * half, -5, u + half, foot), shade(colour, 0.7))


def _draw_cone(brush: Brush, rng: np.random.Generator, u: float, foot: float, size: float) -> None:
    tall = size * rng.uniform(0.45, 0.8)
    wide = 0.32 * tall
    brush.fill(
        [(u - wide, foot), (u - 0.1 * wide, foot - tall), (u + 0.1 * wide, foot - tall), (u + wide, foot)],
        (226, 96, 34),
    )
    for low, high in ((0.3, 0.48), (0.62, 0.76)):
        near, far = wide * (1 - 0.9 * low), wide * (1 - 0.9 * high)
        brush.fill(
            [
                (u - near, foot - low * tall),
                (u - far, foot - high * tall),
                (u + far, foot - high * tall),
                (u + near, foot - low * tall),
            ],
            (240, 240, 236),
        )


def _draw_bush(brush: Brush, rng: np.random.Generator, u: float, foot: float, size: float) -> None:
    draw_leaves(brush, rng, u, foot - 0.2 * size, size * float(rng.uniform(0.3, 0.6)))


def _draw_crate(brush: Brush, rng: np.random.Generator, u: float, foot: float, size: float) -> None:
    half, tall, colour = size * rng.uniform(0.2, 0.5), size * rng.uniform(0.3, 0.7), pick(rng, _THINGS)
    brush.gradient(rectangle(u - half, foot - tall, u + half, foot), colour, shade(colour, 0.7))
    brush.stroke(rectangle(u - half, foot - tall, u + half, foot), shade(colour, 0.5), closed=True)


def _draw_person(brush: Brush, rng: np.random.Generator, u: float, foot: float, size: float) -> None:
    tall = size * rng.uniform(1.05, 1.25)
    wide, coat, legs = 0.14 * tall, pick(rng, _THINGS), shade(pick(rng, _THINGS), 0.5)
    for side in (-1, 1):
        brush.fill(
            rectangle(u + side * 0.5 * wide - 0.4 * wide, foot - 0.5 * tall, u + side * 0.5 * wide + 0.4 * wide, foot),
            legs,
        )
    brush.gradient(rectangle(u - wide, foot - 0.84 * tall, u + wide, foot - 0.42 * tall), coat, shade(coat, 0.7))
    brush.ellipse(
        (u, foot - 0.93 * tall), (0.075 * tall, 0.085 * tall), shade((206, 160, 128), float(rng.uniform(0.5, 1.1)))
    )


def _draw_branch(brush: Brush, rng: np.random.Generator, u: float, foot: float, size: float) -> None:
    for step in range(4):
        draw_leaves(brush, rng, u + 0.3 * step * size, foot - (1.5 - 0.1 * step) * size, 0.26 * size)


_OBSTACLES: tuple[Obstacle, ...] = (_draw_pole, _draw_cone, _draw_bush, _draw_crate, _draw_person, _draw_branch)
