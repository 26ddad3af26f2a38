"""How a network's passes are computed on a device: memory layout, precision, micro-batches, compiled or not.

Nothing here changes what is computed, but for rounding; `choose_step` measures which way is fastest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Precision = Literal["float32", "bfloat16"]
_TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Step:
    """One way to compute forward and backward passes.

    Attributes:
        precision: that matrix products and convolutions are computed in; weights and the loss are float32 always.
        channels_last: memory layout of images and weights.
        micro_batch: images that go forward and backward at a time; their gradients add up to those of the batch. 0
            takes the batch as a whole.
        compiled: whether training goes through `torch.compile`.
    """

    precision: Precision = "float32"
    channels_last: bool = True
    micro_batch: int = 0
    compiled: bool = False


def plain_step(device: torch.device) -> Step:
    """What is right without measuring: float32 on a CPU, bfloat16 on CUDA, channels last, whole batches."""
    return Step("bfloat16" if device.type == "cuda" else "float32")


@dataclass(frozen=True, eq=False)
class Passes:
    """The passes of one network on one device; make it with `passes`.

    Attributes:
        model: the network itself, whose weights, mode and state may be read and changed.
        call: the network, compiled where the step says so.
    """

    model: nn.Module
    step: Step
    device: torch.device
    call: Callable[[Tensor], Tensor]

    def forward(self, images: Tensor) -> Tensor:
        """Logits, or features, float32 (B, C) of images float32 (B, 3, S, S)."""
        with self._autocast():
            return self.model(self._lay_out(images)).float()  # type: ignore[no-any-return]

    def backward(
        self, images: Tensor, targets: Tensor, *, label_smoothing: float = 0.0, micro_batch: int | None = None
    ) -> Tensor:
        """Add the gradients of the mean cross entropy of a batch to those of the weights.

        Args:
            images: float32 (B, 3, S, S).
            targets: float32 (B, C), rows sum to 1.
            micro_batch: images at a time at most; None takes as many as the step says. Parts differ by one image at
                most, as batch statistics of a single last image would be none.

        Returns:
            The mean cross entropy: a tensor of one number on the device, so that nobody waits for it.
        """
        size = (self.step.micro_batch if micro_batch is None else micro_batch) or len(images)
        parts = -(-len(images) // size)
        total = torch.zeros((), device=self.device)
        for part, wanted in zip(images.tensor_split(parts), targets.tensor_split(parts), strict=True):
            with self._autocast():
                logits = self.call(self._lay_out(part))
                loss = F.cross_entropy(logits.float(), wanted, label_smoothing=label_smoothing)
            loss = loss * (len(part) / len(images))
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        return total

    def _autocast(self) -> torch.autocast:
        reduced = self.step.precision != "float32"
        return torch.autocast(self.device.type, dtype=_TYPES[self.step.precision], enabled=reduced)

    def _lay_out(self, images: Tensor) -> Tensor:
        return images.contiguous(memory_format=_layout(self.step))


def passes(model: nn.Module, step: Step, device: torch.device) -> Passes:
    """Move `model` to the device in the step's memory layout, in place, and give its passes."""
    model = model.to(device, memory_format=_layout(step))  # type: ignore[call-overload]
    call: Any = torch.compile(model, dynamic=False) if step.compiled else model
    return Passes(model, step, device, call)


def _layout(step: Step) -> torch.memory_format:
    return torch.channels_last if step.channels_last else torch.contiguous_format
