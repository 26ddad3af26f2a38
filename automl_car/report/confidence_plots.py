"""What prediction files say, as PNG pictures; drawn without a display and without pyplot's global state."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from automl_car.ensemble.confidence import CONFIDENT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from automl_car.ensemble.analysis import Analysis
    from automl_car.ensemble.confidence import Comparison, Confidence
    from automl_car.records import FloatArray

_HISTOGRAM_BINS = 40
_FONT = "DejaVu Sans"  # comes with matplotlib, and has no Korean letters
_KOREAN_FONTS = ("Noto Sans CJK KR", "Noto Sans KR", "NanumGothic", "Malgun Gothic", "Apple SD Gothic Neo", "UnDotum")


def draw(analysis: Analysis) -> dict[str, bytes]:
    """The pictures of an analysis, by the name of their file.

    confidence.png and entropy.png are histograms of all files, classes.png the number of rows of each class, the most
    frequent first; agreement.png is there for several files, reliability.png where labels are known.
    """
    with _quietly() as fonts:
        labels = [_label(number, file.name, fonts) for number, file in enumerate(analysis.files, 1)]
        pictures = {
            "confidence.png": _draw_confidence(analysis.files, labels),
            "entropy.png": _draw_entropy(analysis.files, labels),
            "classes.png": _draw_classes(analysis.files, labels),
        }
        if analysis.comparison is not None:
            pictures["agreement.png"] = _draw_agreement(analysis.comparison, labels)
        if analysis.judged:
            pictures["reliability.png"] = _draw_reliability(analysis, labels)
    return pictures


@contextmanager
def _quietly() -> Iterator[tuple[str, ...]]:
    """Matplotlib with its own defaults, whatever this machine's settings are, and without a word; gives the fonts."""
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it tells of the font cache that it makes when it is first used
    try:
        import matplotlib
        from matplotlib.font_manager import fontManager

        here = {font.name for font in fontManager.ttflist}
        fonts = (_FONT, *(name for name in _KOREAN_FONTS if name in here))
        with warnings.catch_warnings(), matplotlib.rc_context():
            warnings.filterwarnings("ignore", message="Glyph .* missing from")
            matplotlib.rcdefaults()
            matplotlib.rcParams["font.family"] = list(fonts)
            yield fonts
    finally:
        logger.setLevel(level)


def _label(number: int, name: str, fonts: Sequence[str]) -> str:
    """What a picture calls a file: its name, or its number where no font here has the letters."""
    if not name.isascii() and len(fonts) == 1:
        return f"file {number}"
    shown = name if len(name) <= 40 else f"{name[:39]}…"
    return (" " + shown if shown.startswith("_") else shown).replace(
        "$", r"\$"
    )  # `_` hides a label, `$` is mathematics


# ---- the pictures ---------------------------------------------------------------------------------------------------


def _draw_confidence(files: Sequence[Confidence], labels: Sequence[str]) -> bytes:
    figure, axes = _new_figure(
        "How sure the files are", "confidence: the largest probability of a row", "share of rows"
    )
    _draw_histograms(axes, [file.confidence for file in files], labels, upper=1.0)
    axes.axvline(CONFIDENT, color="grey", linestyle=":", linewidth=1)
    return _finish(figure, axes)


def _draw_entropy(files: Sequence[Confidence], labels: Sequence[str]) -> bytes:
    figure, axes = _new_figure("How much the files leave open", "entropy of a row, nats", "share of rows")
    upper = max(float(np.log(len(files[0].classes))), 1e-9)
    _draw_histograms(axes, [file.entropy for file in files], labels, upper=upper)
    return _finish(figure, axes)


def _draw_histograms(axes: Axes, values: Sequence[FloatArray], labels: Sequence[str], *, upper: float) -> None:
    edges = np.linspace(0.0, upper, _HISTOGRAM_BINS + 1)
    for one, label in zip(values, labels, strict=True):
        shares = np.histogram(np.clip(one, 0.0, upper), bins=edges)[0] / len(one)
        axes.stairs(shares, edges, label=label, linewidth=1.5)
    axes.set_xlim(0.0, upper)


def _draw_classes(files: Sequence[Confidence], labels: Sequence[str]) -> bytes:
    figure, axes = _new_figure("Rows of each class", "classes, the most frequent first", "rows (dashed: expected)")
    ranks = np.arange(1, len(files[0].classes) + 1)
    for file, label in zip(files, labels, strict=True):
        (line,) = axes.plot(ranks, np.sort(file.counts)[::-1], label=label, linewidth=1.5)
        axes.plot(ranks, np.sort(file.expected)[::-1], "--", color=line.get_color(), linewidth=1)
    axes.set_ylim(bottom=0)
    return _finish(figure, axes)


def _draw_agreement(comparison: Comparison, labels: Sequence[str]) -> bytes:
    side = max(4.8, 1.5 + 0.7 * len(labels))
    figure, axes = _new_figure("Share of rows with the same class on top", "", "", size=(side + 1.2, side))
    image = axes.imshow(comparison.agreement, vmin=0.0, vmax=1.0, cmap="viridis")
    axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right")
    axes.set_yticks(range(len(labels)), labels)
    for row, values in enumerate(comparison.agreement.tolist()):
        for column, value in enumerate(values):
            colour = "white" if value < 0.6 else "black"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour)
    figure.colorbar(image, ax=axes)
    return _png(figure)


def _draw_reliability(analysis: Analysis, labels: Sequence[str]) -> bytes:
    title = "Reliability: right as often as sure?"
    figure, axes = _new_figure(
        title, "mean confidence of a bin (area: its rows)", "accuracy of the bin", size=(6.4, 6.0)
    )
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":", linewidth=1)
    for judged, label in zip(analysis.judged, labels, strict=True):
        file = judged.reliability
        filled = file.rows > 0
        points = (file.confidence[filled], file.accuracy[filled])
        (line,) = axes.plot(*points, linewidth=1, label=f"{label}: error {file.calibration_error:.3f}")
        shares = file.rows[filled] / file.rows.sum()
        axes.scatter(
            *points, s=4 + 300 * shares, color=line.get_color(), clip_on=False
        )  # a bin of three rows is no evidence
    axes.set_xlim(0.0, 1.0)
    axes.set_ylim(0.0, 1.02)
    return _finish(figure, axes)


# ---- their frame ----------------------------------------------------------------------------------------------------


def _new_figure(title: str, x: str, y: str, *, size: tuple[float, float] = (8.0, 4.8)) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=120, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return figure, axes


def _finish(figure: Figure, axes: Axes) -> bytes:
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return _png(figure)


def _png(figure: Figure) -> bytes:
    options: dict[str, Any] = {"metadata": {"Software": None}}  # the same picture from the same numbers
    picture = io.BytesIO()
    figure.savefig(picture, format="png", **options)
    return picture.getvalue()
