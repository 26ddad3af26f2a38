"""Whether probabilities mean what they say: of the photos that got 0.8, eight in ten should be right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from automl_car.records import FloatArray, IntArray

BINS = 15


@dataclass(frozen=True)
class Bin:
    """Photos whose highest probability is above `low` and at most `high`.

    Attributes:
        photos: how many, at least 1.
        confidence: mean of their highest probability.
        accuracy: share of them whose class got it.
    """

    low: float
    high: float
    photos: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Reliability:
    """A reliability diagram: the bins that hold photos, ascending, and the expected calibration error (ECE)."""

    bins: tuple[Bin, ...]
    error: float


def reliability(probabilities: FloatArray, labels: IntArray) -> Reliability:
    """Compare probabilities with what came true, in 15 bins of equal width (Guo et al. 2017, 1706.04599, equation 3).

    Args:
        probabilities: (N, C), rows sum to 1.
        labels: class indices (N,).
    """
    tops = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    places = np.clip(np.ceil(tops * BINS) - 1, 0, BINS - 1).astype(np.int64)
    bins = tuple(_bin(place, tops[places == place], right[places == place]) for place in np.unique(places).tolist())
    gaps = sum(found.photos * abs(found.accuracy - found.confidence) for found in bins)
    return Reliability(bins, gaps / len(labels))


def _bin(place: int, tops: FloatArray, right: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Bin:
    return Bin(place / BINS, (place + 1) / BINS, len(tops), float(tops.mean()), float(right.mean()))
