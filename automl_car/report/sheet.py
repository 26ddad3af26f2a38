"""A contact sheet: photos in rows, each with lines of text below it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

COLUMNS, MOST_TILES = 5, 40
PHOTO = (304, 200)  # pixels that a photo may take; it keeps its aspect ratio
_GAP, _LINE, _LETTERS = 12, 19, 14  # pixels: between tiles, from line to line, height of the letters
_PAPER, _FRAME, _INK, _FAINT = "white", (238, 238, 238), (20, 20, 20), (110, 110, 110)


@dataclass(frozen=True, eq=False)
class Tile:
    """A photo, uint8 (H, W, 3), or None where it cannot be read; and the lines below it, the first one darker."""

    pixels: NDArray[np.uint8] | None
    lines: tuple[str, ...]


def contact_sheet(tiles: Sequence[Tile], font: Path) -> bytes:
    """A JPEG of at most 40 tiles, in rows of five.

    Args:
        tiles: at least one; those beyond the fortieth are left out.
        font: that has all letters of the lines; lines that are too long lose their middle.
    """
    shown = tiles[:MOST_TILES]
    lines = max(len(tile.lines) for tile in shown)
    columns = min(COLUMNS, len(shown))
    width, height = PHOTO[0] + _GAP, PHOTO[1] + lines * _LINE + 2 * _GAP
    rows = -(-len(shown) // columns)
    sheet = Image.new("RGB", (columns * width + _GAP, rows * height + _GAP), _PAPER)
    letters = ImageFont.truetype(str(font), _LETTERS)
    for index, tile in enumerate(shown):
        row, column = divmod(index, columns)
        _draw(sheet, (_GAP + column * width, _GAP + row * height), tile, letters)
    data = io.BytesIO()
    sheet.save(data, "JPEG", quality=88)
    return data.getvalue()


def _draw(sheet: Image.Image, corner: tuple[int, int], tile: Tile, letters: ImageFont.FreeTypeFont) -> None:
    left, top = corner
    pen = ImageDraw.Draw(sheet)
    pen.rectangle((left, top, left + PHOTO[0] - 1, top + PHOTO[1] - 1), fill=_FRAME)
    if tile.pixels is None:
        pen.text((left + _GAP, top + _GAP), "this photo cannot be read", fill=_FAINT, font=letters)
    else:
        photo = _fit(Image.fromarray(tile.pixels))
        sheet.paste(photo, (left + (PHOTO[0] - photo.width) // 2, top + (PHOTO[1] - photo.height) // 2))
    for number, line in enumerate(tile.lines):
        place = (left, top + PHOTO[1] + 4 + number * _LINE)
        pen.text(place, fit_line(line, letters, PHOTO[0]), fill=_FAINT if number else _INK, font=letters)


def _fit(photo: Image.Image) -> Image.Image:
    scale = min(PHOTO[0] / photo.width, PHOTO[1] / photo.height)
    size = (max(1, round(photo.width * scale)), max(1, round(photo.height * scale)))
    return photo.resize(size, Image.Resampling.BICUBIC)


def fit_line(line: str, letters: ImageFont.FreeTypeFont, width: int) -> str:
    """The line without so much of its middle that it is at most `width` pixels wide: names differ at their ends."""
    text = " ".join(line.split())
    if letters.getlength(text) <= width:
        return text
    for kept in range(len(text) - 1, 1, -1):
        tail = kept // 2
        shorter = f"{text[: kept - tail]}…{text[len(text) - tail :]}"
        if letters.getlength(shorter) <= width:
            return shorter
    return "…"
