"""Small pictures of one trial: how it learnt, how sure it is, what it takes for what, and its worst photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from automl_car.data.images import read_image
from automl_car.ensemble.reliability import Reliability
from automl_car.errors import DataError
from automl_car.report.fonts import Lettering
from automl_car.report.losses import Answers, Confusion, confusions, hard_photos
from automl_car.report.plots import as_png, quiet_matplotlib, reliability_plot
from automl_car.report.sheet import PHOTO, Tile, contact_sheet
from automl_car.report.story import Curves
from automl_car.report.story_plots import curves_plot

_PAIRS, _PHOTOS = 10, 10
_BAR = "#4878a8"


def trial_pictures(
    curves: Curves, answers: Answers, before: Reliability, after: Reliability, root: Path, lettering: Lettering
) -> dict[str, bytes]:
    """Files by name; those that there is nothing to show for are left out.

    Args:
        curves: of the trial's folds.
        answers: what the trial said of each training photo, out of fold.
        before, after: of its probabilities, before and after the temperature of each fold.
        root: the data folder.
        lettering: of the class names.
    """
    names = dict(zip(answers.class_names, lettering.names, strict=True))
    pictures = {"reliability.png": reliability_plot(before, after)}
    if any(len(losses) > 1 for losses in curves.by_fold.values()):
        pictures["learning_curves.png"] = curves_plot([curves])
    pairs = confusions(answers)[:_PAIRS]
    if pairs:
        pictures["confusions.png"] = _confusions_plot(pairs, names, lettering.font)
    tiles = [
        Tile(_photo(root / photo.path), (f"given: {names[photo.label]}", f"guess: {names[photo.guess]}"))
        for photo in hard_photos(answers)[:_PHOTOS]
    ]
    pictures["worst_photos.jpg"] = contact_sheet(tiles, lettering.font)
    return pictures


def _confusions_plot(pairs: Sequence[Confusion], names: Mapping[str, str], font: Path) -> bytes:
    """A bar for each pair: the share of the loss of all photos that it makes; a PNG."""
    quiet_matplotlib()
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties

    figure = Figure(figsize=(8.0, 0.8 + 0.36 * len(pairs)), layout="constrained")
    axes = figure.subplots()
    labels = [f"{names[pair.label]} → {names[pair.guess]}" for pair in pairs]
    bars = axes.barh(range(len(pairs)), [100 * pair.share for pair in pairs], color=_BAR)
    axes.bar_label(bars, [f"{pair.photos} photos" for pair in pairs], fontsize="x-small", padding=3)
    axes.set_yticks(range(len(pairs)), [label.replace("$", r"\$") for label in labels])
    for text in axes.get_yticklabels():
        text.set_fontproperties(FontProperties(fname=str(font), size=9))
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_xlabel("% of the loss of all photos")
    return as_png(figure)


def _photo(path: Path) -> NDArray[np.uint8] | None:
    try:
        return read_image(path, short_side=PHOTO[1])
    except DataError:  # its tile says that it cannot be read
        return None
