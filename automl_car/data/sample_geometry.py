"""Geometry of the sample cars: a pinhole camera, and a body that is bent out of its side view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from automl_car.data.sample_models import Point, Shape

Array = npt.NDArray[np.float64]
Pixels = list[Point]
Numbers = float | Sequence[float] | Array

_BOW = 0.16  # metres by which the corners of the nose and the tail lie behind their middle
_TUMBLE = 0.20  # share of the width that is lost between the belt and the roof


@dataclass(frozen=True)
class View:
    """A camera that looks at the ground below the middle of the car.

    Args:
        yaw: radians; 0 shows the side, positive values turn the nose to the camera, negative ones the tail.
        pitch: radians by which the camera looks down.
        distance: metres between the camera and the car.
        focal: focal length in pixels.
        centre: pixel (u, v) at which the middle of the car touches the ground.
        roll: radians by which the picture is turned.
        mirrored: shows the right side of the car in place of the left one.
    """

    yaw: float
    pitch: float
    distance: float
    focal: float
    centre: Point
    roll: float = 0.0
    mirrored: bool = False

    def project(self, points: Array) -> Array:
        """Pixels, shape (n, 2), of points (x, y, z) in metres, shape (n, 3); z points out of the near side."""
        x, y, z = points.T
        across = x * np.cos(self.yaw) + z * np.sin(self.yaw)
        towards = z * np.cos(self.yaw) - x * np.sin(self.yaw)
        up = y * np.cos(self.pitch) - towards * np.sin(self.pitch)
        depth = self.distance - y * np.sin(self.pitch) - towards * np.cos(self.pitch)
        u, v = across * self.focal / depth, -up * self.focal / depth
        u, v = u * np.cos(self.roll) - v * np.sin(self.roll), u * np.sin(self.roll) + v * np.cos(self.roll)
        return np.stack([self.centre[0] + (-u if self.mirrored else u), self.centre[1] + v], axis=1)

    @property
    def horizon(self) -> float:
        """Height v of the horizon, in pixels from the top."""
        return float(self.centre[1] - self.focal * np.tan(self.pitch))


@dataclass(frozen=True)
class Body:
    """A car in front of a camera.

    Every place on it is given as (x, y, w): metres behind the nose, metres above the ground, and the share of
    the half width, from -1 (the far side) to 1 (the near side).
    """

    shape: Shape
    view: View
    outline: Array = field(init=False)  # (n, 3): x, y and the number of the profile's edge with its fraction

    def __post_init__(self) -> None:
        corners = np.array([(x, y, edge) for edge, (x, y) in enumerate(self.shape.profile())])
        object.__setattr__(self, "outline", round_corners(round_corners(corners)))

    @property
    def top(self) -> float:
        """Height of the roof in metres."""
        return max(y for _, y in self.shape.roof)

    def pixels(self, x: Numbers, y: Numbers, w: Numbers = 1.0) -> Pixels:
        """Pixels of places on the body; the three arguments broadcast against one another."""
        x, y, w = (np.ravel(part) for part in np.broadcast_arrays(*map(np.asarray, (x, y, w))))
        shape = self.shape
        rise = np.clip((y - shape.belt) / (self.top - shape.belt), 0.0, 1.0)
        z = w * shape.width / 2 * (1 - _TUMBLE * rise)
        bent = x + _BOW * np.square(w) * (1 - 2 * x / shape.length)
        points = np.stack([bent - shape.length / 2, y, z], axis=1).astype(np.float64)
        return [(float(u), float(v)) for u, v in self.view.project(points)]

    def on_front(self, y: Numbers, w: Numbers) -> Pixels:
        """Pixels of places on the nose."""
        return self._on_end(y, w, self.shape.profile()[:3])

    def on_rear(self, y: Numbers, w: Numbers) -> Pixels:
        """Pixels of places on the tail."""
        return self._on_end(y, w, self.shape.profile()[:-4:-1])

    def _on_end(self, y: Numbers, w: Numbers, edge: list[Point]) -> Pixels:
        xs, ys = zip(*edge, strict=True)
        return self.pixels(np.interp(np.asarray(y), ys, xs), y, w)

    def faces_camera(self, polygon: Pixels) -> bool:
        """Whether a panel, with its corners in the order of `outline`, shows its outer side."""
        u, v = np.array(polygon).T
        area = float(np.dot(u, np.roll(v, -1)) - np.dot(v, np.roll(u, -1)))
        return (area > 0) == self.view.mirrored


def round_corners(points: Array) -> Array:
    """Cut every inner corner of an open line (n, d) at a quarter of its edges; the ends stay."""
    before, after = points[:-1], points[1:]
    cut = np.stack([0.75 * before + 0.25 * after, 0.25 * before + 0.75 * after], axis=1)
    return np.concatenate([points[:1], cut.reshape(-1, points.shape[1])[1:-1], points[-1:]])


def circle(count: int = 24) -> Array:
    """Points of the unit circle, shape (count, 2)."""
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)
