"""Features of several backbones side by side, read as one array, without a copy of them on the disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from automl_car.training.features import Features
from automl_car.training.rows import FeatureArray


@dataclass(frozen=True, eq=False)
class SideBySide:
    """Arrays (N, D1), (N, D2) ... as one of (N, D1 + D2 + ...)."""

    arrays: tuple[FeatureArray, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.arrays[0].shape[0], sum(array.shape[1] for array in self.arrays))

    def __getitem__(self, rows: Any) -> NDArray[np.float16]:
        """The features of some rows."""
        return np.concatenate([array[rows] for array in self.arrays], axis=1)


def side_by_side(parts: Sequence[Features]) -> Features:
    """The features of each of these networks for the same views, as those of one."""
    if len(parts) == 1:
        return parts[0]
    return Features(
        tuple(SideBySide(arrays) for arrays in zip(*(part.train for part in parts), strict=True)),
        tuple(SideBySide(arrays) for arrays in zip(*(part.test for part in parts), strict=True)),
    )
