"""Plots as PNG files, by matplotlib's object API: pyplot would keep every figure, and look for a screen."""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING

import numpy as np

from automl_car.ensemble.reliability import BINS, Reliability

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BAR, _LINE, _FAINT = "#4878a8", "#c44e52", "#888888"
_DPI = 110


def quiet_matplotlib() -> None:
    """Keep matplotlib's log from stderr: it tells of its caches, where a home folder cannot be written or is new."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)


def reliability_plot(before: Reliability, after: Reliability) -> bytes:
    """Two reliability diagrams side by side, each with the photos of its bins below it; a PNG."""
    quiet_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 5.6), layout="constrained")
    axes = figure.subplots(2, 2, sharex=True, sharey="row", height_ratios=(3, 1))
    for column, (title, found) in enumerate((("before calibration", before), ("after calibration", after))):
        _diagram(axes[0, column], found, f"{title}: ECE {found.calibration_error:.4f}")
        _counts(axes[1, column], found)
    axes[0, 0].set_ylabel("share that was right")
    axes[1, 0].set_ylabel("photos")
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False)
    return as_png(figure)


def as_png(figure: Figure, *, whole: bool = False) -> bytes:
    """The figure as a PNG file, without a screen.

    Args:
        whole: whether the file grows by what lies outside of the figure's frame.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    data = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(data, format="png", dpi=_DPI, bbox_inches="tight" if whole else None)
    return data.getvalue()


def _diagram(axes: Axes, found: Reliability, title: str) -> None:
    filled = np.flatnonzero(found.rows)
    axes.bar(filled / BINS, found.accuracy[filled], 1 / BINS, align="edge", color=_BAR, edgecolor="white")
    axes.plot([0, 1], [0, 1], color=_FAINT, linestyle="--", linewidth=1, label="as it should be")
    means = found.confidence[filled], found.accuracy[filled]
    axes.plot(*means, "o-", color=_LINE, markersize=4, linewidth=1, label="mean of each bin")
    axes.set(title=title, xlim=(0, 1), ylim=(0, 1.02))


def _counts(axes: Axes, found: Reliability) -> None:
    filled = np.flatnonzero(found.rows)
    bars = axes.bar(filled / BINS, found.rows[filled], 1 / BINS, align="edge", color=_FAINT, edgecolor="white")
    axes.bar_label(bars, fontsize="xx-small", padding=1)
    axes.set_xlabel("highest probability")
    axes.margins(y=0.2)
