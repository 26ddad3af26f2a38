"""One photo of the sample set: where the camera stands, how the scene is lit, and what the lens loses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from automl_car.data import sample_scene as scene
from automl_car.data.sample_brush import Brush, Colour, shade
from automl_car.data.sample_cars import Light, draw_car
from automl_car.data.sample_geometry import Body, View
from automl_car.data.sample_models import CarModel, Shape

Floats = npt.NDArray[np.float32]

# One palette for all models: the colour of a car says nothing about its class.
PALETTE: tuple[Colour, ...] = (
    (176, 28, 36), (34, 74, 150), (206, 206, 204), (62, 64, 70), (120, 124, 130), (228, 222, 206), (24, 88, 70),
    (214, 152, 40), (92, 40, 52), (86, 134, 170), (150, 128, 96), (204, 92, 36),
)  # fmt: skip
_SUPERSAMPLING = 3


@dataclass(frozen=True)
class Photo:
    """A picture and the JPEG quality that it is to be saved with."""

    picture: Image.Image
    quality: int


def take_photo(model: CarModel, rng: np.random.Generator, image_size: int) -> Photo:
    """Draw one photo of a car.

    Args:
        model: what to draw.
        rng: decides everything else; the same state gives the same photo.
        image_size: height in pixels; the width is 1.1 to 1.5 times as much.
    """
    width = round(image_size * rng.uniform(1.12, 1.5))
    picture = Image.new("RGB", (width * _SUPERSAMPLING, image_size * _SUPERSAMPLING))
    view = choose_view(model.shape, rng, picture.size)
    _paint_scene(Brush(picture, unit=picture.height / 300), Body(model.shape, view), model, rng)
    developed = _develop(picture.reduce(_SUPERSAMPLING), rng)
    return Photo(developed, quality=int(rng.integers(50, 93)))


def paint_colour(rng: np.random.Generator) -> Colour:
    """The colour of a car: the same distribution for all models."""
    return scene.pick(rng, PALETTE)


def choose_view(shape: Shape, rng: np.random.Generator, size: tuple[int, int]) -> View:
    """A camera that has most of the car in a picture of `size` (width, height) pixels."""
    kind = rng.random()
    low, high = (22, 46) if kind < 0.82 else (-42, -22) if kind < 0.91 else (-10, 10)
    yaw = np.radians(rng.uniform(low, high))
    distance = rng.uniform(7.5, 11.0)
    # All cars fill the same share of the picture: their proportions tell them apart, not their size.
    seen = shape.length * np.cos(yaw) + shape.width * abs(np.sin(yaw))
    return View(
        yaw=float(yaw),
        pitch=float(np.radians(rng.uniform(5, 10))),
        distance=float(distance),
        focal=float(size[0] * rng.uniform(0.92, 1.04) * distance / seen),
        centre=(float(size[0] * rng.uniform(0.45, 0.55)), float(size[1] * rng.uniform(0.66, 0.84))),
        roll=float(np.radians(rng.normal(0, 2.0))),
        mirrored=bool(rng.random() < 0.5),
    )


def _paint_scene(brush: Brush, body: Body, model: CarModel, rng: np.random.Generator) -> None:
    sky = scene.SKIES[int(rng.integers(len(scene.SKIES)))]
    scene.draw_backdrop(brush, rng, body.view.horizon, sky)
    sun = rng.normal((0.0, 1.4, 0.5), (0.7, 0.3, 0.5))
    x, y, z = (float(part) for part in sun / np.linalg.norm(sun))
    light = Light((x, y, z), shade(sky[1], 0.9), ambient=float(rng.uniform(0.4, 0.75)))
    draw_car(brush, body, model, paint_colour(rng), light, float(rng.uniform(0, 2 * np.pi)))
    _put_obstacles(brush, body, rng)


def _put_obstacles(brush: Brush, body: Body, rng: np.random.Generator) -> None:
    (left, foot), (right, _) = body.pixels([0.0, body.shape.length], [0.0, 0.0])
    size = body.view.focal * body.top / body.view.distance
    for _ in range(int(rng.choice(4, p=[0.6, 0.3, 0.08, 0.02]))):
        u = left + (right - left) * rng.uniform(-0.05, 1.05)
        scene.draw_obstacle(brush, rng, float(u), float(foot + size * rng.uniform(0.02, 0.25)), float(size))


def _develop(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Exposure, tint, shadows, blur and noise of a photo."""
    scene_light = np.asarray(picture, dtype=np.float32) / 255
    shadow = _shadow(scene_light.shape, rng)
    lit = _expose(np.asarray(scene_light * shadow, dtype=np.float32), rng)
    sharp = Image.fromarray((lit.clip(0, 1) * 255).astype(np.uint8))
    blurred = sharp.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 0.9)))) if rng.random() < 0.3 else sharp
    pixels: Floats = np.asarray(blurred, dtype=np.float32)
    if rng.random() < 0.15:
        pixels = _shake(pixels, int(rng.integers(2, 4)), float(rng.normal(0, 0.5)))
    noisy = pixels + rng.normal(0, rng.uniform(1, 6), size=pixels.shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def _expose(pixels: Floats, rng: np.random.Generator) -> Floats:
    night = rng.random() < 0.08
    tint = rng.normal(1.0, 0.04, size=3) * ((0.5, 0.56, 0.74) if night else (1.0, 1.0, 1.0))
    contrast, middle = rng.uniform(0.85, 1.25), 0.45
    gained = (middle + contrast * (pixels - middle)) * rng.uniform(0.95, 1.4) * tint
    return np.asarray(gained, dtype=np.float32)


def _shadow(shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """A soft shadow over one side of the picture, as factors of shape (height, width, 1)."""
    height, width = shape[:2]
    v, u = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    angle = rng.uniform(0, 2 * np.pi)
    edge = (u * np.cos(angle) + v * np.sin(angle) - rng.uniform(-0.6, 0.6)) * rng.uniform(1.5, 12)
    depth = rng.uniform(0.0, 0.35)
    return np.asarray(1 - depth / (1 + np.exp(-edge)), dtype=np.float32)[:, :, None]


def _shake(pixels: Floats, length: int, slope: float) -> Floats:
    """Motion blur: the mean of copies moved along a line of `length` pixels."""
    moved = [np.roll(pixels, (round(step * slope), step), axis=(0, 1)) for step in range(length)]
    return np.asarray(np.mean(moved, axis=0), dtype=np.float32)
