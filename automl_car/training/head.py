"""A linear head on features of the frozen backbone, in closed form.

Linear discriminant analysis (Fisher, 1936) with a shrunk covariance within classes (shrinkage as in Friedman, 1989),
softened by a temperature that fits each photo as the discriminant without it sees it (`left_out.py`). Memory does not
grow with the number of rows: they are read a chunk at a time, twice. The first pass sums up the classes, the second one
the covariance of what is left when each row's class mean is taken off; in a single pass the difference of two large
sums would lose the digits that matter. Products of some chunks are summed up in float32, and those sums in float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from automl_car.errors import DivergedError
from automl_car.temperature import PRIOR, fit_temperature
from automl_car.training.left_out import leave_one_out
from automl_car.training.mapped import spill
from automl_car.training.rows import Rows

_JUDGED = 512  # photos that decide the temperature, at most
_BLOCK = 640  # columns that are multiplied at a time
_ROWS_IN_FLOAT32 = 1024  # that are summed up before they go to float64, which takes as long as their products


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


def fit_discriminant(rows: Rows, labels: Tensor, num_classes: int, shrinkage: float) -> Discriminant:
    """Linear discriminant analysis with a temperature.

    Args:
        rows: to fit; each view of a photo counts as a row of its own.
        labels: int64 (n,), on the host.
        num_classes: C; a class without rows gets the mean of all rows.
        shrinkage: share of the covariance that is replaced by a multiple of the identity of the same trace.

    Raises:
        DivergedError: the features are too large or too alike for a discriminant.
    """
    there = labels.to(rows.device)
    sums = _sum_up(rows, there, num_classes)
    means = sums.means
    fitted = _solve(_scatter(rows, there, means.float()), sums, shrinkage)
    temperature = _temperature(rows, there, means.float(), fitted.factor, shrinkage)
    head = LinearHead(fitted.head.weight / temperature, fitted.head.bias / temperature)
    return Discriminant(head, fitted.centre, fitted.factor)


def _temperature(rows: Rows, labels: Tensor, means: Tensor, factor: Tensor, shrinkage: float) -> float:
    """The temperature that fits photos which the discriminant has not seen: each of some is left out."""
    counts = torch.bincount(labels, minlength=len(means))
    some = np.linspace(0, len(rows) - 1, min(len(rows), _JUDGED)).round().astype(np.int64)
    weight = (1 - shrinkage) / (len(rows) * len(rows.views))
    logits, theirs = leave_one_out(rows.only(some), labels[torch.from_numpy(some)], means, counts, factor, weight)
    return fit_temperature(logits, theirs, prior=PRIOR) if len(theirs) else 1.0


def predict(head: LinearHead, rows: Rows, scratch: Path) -> NDArray[np.float32]:
    """Logits float32 (n, C), the mean over the views, in a temporary file that is mapped into memory."""
    return spill(scratch, (head(features) for _, features in rows.means())).numpy()


@dataclass(frozen=True, eq=False)
class _Sums:
    """Of some rows: sums float64 (C, D) of each class, and counts float64 (C, 1); a view of a photo is a row."""

    sums: Tensor
    counts: Tensor

    @property
    def centre(self) -> Tensor:
        """Mean (D,) of all rows."""
        return self.sums.sum(0) / self.counts.sum()

    @property
    def means(self) -> Tensor:
        """Means (C, D) of the classes; of one without rows, that of all rows."""
        return torch.where(self.counts > 0, self.sums / self.counts.clamp(min=1), self.centre)


def _sum_up(rows: Rows, labels: Tensor, num_classes: int) -> _Sums:
    sums = torch.zeros(num_classes, rows.width, dtype=torch.float64, device=rows.device)
    for part, features in rows.by_view():
        sums.index_add_(0, labels[part], features.double())
    counts = torch.bincount(labels, minlength=num_classes)[:, None] * len(rows.views)
    return _Sums(sums, counts.double())


def _scatter(rows: Rows, labels: Tensor, means: Tensor) -> Tensor:
    """Sum of (x - m)(x - m)' over the rows, where m float32 is one of the `means` (C, D).

    Returns:
        float64 (D, D), of which the lower triangle counts: it is symmetric, and half of it is twice as fast.
    """
    width, device = rows.width, rows.device
    total = torch.zeros(width, width, dtype=torch.float64, device=device)
    some, waiting = torch.zeros(width, width, device=device), 0
    for part, features in rows.by_view():
        features -= means[labels[part]]
        for start in range(0, width, _BLOCK):
            block = slice(start, start + _BLOCK)
            some[start:, block].addmm_(features[:, start:].T, features[:, block])
        waiting += len(features)
        if waiting >= _ROWS_IN_FLOAT32:
            total += some
            some.zero_()
            waiting = 0
    return total.add_(some)


def _solve(scatter: Tensor, sums: _Sums, shrinkage: float) -> Discriminant:
    """The discriminant of rows with these sums and this scatter within classes, without a temperature.

    Args:
        scatter: see `_scatter`; it is overwritten.
    """
    means = sums.means
    covariance = scatter.div_(sums.counts.sum())
    scale = covariance.diagonal().mean().clamp(min=1e-12)
    covariance.mul_(1 - shrinkage).diagonal().add_(shrinkage * scale + 1e-6 * scale)
    factor = _cholesky(covariance)
    # weight = S^-1 m, bias = -m' S^-1 m / 2, with S = factor @ factor.T
    weight = torch.cholesky_solve(means.T, factor).T  # (C, D)
    bias = -0.5 * (weight * means).sum(1)
    return Discriminant(LinearHead(weight.float(), bias.float()), sums.centre.float(), factor.float())


def _cholesky(covariance: Tensor) -> Tensor:
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if int(failed) or not bool(torch.isfinite(factor.diagonal()).all()):  # what is not finite gets there
        raise DivergedError("The covariance of the features within classes cannot be factored: it is not finite.")
    return factor  # type: ignore[no-any-return]
