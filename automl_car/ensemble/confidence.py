"""How sure a prediction file is: rows of probabilities (N, C) in; confidences, entropies and class counts out.

None of this needs an answer, so none of it says how good the file is: a wrong and over-confident model looks best.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from automl_car.records import FloatArray, IntArray

CONFIDENT, NEAR_CERTAIN = 0.8, 0.99
MOST_PREDICTED = 10


@dataclass(frozen=True, eq=False)
class Confidence:
    """What one file says, row by row and class by class.

    Attributes:
        name: what reports call the file.
        classes: the names of the C classes, in the order of the columns.
        confidence: (N,), the largest probability of each row.
        entropy: (N,), in nats; 0 for a certain row, log(C) for one that says nothing.
        top: (N,), the index of the class with the largest probability, the first one of equals.
        expected: (C,), the sum of each class's probabilities: how many rows the file expects of it.
    """

    name: str
    classes: tuple[str, ...]
    confidence: FloatArray
    entropy: FloatArray
    top: IntArray
    expected: FloatArray

    @property
    def counts(self) -> IntArray:
        """(C,), how many rows have each class on top."""
        return np.bincount(self.top, minlength=len(self.classes))

    @property
    def effective_classes(self) -> float:
        """exp of the mean entropy: among how many equally likely classes a row leaves one in doubt."""
        return float(np.exp(self.entropy.mean()))

    @property
    def never_predicted(self) -> tuple[str, ...]:
        """The classes that are on top of no row."""
        return tuple(self.classes[index] for index in np.flatnonzero(self.counts == 0))

    @property
    def most_predicted(self) -> tuple[int, ...]:
        """Indices of the ten classes that are on top most often, those with larger expected counts first of equals."""
        order = np.lexsort((-self.expected, -self.counts))
        return tuple(index for index in order[:MOST_PREDICTED].tolist() if self.counts[index])

    def share_above(self, threshold: float) -> float:
        """The share of rows with a larger confidence than this."""
        return float((self.confidence > threshold).mean())


def measure_confidence(name: str, classes: Sequence[str], probabilities: FloatArray) -> Confidence:
    """The numbers of one file.

    Args:
        name: what reports call it.
        classes: names of the columns.
        probabilities: (N, C), rows sum to 1; zeros are allowed.

    Example:
        A certain row, and one that doubts between two classes.

        >>> file = measure_confidence("a", ["x", "y"], np.array([[1.0, 0.0], [0.5, 0.5]]))
        >>> file.entropy.round(4).tolist(), file.expected.tolist(), file.never_predicted
        ([0.0, 0.6931], [1.5, 0.5], ('y',))
    """
    logarithms = np.log(probabilities, out=np.zeros_like(probabilities), where=probabilities > 0)
    entropy: FloatArray = np.maximum(-np.einsum("nc,nc->n", probabilities, logarithms), 0.0)
    return Confidence(
        name,
        tuple(classes),
        confidence=probabilities.max(axis=1),
        entropy=entropy,
        top=probabilities.argmax(axis=1),
        expected=probabilities.sum(axis=0),
    )


@dataclass(frozen=True, eq=False)
class Comparison:
    """How far K files differ.

    Attributes:
        agreement: (K, K), the share of rows in which two files have the same class on top.
        distance: (K, K), the mean total variation distance of two files' rows: half the sum of absolute differences,
            from 0 for equal rows to 1 for rows that share no class.
        row_distance: (N,), of each row the mean distance over all pairs of files.
    """

    agreement: FloatArray
    distance: FloatArray
    row_distance: FloatArray

    def most_disputed(self, most: int) -> IntArray:
        """Indices of the rows in which the files differ most, those first."""
        return np.argsort(-self.row_distance, kind="stable")[:most]


def compare(files: Sequence[FloatArray]) -> Comparison:
    """Compare the probabilities (N, C) of two or more files, pair by pair.

    Example:
        >>> both = compare([np.array([[1.0, 0.0], [0.6, 0.4]]), np.array([[0.0, 1.0], [0.5, 0.5]])])
        >>> both.agreement[0, 1].item(), both.row_distance.round(3).tolist()
        (0.5, [1.0, 0.1])
    """
    tops: list[NDArray[np.int64]] = [values.argmax(axis=1) for values in files]
    agreement, distance = np.eye(len(files)), np.zeros((len(files), len(files)))
    agreement[:] = [[float((one == other).mean()) for other in tops] for one in tops]
    total = np.zeros(len(files[0]))
    for one in range(len(files)):
        for other in range(one + 1, len(files)):
            rows = 0.5 * np.abs(files[one] - files[other]).sum(axis=1)
            distance[one, other] = distance[other, one] = rows.mean()
            total += rows
    return Comparison(agreement, distance, total / (len(files) * (len(files) - 1) / 2))
