"""Rows of memory-mapped features, read a chunk at a time: what a linear head learns from and is judged by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from automl_car.records import IntArray

CPU = torch.device("cpu")


class FeatureArray(Protocol):
    """An array of features (N, D), of which rows can be taken."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    def __getitem__(self, rows: Any, /) -> Any: ...


@dataclass(frozen=True, eq=False)
class Rows:
    """Some rows of the features of all views.

    Attributes:
        views: float (N, D) each: the features of one view of every photo.
        rows: int64 (n,): which of them.
        power: that features are raised to.
        device: that chunks are put on.
        chunk: rows that are in memory at a time.
    """

    views: Sequence[FeatureArray]
    rows: IntArray
    power: float = 1.0
    device: torch.device = CPU
    chunk: int = 256

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def width(self) -> int:
        """D."""
        return self.views[0].shape[1]

    def only(self, places: IntArray) -> Rows:
        """The rows at these places among them."""
        return replace(self, rows=self.rows[places])

    def first(self, views: int) -> Rows:
        """The same rows in the first views alone."""
        return replace(self, views=self.views[:views])

    def by_view(self) -> Iterator[tuple[slice, Tensor]]:
        """Chunks of the first view, then of the second, and so on.

        Yields:
            Which of the n rows, and their features float32 (b, D).
        """
        for view in self.views:
            for part in self._parts():
                yield part, self._load(view, part)

    def means(self) -> Iterator[tuple[slice, Tensor]]:
        """Chunks of the mean over all views: a linear head's logits for it are the mean of its logits for the views.

        Yields:
            Which of the n rows, and their means float32 (b, D).
        """
        for part in self._parts():
            total = self._load(self.views[0], part)
            for view in self.views[1:]:
                total += self._load(view, part)
            yield part, total.div_(len(self.views))

    def together(self) -> Iterator[tuple[slice, Tensor]]:
        """Chunks of all views.

        Yields:
            Which of the n rows, and their features float32 (V, b, D).
        """
        for part in self._parts():
            yield part, torch.stack([self._load(view, part) for view in self.views])

    def _parts(self) -> Iterator[slice]:
        for start in range(0, len(self.rows), self.chunk):
            yield slice(start, min(start + self.chunk, len(self.rows)))

    def _load(self, view: FeatureArray, part: slice) -> Tensor:
        return raise_to(torch.from_numpy(view[self.rows[part]]).to(self.device).float(), self.power)


def raise_to(features: Tensor, power: float) -> Tensor:
    """sign(x) |x| ** power, element by element."""
    # Not copysign: ONNX has none.
    return features if power == 1.0 else features.abs().pow_(power).mul_(features.sign())
