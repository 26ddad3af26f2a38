"""A linear head on features of the frozen backbone, in closed form.

Linear discriminant analysis (Fisher, 1936) with a shrunk covariance within classes (shrinkage as in Friedman, 1989),
softened by a temperature that fits held-out rows. Memory does not grow with the number of rows: they are read a chunk
at a time, twice. The first pass sums up the classes, the second one the covariance of what is left when each row's
class mean is taken off; in a single pass the difference of two large sums would lose the digits that matter. Products
of a chunk are float32, sums over chunks float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from automl_car.errors import DivergedError
from automl_car.temperature import fit_temperature
from automl_car.training.mapped import spill
from automl_car.training.rows import Rows

_HOLDOUT = 5  # one row in so many decides the temperature


@dataclass(frozen=True, eq=False)
class LinearHead:
    """logits = features @ weight.T + bias, with weight float32 (C, D) and bias float32 (C,)."""

    weight: Tensor
    bias: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """Features (..., D), already raised to the power, to logits (..., C)."""
        return features @ self.weight.T + self.bias


@dataclass(frozen=True, eq=False)
class Discriminant:
    """A fitted head, and the coordinates in which the classes are round.

    Attributes:
        head: with the temperature in it.
        centre: float32 (D,): mean of all rows.
        factor: float32 (D, D), lower triangular: factor @ factor.T is the shrunk covariance within classes.
    """

    head: LinearHead
    centre: Tensor
    factor: Tensor


def fit_discriminant(rows: Rows, labels: Tensor, num_classes: int, shrinkage: float, *, scratch: Path) -> Discriminant:
    """Linear discriminant analysis with a temperature.

    Args:
        rows: to fit; each view of a photo counts as a row of its own.
        labels: int64 (n,), on the host.
        num_classes: C; a class without rows gets the mean of all rows.
        shrinkage: share of the covariance that is replaced by a multiple of the identity of the same trace.
        scratch: folder for a temporary file of logits.

    Raises:
        DivergedError: the features are too large or too alike for a discriminant.
    """
    held_out = np.arange(len(rows)) % _HOLDOUT == 0
    trial = _fit(rows.only(~held_out), labels[~held_out], num_classes, shrinkage)
    logits = predict(trial.head, rows.only(held_out), scratch)
    temperature = fit_temperature(logits, labels[held_out].numpy())
    fitted = _fit(rows, labels, num_classes, shrinkage)
    head = LinearHead(fitted.head.weight / temperature, fitted.head.bias / temperature)
    return Discriminant(head, fitted.centre, fitted.factor)


def predict(head: LinearHead, rows: Rows, scratch: Path) -> NDArray[np.float32]:
    """Logits float32 (n, C), the mean over the views, in a temporary file that is mapped into memory."""
    return spill(scratch, (head(features) for _, features in rows.means())).numpy()


def _fit(rows: Rows, labels: Tensor, num_classes: int, shrinkage: float) -> Discriminant:
    """Without a temperature."""
    labels = labels.to(rows.device)
    means, centre = _class_means(rows, labels, num_classes)
    covariance = _covariance(rows, labels, means)
    scale = covariance.diagonal().mean().clamp(min=1e-12)
    covariance.mul_(1 - shrinkage).diagonal().add_(shrinkage * scale + 1e-6 * scale)
    factor = _cholesky(covariance)
    # weight = S^-1 m, bias = -m' S^-1 m / 2, with S = factor @ factor.T
    weight = torch.cholesky_solve(means.T, factor).T  # (C, D)
    bias = -0.5 * (weight * means).sum(1)
    return Discriminant(LinearHead(weight.float(), bias.float()), centre.float(), factor.float())


def _cholesky(covariance: Tensor) -> Tensor:
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if int(failed) or not bool(torch.isfinite(factor).all()):
        raise DivergedError("The covariance of the features within classes cannot be factored: it is not finite.")
    return factor  # type: ignore[no-any-return]


def _class_means(rows: Rows, labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Means float64 (C, D) of the classes and (D,) of all rows."""
    sums = torch.zeros(num_classes, rows.width, dtype=torch.float64, device=rows.device)
    for part, features in rows.by_view():
        sums.index_add_(0, labels[part], features.double())
    counts = torch.bincount(labels, minlength=num_classes)[:, None] * len(rows.views)
    centre = sums.sum(0) / counts.sum()
    return torch.where(counts > 0, sums / counts.clamp(min=1), centre), centre


def _covariance(rows: Rows, labels: Tensor, means: Tensor) -> Tensor:
    """Within classes, float64 (D, D)."""
    total = torch.zeros(rows.width, rows.width, dtype=torch.float64, device=rows.device)
    near = means.float()
    for part, features in rows.by_view():
        features -= near[labels[part]]
        total += features.T @ features
    return total.div_(len(rows) * len(rows.views))
