"""Takes a linear head on from the discriminant by gradient descent: seconds a fold.

Rows are whitened by the covariance within classes, in which a step of AdamW (Loshchilov & Hutter, 2017,
arXiv:1711.05101) is as long in every direction that matters, and the rate falls along a cosine. The whitened rows of
all views lie in a temporary file, from which each batch is gathered, so that memory does not grow with their number;
half precision is enough for them.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from automl_car.training.head import Discriminant, LinearHead, fit_discriminant
from automl_car.training.mapped import spill
from automl_car.training.rows import Rows


def train_head(
    rows: Rows,
    labels: Tensor,
    num_classes: int,
    *,
    shrinkage: float,
    learning_rate: float,
    epochs: int,
    batch_size: int,
    seed: int,
    scratch: Path,
) -> Generator[tuple[float, LinearHead], None, None]:
    """Yield (mean training loss, head) at the start and after each epoch.

    Args:
        rows: to train on.
        labels: int64 (n,), on the host.
        num_classes: C.
        shrinkage: of the covariance, in [0, 1].
        learning_rate: of AdamW at the first step, in whitened coordinates.
        epochs, batch_size: of the schedule; a batch is of views, so an epoch sees V n of them.
        seed: of the order.
        scratch: folder for temporary files, of 2 V n D bytes.
    """
    start = fit_discriminant(rows, labels, num_classes, shrinkage)
    yield _mean_loss(start.head, rows, labels), start.head
    whitened = spill(scratch, _whiten(rows, start))  # (V n, D), the views one below the other
    # In coordinates z = L^-1 (x - centre), the head x -> W x + b reads z -> (W L) z + (b + W centre).
    weight = (start.head.weight @ start.factor).requires_grad_()
    bias = (start.head.bias + start.head.weight @ start.centre).requires_grad_()
    optimizer = torch.optim.AdamW([weight, bias], lr=learning_rate, weight_decay=0.0)
    batch_size = min(batch_size, len(whitened))
    steps = len(whitened) // batch_size
    for epoch in range(epochs):
        order = torch.from_numpy(np.random.default_rng([seed, epoch]).permutation(len(whitened)))
        total = 0.0
        for step in range(steps):
            chosen = order[step * batch_size : (step + 1) * batch_size]
            progress = (epoch * steps + step) / (epochs * steps)
            optimizer.param_groups[0]["lr"] = learning_rate * 0.5 * (1 + math.cos(math.pi * progress))
            targets = labels[chosen % len(rows)].to(rows.device)
            loss = F.cross_entropy(whitened[chosen].to(rows.device).float() @ weight.T + bias, targets)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += loss.item()
        yield total / steps, _unwhiten(weight.detach(), bias.detach(), start)


def _mean_loss(head: LinearHead, rows: Rows, labels: Tensor) -> float:
    total = 0.0
    for part, features in rows.means():
        total += float(F.cross_entropy(head(features), labels[part].to(rows.device), reduction="sum"))
    return total / len(rows)


def _whiten(rows: Rows, start: Discriminant) -> Iterator[Tensor]:
    """Chunks float16 (b, D) in coordinates in which the covariance within classes is the identity."""
    for _, features in rows.by_view():
        features -= start.centre
        yield torch.linalg.solve_triangular(start.factor, features.T, upper=False).T.half()


def _unwhiten(weight: Tensor, bias: Tensor, start: Discriminant) -> LinearHead:
    plain = torch.linalg.solve_triangular(start.factor, weight, upper=False, left=False)  # W L^-1, (C, D)
    return LinearHead(plain, bias - plain @ start.centre)
