"""The fictional cars of the sample set: twelve models told apart by shape and details, never by colour.

Lengths are metres. `x` runs from the nose (0) to the tail, `y` from the ground upwards. Near twins
share a `Shape` or a `Face`, or differ little in one of them, so that the problem is a fine-grained one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

Point = tuple[float, float]


@dataclass(frozen=True)
class Shape:
    """The proportions of a body, seen from its left side.

    Args:
        nose: height of the bonnet's front edge.
        cowl: foot of the windscreen, as (x, y).
        roof: the roof line from the windscreen backwards: three points (x, y).
        deck: foot of the rear window, as (x, y).
        tail: height of the upper edge of the tail.
        belt: height of the lower edge of the side windows.
        glass_rear: x of the last window's rear edge, at its top and at the belt.
        pillars: x of the posts between the side windows; a door ends at each.
        cladding: height of the dark plastic above the sill; 0 for none.
        fabric_roof: a dark soft top in place of a painted roof.
        roof_rails: rails along the roof.
    """

    length: float
    width: float
    axles: Point
    wheel_radius: float
    sill: float
    nose: float
    cowl: Point
    roof: tuple[Point, Point, Point]
    deck: Point
    tail: float
    belt: float
    glass_rear: Point
    pillars: tuple[float, ...]
    cladding: float = 0.0
    fabric_roof: bool = False
    roof_rails: bool = False

    def profile(self) -> list[Point]:
        """The eleven corners of the side view, from below the nose over the roof to below the tail."""
        nose, tail = self.nose, self.tail
        front = [(0.12, self.sill), (0.0, 0.55 * nose), (0.08, nose), self.cowl]
        end = self.length
        rear = [self.deck, (end - 0.06, tail), (end, 0.62 * tail), (end - 0.12, self.sill + 0.04)]
        return [*front, *self.roof, *rear]


@dataclass(frozen=True)
class Face:
    """The details that tell near twins apart; each is a key of a table in `sample_details`."""

    headlight: str
    grille: str
    pattern: str
    taillight: str
    rim: str


@dataclass(frozen=True)
class CarModel:
    """One class of the sample set."""

    name: str
    shape: Shape
    face: Face


SEDAN = Shape(
    length=4.62, width=1.80, axles=(0.88, 3.62), wheel_radius=0.34, sill=0.24, nose=0.76, cowl=(1.42, 0.97),
    roof=((2.10, 1.40), (2.65, 1.46), (3.20, 1.38)), deck=(3.92, 1.06), tail=1.00, belt=0.95,
    glass_rear=(3.12, 3.52), pillars=(2.48, 3.18),
)  # fmt: skip
FASTBACK_SEDAN = replace(
    SEDAN, roof=((2.10, 1.39), (2.65, 1.45), (3.25, 1.36)), deck=(4.20, 1.05),
    glass_rear=(3.22, 3.86), pillars=(2.48, 3.24),
)  # fmt: skip
LIMOUSINE = replace(
    SEDAN, length=5.55, axles=(0.90, 4.48), roof=((2.12, 1.40), (3.10, 1.47), (4.15, 1.40)),
    deck=(4.85, 1.06), glass_rear=(4.02, 4.35), pillars=(2.48, 3.28, 4.05),
)  # fmt: skip
WAGON = replace(
    SEDAN, roof=((2.10, 1.40), (2.85, 1.47), (4.15, 1.42)), deck=(4.52, 1.02), tail=0.98,
    glass_rear=(4.02, 4.26), pillars=(2.48, 3.24, 3.72), roof_rails=True,
)  # fmt: skip
HATCH = Shape(
    length=3.92, width=1.72, axles=(0.76, 3.20), wheel_radius=0.32, sill=0.24, nose=0.80, cowl=(1.12, 1.02),
    roof=((1.78, 1.46), (2.35, 1.52), (3.25, 1.43)), deck=(3.74, 1.05), tail=0.98, belt=0.98,
    glass_rear=(3.05, 3.28), pillars=(2.16, 2.82),
)  # fmt: skip
SUV = Shape(
    length=4.58, width=1.90, axles=(0.90, 3.60), wheel_radius=0.40, sill=0.36, nose=0.98, cowl=(1.36, 1.18),
    roof=((1.98, 1.68), (2.60, 1.74), (3.90, 1.68)), deck=(4.40, 1.22), tail=1.14, belt=1.15,
    glass_rear=(3.82, 4.10), pillars=(2.38, 3.18, 3.72), cladding=0.24, roof_rails=True,
)  # fmt: skip
BOXY_SUV = replace(
    SUV, nose=1.02, cowl=(1.44, 1.20), roof=((1.92, 1.74), (2.60, 1.80), (4.20, 1.79)), deck=(4.50, 1.22),
    glass_rear=(4.14, 4.24), pillars=(2.38, 3.18, 3.78),
)  # fmt: skip
COUPE = Shape(
    length=4.48, width=1.84, axles=(0.88, 3.52), wheel_radius=0.36, sill=0.20, nose=0.66, cowl=(1.66, 0.90),
    roof=((2.30, 1.24), (2.72, 1.29), (3.05, 1.25)), deck=(4.05, 0.98), tail=0.93, belt=0.88,
    glass_rear=(3.02, 3.46), pillars=(2.92,),
)  # fmt: skip
ROADSTER = replace(
    COUPE, length=4.12, axles=(0.86, 3.26), roof=((2.26, 1.16), (2.58, 1.21), (2.88, 1.16)), deck=(3.28, 0.92),
    tail=0.86, glass_rear=(2.82, 2.92), pillars=(2.78,), fabric_roof=True,
)  # fmt: skip
PICKUP = Shape(
    length=5.25, width=1.90, axles=(0.95, 4.15), wheel_radius=0.41, sill=0.40, nose=1.04, cowl=(1.48, 1.20),
    roof=((2.02, 1.70), (2.55, 1.76), (3.28, 1.72)), deck=(3.46, 1.16), tail=1.14, belt=1.16,
    glass_rear=(3.16, 3.24), pillars=(2.44, 2.96), cladding=0.10,
)  # fmt: skip
VAN = Shape(
    length=4.75, width=1.88, axles=(0.88, 3.82), wheel_radius=0.34, sill=0.28, nose=0.98, cowl=(0.80, 1.16),
    roof=((1.45, 1.84), (2.10, 1.95), (4.50, 1.92)), deck=(4.70, 1.20), tail=1.14, belt=1.12,
    glass_rear=(2.38, 2.46), pillars=(1.60,),
)  # fmt: skip

MODELS: tuple[CarModel, ...] = (
    CarModel("Aurelo Nimbus Sedan 2014", SEDAN, Face("almond", "wide", "bars", "block", "ten")),
    CarModel("Aurelo Nimbus Sedan 2017", FASTBACK_SEDAN, Face("slit", "hexagon", "mesh", "bar", "split")),
    CarModel("Aurelo Nimbus Wagon 2014", WAGON, Face("almond", "wide", "bars", "upright", "ten")),
    CarModel("Brenta Regent Limousine 2016", LIMOUSINE, Face("almond", "shield", "slats", "block", "disc")),
    CarModel("Dorvex Pico Hatch 2015", HATCH, Face("round", "smile", "open", "upright", "disc")),
    CarModel("Dorvex Pico Hatch 2019", HATCH, Face("hook", "hexagon", "bars", "block", "turbine")),
    CarModel("Halden Ridge SUV 2013", BOXY_SUV, Face("square", "wide", "slats", "upright", "five")),
    CarModel("Halden Ridge SUV 2018", SUV, Face("slit", "shield", "mesh", "bar", "ten")),
    CarModel("Lumo Cargo Van 2012", VAN, Face("tall", "smile", "bars", "upright", "disc")),
    CarModel("Torvane Hauler Pickup 2016", PICKUP, Face("square", "shield", "bars", "upright", "split")),
    CarModel("코멧_로드스터_2018", ROADSTER, Face("twin", "smile", "open", "round", "turbine")),
    CarModel("코멧_쿠페_2018", COUPE, Face("twin", "smile", "mesh", "round", "five")),
)
