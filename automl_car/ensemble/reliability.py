"""Whether a file is right as often as it is sure: confidences and hits (N,) in; the reliability diagram and ECE out.

Guo et al. 2017, On Calibration of Modern Neural Networks (arXiv 1706.04599), section 2: rows are put into 15 bins of
equal width by their confidence; the expected calibration error is the mean gap between the accuracy and the mean
confidence of a bin, weighted by its rows (equation 3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from automl_car.records import FloatArray, IntArray

BINS = 15


@dataclass(frozen=True, eq=False)
class Reliability:
    """The diagram of one file.

    Attributes:
        rows: (15,), how many rows have a confidence in ((m - 1) / 15, m / 15].
        confidence: (15,), their mean confidence; 0 in an empty bin.
        accuracy: (15,), the share of them that are right; 0 in an empty bin.
    """

    rows: IntArray
    confidence: FloatArray
    accuracy: FloatArray

    @property
    def calibration_error(self) -> float:
        """ECE, from 0 to 1; lower is better."""
        return float((self.rows * np.abs(self.accuracy - self.confidence)).sum() / self.rows.sum())


def measure_reliability(confidence: FloatArray, hits: NDArray[np.bool_]) -> Reliability:
    """The diagram of these rows.

    Args:
        confidence: (N,), the probability of the top class, above 0.
        hits: (N,), whether that class is the right one.

    Example:
        Four rows at 0.9, of which three are right: the gap is 0.15.

        >>> file = measure_reliability(np.full(4, 0.9), np.array([True, True, True, False]))
        >>> round(file.calibration_error, 6)
        0.15
    """
    bins = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    rows = np.bincount(bins, minlength=BINS)
    filled = np.maximum(rows, 1)
    return Reliability(
        rows,
        np.bincount(bins, weights=confidence, minlength=BINS) / filled,
        np.bincount(bins, weights=hits.astype(np.float64), minlength=BINS) / filled,
    )
