"""Numbers that are not finite: found where they arise, and answered once by half the learning rate.

A GPU is asked for its numbers only now and then, as each question waits for it. They are kept there step by step, so
that the answer still names the step; training goes back to the last good state, the beginning of the epoch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from automl_car.errors import DivergedError

_LOOK_EVERY = 16  # steps on a GPU


class NotFiniteError(Exception):
    """Something is NaN or infinite; the message says what and where. Never leaves `training`."""


class Steps:
    """Loss and gradient of each step of one epoch.

    Args:
        epoch: from 1.
        count: steps of the epoch.
    """

    def __init__(self, epoch: int, count: int, device: torch.device) -> None:
        self._epoch = epoch
        self._values = torch.zeros(count, 2, device=device)  # loss and gradient's norm
        self._every = 1 if device.type == "cpu" else _LOOK_EVERY
        self._seen = 0

    def note(self, number: int, loss: Tensor, norm: Tensor) -> None:
        """Keep the loss and the norm of the gradient of a step, which counts from 0, and look at them now and then.

        Raises:
            NotFiniteError: one of them is not finite, or was so in a step since the last look.
        """
        self._values[number, 0], self._values[number, 1] = loss, norm
        if (number + 1) % self._every == 0:
            self._look(number + 1)

    def mean_loss(self) -> float:
        """Of all steps, after a last look.

        Raises:
            NotFiniteError: as `note`.
        """
        self._look(len(self._values))
        return float(self._values[:, 0].double().mean())

    def _look(self, until: int) -> None:
        for number, (loss, norm) in enumerate(self._values[self._seen : until].tolist(), self._seen):
            if not math.isfinite(loss):
                raise NotFiniteError(f"the training loss was {loss} in epoch {self._epoch}, step {number + 1}")
            if not math.isfinite(norm):
                raise NotFiniteError(f"the norm of the gradient was {norm} in epoch {self._epoch}, step {number + 1}")
        self._seen = until


def clip(parameters: Iterable[nn.Parameter], largest: float) -> Tensor:
    """Scale gradients down to the norm `largest`, unless that is 0, and return the norm that they had.

    Gradients of an infinite norm would become zeros and NaN: whoever calls this looks at the norm.
    """
    owners = [parameter for parameter in parameters if parameter.grad is not None]
    norm = nn.utils.get_total_norm([owner.grad for owner in owners if owner.grad is not None])
    if largest:
        nn.utils.clip_grads_with_norm_(owners, largest, norm)
    return norm


def refuse_weights(states: Iterable[Tensor], when: str) -> None:
    """Look at weights and statistics.

    Raises:
        NotFiniteError: one of them is not finite.
    """
    floats = [tensor.detach() for tensor in states if tensor.is_floating_point() and tensor.numel()]
    if not math.isfinite(float(nn.utils.get_total_norm(floats, math.inf))):
        raise NotFiniteError(f"a weight or statistic was not finite {when}")


def refuse_logits(logits: NDArray[np.float32], rows: str, when: str) -> None:
    """Look at the logits (n, C) of some rows.

    Raises:
        NotFiniteError: some of them are not finite.
    """
    wrong = int((~np.isfinite(logits)).any(axis=1).sum())
    if wrong:
        raise NotFiniteError(f"the logits of {wrong} of {len(logits)} {rows} were not finite {when}")


class Rates:
    """Peak learning rates of the parameter groups, which are halved once where numbers stop being finite.

    Args:
        peaks: to begin with.
        halved: why they were halved before; empty where they were not.
    """

    def __init__(self, peaks: list[float], halved: str = "") -> None:
        self.halved = halved
        self.peaks = [peak / 2 for peak in peaks] if halved else list(peaks)

    def halve_after(self, found: NotFiniteError) -> None:
        """Halve them.

        Raises:
            DivergedError: they were halved before.
        """
        if self.halved:
            message = f"{found}, although the learning rate was halved when {self.halved}."
            raise DivergedError(message[0].upper() + message[1:]) from found
        self.halved = str(found)
        self.peaks = [peak / 2 for peak in self.peaks]
