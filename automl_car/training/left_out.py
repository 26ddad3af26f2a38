"""What a linear discriminant says of photos that it learned from, had it not seen each: without fitting it anew.

Let Z be the V rows of a photo, around the mean of their class of n photos. Without them the scatter within classes is
less by Z' (I + J / (V (n - 1))) Z, where J is all ones, and the mean of that class moves. With a of the scatter in the
shrunk covariance S, the inverse of S without the photo is, by Woodbury's formula and in coordinates in which S is the
identity, I + a Z' K^-1 Z, where K = I - J / (V n) - a Z Z' has V rows. The scale of the shrinkage stays as it is: one
photo does not change it.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from automl_car.records import IntArray
from automl_car.training.rows import Rows

_LEAST = 1e-5  # that is left of a direction, in float32: with hardly any shrinkage a photo may be all that there is


def leave_one_out(
    rows: Rows, labels: Tensor, means: Tensor, counts: Tensor, factor: Tensor, share: float
) -> tuple[NDArray[np.float32], IntArray]:
    """Logits of photos, each by the discriminant without it.

    Args:
        rows: n photos with V views each, as they were fitted or some of them.
        labels: int64 (n,).
        means: float32 (C, D) of the classes.
        counts: int64 (C,), photos of each class that were fitted.
        factor: float32 (D, D), lower triangular: factor @ factor.T is S.
        share: a, of the square of each row in S.

    Returns:
        Logits float32 (m, C) for the mean of the views and labels int64 (m,), in order, of those photos that are not
        alone in their class.
    """
    white = torch.linalg.solve_triangular(factor, (means - means.mean(0)).T, upper=False).T  # (C, D)
    between = torch.cdist(white.double(), white.double()).square().float()
    logits, judged = [], []
    for part, views in rows.together():
        label = labels[part]
        known = counts[label] > 1
        label = label[known]
        apart = _whiten(views[:, known] - means[label], factor)
        logits.append(-0.5 * _distances(apart, label, white, between, counts[label], share))
        judged.append(label)
    return torch.cat(logits).cpu().numpy(), torch.cat(judged).cpu().numpy()


def _whiten(features: Tensor, factor: Tensor) -> Tensor:
    flat: Tensor = torch.linalg.solve_triangular(factor, features.flatten(0, 1).T, upper=False).T
    return flat.reshape(features.shape)


def _distances(apart: Tensor, label: Tensor, white: Tensor, between: Tensor, count: Tensor, share: float) -> Tensor:
    """Squared distances float32 (b, C) from photos to the means of the classes, in what S is without each photo.

    Args:
        apart: (V, b, D), whitened, from their class's mean.
        label: (b,).
        white: (C, D), whitened means.
        between: (C, C), their squared distances.
        count: (b,), photos of each one's class.
    """
    photos = torch.arange(len(label), device=label.device)
    along_means = (apart.flatten(0, 1) @ white.T).view(*apart.shape[:2], len(white)).transpose(0, 1)  # (b, V, C)
    own = along_means[photos, :, label]  # (b, V)
    gram = apart.transpose(0, 1) @ apart.permute(1, 2, 0)  # (b, V, V)
    # Of the way from each mean to the photo, which is the mean of its views: its square, and its products with Z.
    square: Tensor = gram.mean((1, 2))[:, None] + 2 * (own[:, :, None] - along_means).mean(1) + between[label]
    along = gram.mean(2, keepdim=True) + own[:, :, None] - along_means
    farther = count / (count - 1)  # from its own class's mean, in which it is not any more
    square[photos, label] *= farther.square()
    along[photos, :, label] *= farther[:, None]
    views = len(apart)
    core = torch.eye(views, device=label.device) - 1 / (views * count[:, None, None]) - share * gram
    values, vectors = torch.linalg.eigh(core.double())
    turned = vectors.float().transpose(1, 2) @ along
    square += share * (turned.square() / values.float().clamp(min=_LEAST)[:, :, None]).sum(1)
    return square
