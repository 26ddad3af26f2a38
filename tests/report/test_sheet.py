"""Contact sheets are pictures of the promised size, with the photos in them."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image, ImageFont

from automl_car.ensemble.reliability import measure_reliability
from automl_car.report.plots import reliability_plot
from automl_car.report.sheet import PHOTO, Tile, contact_sheet, fit_line

FONT = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
RED = np.full((30, 60, 3), (200, 0, 0), dtype=np.uint8)


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def test_a_photo_fills_its_tile_and_keeps_its_shape() -> None:
    pixels = np.asarray(opened(contact_sheet([Tile(RED, ("a",))], FONT)))
    red = (pixels[..., 0] > 150) & (pixels[..., 1] < 80)
    rows, columns = red.any(axis=1).sum(), red.any(axis=0).sum()
    assert columns == pytest.approx(PHOTO[0], abs=2)
    assert rows == pytest.approx(PHOTO[0] / 2, abs=2)


def test_tiles_beyond_the_fortieth_are_left_out() -> None:
    tiles = [Tile(RED, ("a",))] * 45
    assert opened(contact_sheet(tiles, FONT)).size == opened(contact_sheet(tiles[:40], FONT)).size


def test_six_tiles_take_two_rows() -> None:
    tiles = [Tile(RED, ("a", "b"))] * 6
    one, two = opened(contact_sheet(tiles[:5], FONT)), opened(contact_sheet(tiles, FONT))
    assert one.width == two.width
    assert two.height > 1.8 * one.height


def test_a_photo_that_cannot_be_read_has_a_tile_that_says_so() -> None:
    missing = np.asarray(opened(contact_sheet([Tile(None, ("a",))], FONT)).convert("L"))
    assert missing[: PHOTO[1]].min() < 180  # letters in the frame


def test_a_long_line_loses_its_middle() -> None:
    letters = ImageFont.truetype(str(FONT), 14)
    line = fit_line("Hyundai_Grandeur_" + "x" * 60 + "_2023_2025", letters, 256)
    assert letters.getlength(line) <= 256
    assert line.startswith("Hyundai")
    assert line.endswith("2025")


def test_a_short_line_stays_on_one_line() -> None:
    assert fit_line("a\nb", ImageFont.truetype(str(FONT), 14), 256) == "a b"


def test_the_reliability_diagrams_are_a_png_and_need_no_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    found = measure_reliability(np.array([0.9, 0.6]), np.array([True, False]))
    picture = opened(reliability_plot(found, found))
    assert picture.format == "PNG"
    assert picture.width > picture.height > 400
