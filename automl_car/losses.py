"""Log loss in float64: logits (N, C) and class indices (N,) in; natural-log losses out.

Probabilities are never formed and then logged: a class of probability 1e-400 is 0 in float64, but its
logarithm, -921, is an ordinary number. The log-sum-exp keeps it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from automl_car.records import FloatArray, IntArray

_CHUNK = 1024  # rows whose float64 copies are in memory at a time


def log_loss(logits: NDArray[Any], labels: IntArray, *, temperature: float = 1.0) -> float:
    """The mean natural-log loss of softmax(logits / temperature); lower is better.

    Example:
        Two classes at equal odds cost the logarithm of 2.

        >>> round(log_loss(np.zeros((3, 2)), np.array([0, 1, 1])), 4)
        0.6931
    """
    return float(row_losses(logits, labels, temperature=temperature).mean())


def row_losses(logits: NDArray[Any], labels: IntArray, *, temperature: float = 1.0) -> FloatArray:
    """The natural-log loss of each row, float64 (N,).

    The rows are taken a chunk at a time, so that logits that are mapped into memory may be larger than it.
    """
    losses = np.empty(len(labels))
    for start in range(0, len(labels), _CHUNK):
        part = slice(start, start + _CHUNK)
        losses[part] = -true_class(log_softmax(logits[part], temperature=temperature), labels[part])
    return losses


def log_softmax(logits: NDArray[Any], *, temperature: float = 1.0) -> FloatArray:
    """Log-probabilities of logits / temperature, float64 (N, C); a constant added to a row changes nothing."""
    centred = centre(logits)
    centred /= temperature
    centred -= np.log(np.exp(centred).sum(axis=1, keepdims=True))
    return centred


def centre(logits: NDArray[Any]) -> FloatArray:
    """A float64 copy with each row's largest logit at 0, so that no exponential overflows."""
    values = np.asarray(logits, dtype=np.float64)
    centred: FloatArray = values - values.max(axis=1, keepdims=True)
    return centred


def true_class(values: NDArray[Any], labels: IntArray) -> FloatArray:
    """From each row of (N, C) the value of its own class, (N,)."""
    picked: FloatArray = np.take_along_axis(values, labels[:, None], axis=1)[:, 0]
    return picked


def softmax(centred: FloatArray) -> FloatArray:
    """Probabilities from logits whose row maximum is 0."""
    exponentials: FloatArray = np.exp(centred)
    exponentials /= exponentials.sum(axis=1, keepdims=True)
    return exponentials
