"""Two ways to predict the same photos, compared photo by photo."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from automl_car.ensemble.estimate import standard_error
from automl_car.losses import true_class
from automl_car.records import FloatArray, IntArray


@dataclass(frozen=True)
class Comparison:
    """How a new way does against the usual one.

    Attributes:
        usual, new: log losses.
        standard_error: of their difference, from the differences on each photo.
        rows: photos.
    """

    usual: float
    new: float
    standard_error: float
    rows: int

    @property
    def gain(self) -> float:
        """How much lower the new log loss is."""
        return self.usual - self.new

    @property
    def pays(self) -> bool:
        """Whether the new way is better by more than a standard error."""
        return self.gain > self.standard_error


def compare(usual: FloatArray, new: FloatArray, labels: IntArray) -> Comparison:
    """Compares probabilities (N, C), all above 0, of the same rows.

    Example:
        >>> even, sure = np.full((4, 2), 0.5), np.tile([0.8, 0.2], (4, 1))
        >>> compare(even, sure, np.zeros(4, np.int64)).pays
        True
    """
    before, after = (-np.log(true_class(probabilities, labels)) for probabilities in (usual, new))
    return Comparison(float(before.mean()), float(after.mean()), standard_error(before - after), len(labels))
