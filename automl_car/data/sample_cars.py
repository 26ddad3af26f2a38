"""Drawing of one sample car: its shadow, its panels, its glass and its wheels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from automl_car.data import sample_details as details
from automl_car.data.sample_brush import Brush, Colour, blend, shade
from automl_car.data.sample_geometry import Array, Body, Numbers, Pixels, circle
from automl_car.data.sample_models import CarModel

Place = Callable[[Numbers, Numbers], Pixels]  # (y, w) to pixels

_ACROSS = np.linspace(-1.0, 1.0, 7)
_GLASS: Colour = (38, 46, 56)
_FABRIC: Colour = (44, 42, 44)
_PLASTIC: Colour = (46, 47, 50)
_NOSE, _SCREEN, _ROOF, _REAR_GLASS = (0, 1), 3, (4, 5), 6  # numbers of the edges of `Shape.profile`


@dataclass(frozen=True)
class Light:
    """How the car is lit.

    Args:
        sun: direction towards the sun, as a unit vector (x, y, z) of the body.
        sky: colour that glass and bonnet reflect.
        ambient: share of the light that comes from everywhere, 0 to 1.
    """

    sun: tuple[float, float, float]
    sky: Colour
    ambient: float = 0.6

    def on(self, normal: tuple[float, float, float]) -> float:
        """Brightness factor of a panel with this unit normal."""
        facing = sum(a * b for a, b in zip(self.sun, normal, strict=True))
        return self.ambient + 0.65 * max(0.0, facing)


def draw_car(brush: Brush, body: Body, model: CarModel, paint: Colour, light: Light, wheel_phase: float) -> None:
    """Draw a car with its shadow; `wheel_phase` turns the wheels, in radians."""
    _draw_shadow(brush, body)
    _draw_underbody(brush, body)
    _draw_shell(brush, body, paint, light)
    _draw_ends(brush, body, model)
    _draw_side(brush, body, paint, light)
    _draw_side_glass(brush, body, light)
    _draw_doors(brush, body, paint)
    _draw_side_lamps(brush, body, model)
    for x in body.shape.axles:
        details.draw_wheel(brush, body, x, details.RIMS[model.face.rim], wheel_phase)


def _draw_shadow(brush: Brush, body: Body) -> None:
    x, w = circle(32).T
    for size in np.linspace(1.12, 0.9, 5):
        middle = body.shape.length / 2
        brush.fill(body.pixels(middle * (1 + size * x), 0.0, 1.15 * size * w), (8, 8, 12, 46))


def _draw_underbody(brush: Brush, body: Body) -> None:
    shape = body.shape
    front, rear = 0.55, shape.length - 0.55
    for w in (-0.85, 0.6):
        brush.fill(body.pixels([front, rear, rear, front], [0.14, 0.14, 0.5, 0.5], w), (14, 14, 16))
    for x in shape.axles:
        u, v = circle().T
        brush.fill(body.pixels(x + shape.wheel_radius * u, shape.wheel_radius * (1 + v), -0.95), details.TYRE)


def _draw_shell(brush: Brush, body: Body, paint: Colour, light: Light) -> None:
    """Draw nose, bonnet, roof and tail as strips across the car, the far ones first."""
    lines = body.outline
    pixels = body.pixels(lines[:, :1], lines[:, 1:2], _ACROSS)
    width = len(_ACROSS)
    order = range(len(lines) - 1)
    for number in reversed(order) if body.view.yaw > 0 else order:
        start, stop = lines[number], lines[number + 1]
        first, middle, last = number * width, (number + 1) * width, (number + 2) * width
        polygon = [*pixels[first:middle], *reversed(pixels[middle:last])]
        if body.faces_camera(polygon):
            brush.fill(polygon, _strip_colour(body, start, stop, paint, light))


def _strip_colour(body: Body, start: Array, stop: Array, paint: Colour, light: Light) -> Colour:
    edge = int((start[2] + stop[2]) / 2)
    dx, dy = float(stop[0] - start[0]), float(stop[1] - start[1])
    length = max(1e-6, float(np.hypot(dx, dy)))
    brightness = light.on((-dy / length, dx / length, 0.0))
    if edge in (_SCREEN, _REAR_GLASS) and not _is_panelled(body, edge):
        return blend(_GLASS, light.sky, 0.25)
    if edge in _ROOF and body.shape.fabric_roof:
        return shade(_FABRIC, brightness)
    if max(start[1], stop[1]) < body.shape.sill + body.shape.cladding + 0.06:
        return shade(_PLASTIC, brightness)
    return blend(shade(paint, brightness), light.sky, 0.18 * max(0.0, dx / length))


def _is_panelled(body: Body, edge: int) -> bool:
    # The tail of a panel van: its side windows end far before it.
    return edge == _REAR_GLASS and body.shape.deck[0] - body.shape.glass_rear[1] > 1.5


def _draw_ends(brush: Brush, body: Body, model: CarModel) -> None:
    """Draw what lies on the nose or on the tail, whichever the camera sees."""
    face, shape = model.face, body.shape
    wings = np.array([-0.9, -0.5, 0.0, 0.5, 0.9])
    if body.faces_camera([*body.on_front(0.35, wings), *body.on_front(0.6, wings[::-1])]):
        brush.fill(_band(body.on_front, shape.sill + 0.03, 0.42 * shape.nose, 0.66), details.DARK)
        details.draw_grille(brush, body, details.GRILLES[face.grille], face.pattern)
        details.draw_lamp(brush, body, details.HEADLIGHTS[face.headlight], front=True)
        brush.fill(_band(body.on_front, 0.34 * shape.nose, 0.48 * shape.nose, 0.2), (225, 226, 218))
    elif body.faces_camera([*body.on_rear(0.6, wings), *body.on_rear(0.35, wings[::-1])]):
        details.draw_lamp(brush, body, details.TAILLIGHTS[face.taillight], front=False)
        brush.fill(_band(body.on_rear, 0.6 * shape.tail, 0.74 * shape.tail, 0.24), (225, 226, 218))
        brush.fill(_band(body.on_rear, shape.sill + 0.06, shape.sill + 0.16, 0.7), details.DARK)


def _band(place: Place, bottom: float, top: float, half_width: float) -> Pixels:
    wings = np.linspace(-half_width, half_width, 5)
    return [*place(bottom, wings), *place(top, wings[::-1])]


def _draw_side(brush: Brush, body: Body, paint: Colour, light: Light) -> None:
    """Draw the near side with its arches; a bright line runs along the shoulder."""
    shape, brightness = body.shape, light.on((0.0, 0.0, 1.0))
    upper = blend(shade(paint, 1.08 * brightness), light.sky, 0.12)
    outline = body.pixels(body.outline[:, 0], body.outline[:, 1])
    brush.gradient(outline, upper, shade(paint, 0.62 * brightness))
    if shape.cladding:
        low, high = shape.sill, shape.sill + shape.cladding
        ends = [0.12, shape.length - 0.1, shape.length - 0.02, 0.04]
        brush.fill(body.pixels(ends, [low, low, high, high]), _PLASTIC)
    shoulder = np.linspace(0.2, shape.length - 0.25, 6)
    heights = np.linspace(shape.nose - 0.06, shape.tail - 0.1, 6)
    brush.stroke(body.pixels(shoulder, heights), (*shade(upper, 1.35), 150), 1.6)
    brush.stroke(body.pixels(shoulder, heights - 0.07), (*shade(paint, 0.4), 110), 1.4)
    _draw_arches(brush, body)
    if shape.fabric_roof:
        _draw_fabric_side(brush, body, light)
    if shape.roof_rails:
        rail = np.linspace(shape.roof[0][0] + 0.25, shape.roof[2][0] - 0.1, 6)
        xs, ys = zip(*shape.roof, strict=True)
        brush.stroke(body.pixels(rail, np.interp(rail, xs, ys) + 0.045, 0.95), details.CHROME, 2.2)


def _draw_arches(brush: Brush, body: Body) -> None:
    shape = body.shape
    angles = np.linspace(-0.15, np.pi + 0.15, 20)
    for x in shape.axles:
        for size, colour in ((1.30 if shape.cladding else 1.2, _PLASTIC), (1.14, (10, 10, 12))):
            radius = size * shape.wheel_radius
            arch = body.pixels(x + radius * np.cos(angles), shape.wheel_radius + radius * np.sin(angles))
            brush.fill(arch, colour)


def _draw_fabric_side(brush: Brush, body: Body, light: Light) -> None:
    (front, *_, rear), deck = body.shape.roof, body.shape.deck
    middle = body.shape.roof[1]
    corners = [(front[0] - 0.1, front[1] - 0.06), middle, rear, deck, (body.shape.cowl[0] + 0.5, body.shape.belt)]
    xs, ys = zip(*corners, strict=True)
    brush.fill(body.pixels(xs, ys), shade(_FABRIC, light.on((0.0, 0.0, 1.0))))


def _draw_side_glass(brush: Brush, body: Body, light: Light) -> None:
    """Draw the side windows between the windscreen and `glass_rear`, and the posts between them."""
    shape = body.shape
    (front_x, front_y), (cowl_x, cowl_y) = shape.roof[0], shape.cowl
    low, high = shape.belt + 0.02, front_y - 0.07
    screen = np.interp([low, high], [cowl_y, front_y], [cowl_x, front_x]) + np.array([0.22, 0.16])
    rear_top = min(shape.roof[2][1] - 0.08, high + 0.05)
    window = body.pixels(
        [screen[0], screen[1], shape.roof[1][0], shape.glass_rear[0], shape.glass_rear[1]],
        [low, high, min(high + 0.04, shape.roof[1][1] - 0.1), rear_top, low + 0.03],
    )
    brush.gradient(window, blend(_GLASS, light.sky, 0.5), _GLASS)
    brush.stroke(window, (*details.DARK, 230), 1.6, closed=True)
    for x in shape.pillars:
        if x < shape.glass_rear[0]:
            brush.stroke(body.pixels([x, x - 0.03], [low, high + 0.02]), details.DARK, 3.0)


def _draw_doors(brush: Brush, body: Body, paint: Colour) -> None:
    """Draw the gaps of the doors, their handles and the mirror."""
    shape, gap = body.shape, (*shade(paint, 0.3), 190)
    first = shape.cowl[0] + 0.16
    low, high = shape.sill + max(0.1, shape.cladding), shape.belt
    for x in (first, *shape.pillars):
        brush.stroke(body.pixels([x, x, x + 0.04], [high, 0.6 * (low + high), low]), gap, 1.2)
    brush.stroke(body.pixels([first, shape.pillars[-1]], [low, low]), gap, 1.2)
    for x in shape.pillars[: 2 if len(shape.pillars) > 1 else 1]:
        handle = body.pixels([x - 0.26, x - 0.1, x - 0.1, x - 0.26], np.array([0.0, 0.0, 0.045, 0.045]) + high - 0.14)
        brush.fill(handle, details.CHROME)
    u, v = circle(12).T
    mirror = body.pixels(shape.cowl[0] + 0.42 + 0.11 * u, shape.belt + 0.06 + 0.07 * v, 1.14)
    brush.fill(mirror, shade(paint, 0.75))
    brush.stroke(mirror, (*details.DARK, 160), closed=True)


def _draw_side_lamps(brush: Brush, body: Body, model: CarModel) -> None:
    headlight, taillight = details.HEADLIGHTS[model.face.headlight], details.TAILLIGHTS[model.face.taillight]
    if headlight.wrap:
        details.draw_lamp_wrap(brush, body, headlight, front=True)
    if taillight.wrap:
        details.draw_lamp_wrap(brush, body, taillight, front=False)
