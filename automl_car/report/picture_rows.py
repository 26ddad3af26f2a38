"""A sheet of what an augmentation does: a row for each photo, the photo itself first."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from automl_car.report.sheet import fit_line

TILE = 176  # pixels a side
_GAP, _MARGIN, _TITLE, _HEAD = 6, 16, 22, 22  # pixels; the heights of the title and of the line above the columns
_PAPER, _FRAME, _INK, _FAINT = "white", (238, 238, 238), (20, 20, 20), (110, 110, 110)
Picture = NDArray[np.uint8]


def picture_rows(
    title: str, photos: Sequence[Picture], made: Sequence[Sequence[Picture]], font: Path, *, columns: Sequence[str]
) -> bytes:
    """A JPEG.

    Args:
        title: stands above.
        photos: uint8 (H, W, 3); each is shown whole.
        made: of each photo, as many pictures as `columns` has names after the first.
        columns: names of the columns, that of the photo first.
    """
    step = TILE + _GAP
    width = 2 * _MARGIN + len(columns) * step - _GAP
    top = _MARGIN + _TITLE + _HEAD
    sheet = Image.new("RGB", (width, top + len(photos) * step - _GAP + _MARGIN), _PAPER)
    pen, letters = ImageDraw.Draw(sheet), ImageFont.truetype(str(font), 14)
    pen.text((_MARGIN, _MARGIN - 4), fit_line(title, letters, width - 2 * _MARGIN), fill=_INK, font=letters)
    for number, name in enumerate(columns):
        pen.text((_MARGIN + number * step, top - _HEAD), name, fill=_FAINT, font=letters)
    for row, (photo, pictures) in enumerate(zip(photos, made, strict=True)):
        for column, picture in enumerate((photo, *pictures)):
            _paste(sheet, (_MARGIN + column * step, top + row * step), picture)
    data = io.BytesIO()
    sheet.save(data, "JPEG", quality=90)
    return data.getvalue()


def _paste(sheet: Image.Image, corner: tuple[int, int], pixels: Picture) -> None:
    """The whole picture in a square frame, its shape kept."""
    left, top = corner
    ImageDraw.Draw(sheet).rectangle((left, top, left + TILE - 1, top + TILE - 1), fill=_FRAME)
    picture = Image.fromarray(pixels)
    scale = TILE / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    shown = picture.resize(size, Image.Resampling.BICUBIC)
    sheet.paste(shown, (left + (TILE - shown.width) // 2, top + (TILE - shown.height) // 2))
