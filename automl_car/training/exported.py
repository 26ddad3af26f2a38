"""A bundle as one network of tensors alone, photos in and probabilities out: what `export` writes as ONNX.

torch's antialiased resize has no counterpart in ONNX. But it is linear in each direction, so here it is two matrix
products whose weights are made in the graph from the size of the photos.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from automl_car.training.predictor import Predictor, answers
from automl_car.training.squares import Square

_KEYS = -0.5  # Keys, 1981: the cubic convolution of third order; Pillow's choice, and torch's where it antialiases


@dataclass(frozen=True)
class Pooling:
    """What turns the members' logits into probabilities; see `ensemble/fitting.py`.

    Attributes:
        temperatures, weights: of each member; the weights sum to 1.
        geometric: whether log-probabilities are averaged, not probabilities.
        temperature: of the pool.
        uniform: share of the uniform distribution in the answer.
    """

    temperatures: Sequence[float]
    weights: Sequence[float]
    geometric: bool
    temperature: float
    uniform: float


class Exported(nn.Module):
    """Photos uint8 (N, H, W, 3), RGB, upright, to probabilities float32 (N, C).

    The step before, which reduces photos to the bundle's short side, is left out.

    Args:
        predictor: on the CPU, whose networks these are.
        pooling: of its members.
    """

    def __init__(self, predictor: Predictor, pooling: Pooling) -> None:
        super().__init__()
        self._predictor, self._pooling = predictor, pooling
        networks = {id(network): network.model for look in predictor.looks for network, _ in look.networks}
        self.networks = nn.ModuleList(networks.values())  # where torch looks for weights

    def forward(self, photos: Tensor) -> Tensor:
        squares = {square: squeeze(photos, square) for square in self._predictor.squares}
        looks, takers = self._predictor.looks, self._predictor.takers
        return pool(answers(looks, takers, squares, lambda network, images: network.model(images)), self._pooling)


def pool(logits: Sequence[Tensor], pooling: Pooling) -> Tensor:
    """Probabilities float32 (N, C) of the members' logits (N, C): `ensemble.fitting.predict` in tensors."""
    tempered = [
        torch.log_softmax(values / temperature, 1)
        for values, temperature in zip(logits, pooling.temperatures, strict=True)
    ]
    pooled = _geometric(tempered, pooling.weights) if pooling.geometric else _arithmetic(tempered, pooling.weights)
    probabilities = torch.softmax(pooled / pooling.temperature, 1)
    return probabilities * (1 - pooling.uniform) + pooling.uniform / probabilities.shape[1]


def _geometric(tempered: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    total = tempered[0] * weights[0]
    for member, weight in zip(tempered[1:], weights[1:], strict=True):
        total = total + member * weight
    return total


def _arithmetic(tempered: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    # Each class is shifted by its largest member, so that the sum cannot vanish.
    largest = tempered[0]
    for member in tempered[1:]:
        largest = torch.maximum(largest, member)
    return _geometric([(member - largest).exp() for member in tempered], weights).log() + largest


# ---- squares --------------------------------------------------------------------------------------------------------


def squeeze(photos: Tensor, square: Square) -> Tensor:
    """The middle of each photo as a square: `views.cut` and `photos.evaluation_picture` in tensors.

    Args:
        photos: uint8 (N, H, W, 3).
        square: which one.

    Returns:
        float32 (N, S, S, 3), whole numbers from 0 to 255; where one differs from torch's, then by 1.
    """
    pixels = photos.permute(0, 3, 1, 2).float()
    narrow = _to_bytes(pixels @ squeezing_weights(photos.shape[2], square).T)  # torch rounds after each direction, too
    return _to_bytes(squeezing_weights(photos.shape[1], square) @ narrow).permute(0, 2, 3, 1)


def squeezing_weights(length: int, square: Square) -> Tensor:
    """What each pixel of a line of a photo gives to each pixel of a line of the square.

    Returns:
        float32 (S, length); rows sum to 1, and are 0 outside the part that the square keeps.
    """
    first, kept = _kept(length, square.side)
    step = kept / square.image_size
    # float64, as torch's: in float32 a few weights round to the other side, and a head with a low power, which makes
    # much of small features, can turn a byte that is off by 1 into 0.001 of a probability.
    middles = torch.arange(length, dtype=torch.float64) + 0.5 - first
    centres = (torch.arange(square.image_size, dtype=torch.float64)[:, None] + 0.5) * step
    weights = _kernel((middles - centres).abs() / step.clamp(min=1), square.interpolation)
    weights = weights * ((middles > 0) & (middles < kept))
    return _to_16_bits(weights / weights.sum(1, keepdim=True)).float()


def _to_16_bits(weights: Tensor) -> Tensor:
    """Rounded as torch does for bytes: to as many binary places as let the largest weight fit 16 bits with a sign."""
    places = torch.ceil(torch.log2(32767.5 / weights.max())) - 1
    unit = torch.exp2(-places)
    return (weights / unit).round() * unit


def _kept(length: int, side: float) -> tuple[Tensor, Tensor]:
    """The first pixel that `views.cut` keeps, and how many: scalars, float64."""
    whole = torch.scalar_tensor(length, dtype=torch.float64)  # as Python computes, so that halves round alike
    kept = (whole * side).round().clamp(min=1)
    return ((whole - kept) / 2).floor(), kept


def _kernel(distance: Tensor, interpolation: str) -> Tensor:
    if interpolation == "bilinear":
        return (1 - distance).clamp(min=0)
    near = ((_KEYS + 2) * distance - (_KEYS + 3)) * distance * distance + 1
    far = (((distance - 5) * distance + 8) * distance - 4) * _KEYS
    return torch.where(distance < 1, near, far * (distance < 2))


def _to_bytes(values: Tensor) -> Tensor:
    return (values + 0.5).floor().clamp(0, 255)
