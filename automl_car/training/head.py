"""Trains a linear head on features of the frozen backbone: seconds a fold.

Features are raised to a power (for features that are not negative, the square root is the Hellinger map of Arandjelovic
& Zisserman, 2012), whitened by the shrunk covariance within classes, and the head starts at the solution of linear
discriminant analysis (Fisher, 1936; shrinkage as in Friedman, 1989), softened by a temperature that fits held-out rows.
AdamW then takes it from there, one epoch at a time, with a cosine schedule.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from automl_car.temperature import fit_temperature

_HOLDOUT = 5  # one row in so many decides the temperature of the start


@dataclass(frozen=True, eq=False)
class LinearHead:
    """logits = power(features) @ weight.T + bias, with weight float32 (C, D) and bias float32 (C,)."""

    weight: Tensor
    bias: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """Features (..., D), already raised to the power, to logits (..., C)."""
        return features @ self.weight.T + self.bias


def raise_to(features: Tensor, power: float) -> Tensor:
    """sign(x) |x| ** power, element by element."""
    return features if power == 1.0 else features.sign() * features.abs().pow(power)


def fit_discriminant(features: Tensor, labels: Tensor, num_classes: int, shrinkage: float) -> LinearHead:
    """Linear discriminant analysis with a temperature, in closed form.

    Args:
        features: float32 (V, n, D): V views of each row.
        labels: int64 (n,).
        num_classes: C; a class without rows gets the mean of all rows.
        shrinkage: share of the covariance that is replaced by a multiple of the identity of the same trace.
    """
    held_out = torch.arange(len(labels)) % _HOLDOUT == 0
    trial = _discriminant(features[:, ~held_out], labels[~held_out], num_classes, shrinkage)
    logits = trial(features[:, held_out]).mean(0)  # (V, n, C) -> (n, C)
    temperature = fit_temperature(logits.double().cpu().numpy(), labels[held_out].cpu().numpy())
    head = _discriminant(features, labels, num_classes, shrinkage)
    return LinearHead(head.weight / temperature, head.bias / temperature)


def _discriminant(features: Tensor, labels: Tensor, num_classes: int, shrinkage: float) -> LinearHead:
    means, factor = _class_means_and_factor(features, labels, num_classes, shrinkage)
    # weight = S^-1 m, bias = -m' S^-1 m / 2, with S = factor @ factor.T
    weight = torch.cholesky_solve(means.T, factor).T  # (C, D)
    bias = -0.5 * (weight * means).sum(1)
    return LinearHead(weight.float(), bias.float())


def _class_means_and_factor(
    features: Tensor, labels: Tensor, num_classes: int, shrinkage: float
) -> tuple[Tensor, Tensor]:
    """Class means float64 (C, D) and the Cholesky factor float64 (D, D) of the shrunk covariance within classes."""
    views, rows, width = features.shape
    flat = features.reshape(views * rows, width)
    index = labels.repeat(views)
    sums = torch.zeros(num_classes, width, dtype=flat.dtype, device=flat.device).index_add_(0, index, flat)
    counts = torch.bincount(index, minlength=num_classes)
    means = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], flat.mean(0))
    centred = flat - means[index]
    covariance = (centred.T @ centred).double() / len(flat)
    scale = covariance.diagonal().mean().clamp(min=1e-12)
    covariance.mul_(1 - shrinkage).diagonal().add_(shrinkage * scale + 1e-6 * scale)
    return means.double(), torch.linalg.cholesky(covariance)


def train_head(
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    *,
    shrinkage: float,
    learning_rate: float,
    epochs: int,
    batch_size: int,
    seed: int,
) -> Generator[tuple[float, LinearHead], None, None]:
    """Yield (mean training loss, head) at the start and after each epoch.

    Args:
        features: float32 (V, n, D), already raised to the power.
        labels: int64 (n,).
        num_classes: C.
        shrinkage: of the covariance, in [0, 1].
        learning_rate: of AdamW at the first step, in whitened coordinates.
        epochs, batch_size: of the schedule; a batch is of views, so an epoch sees V n of them.
        seed: of the order.
    """
    start = fit_discriminant(features, labels, num_classes, shrinkage)
    yield float(F.cross_entropy(start(features).mean(0), labels)), start
    _, factor = _class_means_and_factor(features, labels, num_classes, shrinkage)
    factor = factor.float()
    views, rows, width = features.shape
    flat, targets = features.reshape(views * rows, width), labels.repeat(views)
    centre = flat.mean(0)
    whitened = torch.linalg.solve_triangular(factor, (flat - centre).T, upper=False).T.contiguous()  # (V n, D)
    # In coordinates z = L^-1 (x - centre), the head x -> W x + b reads z -> (W L) z + (b + W centre).
    weight = (start.weight @ factor).requires_grad_()
    bias = (start.bias + start.weight @ centre).requires_grad_()
    optimizer = torch.optim.AdamW([weight, bias], lr=learning_rate, weight_decay=0.0)
    batch_size = min(batch_size, len(flat))
    steps = len(flat) // batch_size
    for epoch in range(epochs):
        order = torch.from_numpy(np.random.default_rng([seed, epoch]).permutation(len(flat))).to(flat.device)
        total = 0.0
        for step in range(steps):
            chosen = order[step * batch_size : (step + 1) * batch_size]
            progress = (epoch * steps + step) / (epochs * steps)
            optimizer.param_groups[0]["lr"] = learning_rate * 0.5 * (1 + math.cos(math.pi * progress))
            loss = F.cross_entropy(whitened[chosen] @ weight.T + bias, targets[chosen])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += loss.item()
        yield total / steps, _unwhiten(weight.detach(), bias.detach(), factor, centre)


def _unwhiten(weight: Tensor, bias: Tensor, factor: Tensor, centre: Tensor) -> LinearHead:
    plain = torch.linalg.solve_triangular(factor, weight, upper=False, left=False)  # W L^-1, (C, D)
    return LinearHead(plain, bias - plain @ centre)
