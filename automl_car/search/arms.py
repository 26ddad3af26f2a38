"""Chooses the backbone and the tuning of the next trial: where another trial gains most per second.

TPE alone soon proposes one backbone, and does not know that one recipe costs a hundred times what another does. So the
choice of the arm, a pair of tuning and backbone, is taken out of its hands: every backbone first gets a floor of
trials, so that the ensemble has something to combine, and then the arm of the highest expected improvement per second
is played (Snoek et al., 2012, arXiv:1206.2944, section 3.2). The rest of the recipe is TPE's.
"""

from __future__ import annotations

import bisect
import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from automl_car.records import FloatArray, GainPer, Tuning

_erfc: Any = np.frompyfunc(math.erfc, 1, 1)  # NumPy has none of its own
_SMALLEST_WIDTH = 0.01  # of a kernel, as a share of the log loss to improve on
_NOTHING = 40.0  # kernel widths above the target, from where a trial's expected improvement is 0 in float64


class Arm(NamedTuple):
    """A way of tuning one backbone."""

    tuning: Tuning
    backbone: str


@dataclass(frozen=True)
class Play:
    """A trial that has ended, or that has begun.

    Attributes:
        log_loss: over all folds, or what it will probably be; infinite when it diverged; None while nothing is known.
        seconds: that it took, pruned or not: this is what another trial of the arm will cost; 0 while it is None.
    """

    arm: Arm
    log_loss: float | None
    seconds: float


class Tally:
    """What the plays of each arm have come to, in whichever order they came.

    Attributes:
        played: plays of each arm.
        losses: by arm, the finite log losses of its plays, ascending.
        seconds: by arm, what each of its plays took whose log loss is known, if only that it is infinite.
    """

    def __init__(self, plays: Iterable[Play] = ()) -> None:
        self.played: Counter[Arm] = Counter()
        self.losses: dict[Arm, list[float]] = {}
        self.seconds: dict[Arm, list[float]] = {}
        for play in plays:
            self.add(play)

    def add(self, play: Play) -> None:
        """Count one more."""
        self.played[play.arm] += 1
        if play.log_loss is None:
            return
        self.seconds.setdefault(play.arm, []).append(play.seconds)
        losses = self.losses.setdefault(play.arm, [])
        if math.isfinite(play.log_loss):
            bisect.insort(losses, play.log_loss)

    def and_(self, plays: Iterable[Play]) -> Tally:
        """Another tally, of these plays and of those that were counted here."""
        both = Tally()
        both.played = self.played.copy()
        both.losses = {arm: losses.copy() for arm, losses in self.losses.items()}
        both.seconds = {arm: seconds.copy() for arm, seconds in self.seconds.items()}
        for play in plays:
            both.add(play)
        return both


def choose_arm(arms: Sequence[Arm], tally: Tally, *, floor: int, k: int, gain_per: GainPer = "second") -> Arm | None:
    """The arm to play next; None when there is none to choose from.

    Args:
        arms: those that may be played, in the order in which they are tried first.
        tally: of trials that have ended or begun, of these and other arms.
        floor: trials that every backbone gets before any is chosen for its gain.
        k: a trial gains where it is better than the k-th best one: so many become members.
        gain_per: what the gain of an arm is divided by.
    """
    if not arms:
        return None
    played, of_backbone = tally.played, Counter[str]()
    for arm, count in played.items():
        of_backbone[arm.backbone] += count
    for arm in arms:
        if of_backbone[arm.backbone] < floor:
            return min((other for other in arms if other.backbone == arm.backbone), key=lambda other: played[other])
    if unplayed := [arm for arm in arms if not played[arm]]:
        return unplayed[0]
    gains = gains_of(tally, k=k, gain_per=gain_per)
    return max(arms, key=lambda arm: gains.get(arm, 0.0))


def gains_of(tally: Tally, *, k: int, gain_per: GainPer = "second") -> Mapping[Arm, float]:
    """Expected improvement on the k-th best log loss, per second or per trial, by arm.

    The log loss of an arm's next trial is taken to be spread like those of its former ones, each blurred by a normal
    kernel (Silverman's rule), so that a few bad trials of a good arm do not hide it. Trials of which nothing is known
    yet count neither as good nor as bad; an arm that has no others is not among the results.
    """
    losses = {arm: np.array(own, np.float64) for arm, own in tally.losses.items()}
    ranked = np.sort(np.concatenate([*(own[:k] for own in losses.values()), np.empty(0)]))
    target = float(ranked[min(k, len(ranked)) - 1]) if len(ranked) else 0.0
    gains = {}
    for arm, own in losses.items():
        width = max(_kernel_width(own), _SMALLEST_WIDTH * target, 1e-9)
        near = own[: np.searchsorted(own, target + _NOTHING * width)]
        gain = float(_improvements(target - near, width).sum()) / len(tally.seconds[arm])
        gains[arm] = gain / (_cost(statistics.fmean(tally.seconds[arm])) if gain_per == "second" else 1.0)
    return gains


def _cost(seconds: float) -> float:
    """The nearest power of two, and at least a second: what is measured varies from run to run, the choice should not.

    Example:
        >>> _cost(0.2), _cost(90.0), _cost(95.0)
        (1.0, 64.0, 128.0)
    """
    return float(2 ** round(math.log2(max(seconds, 1.0))))


def expected_improvement(lead: float, width: float) -> float:
    """E[max(0, x)] of a normal x with mean `lead` and standard deviation `width`.

    Example:
        >>> round(expected_improvement(0.0, 1.0), 4)  # 1 / sqrt(2 pi)
        0.3989
    """
    return float(_improvements(np.array([lead]), width)[0])


def _improvements(leads: FloatArray, width: float) -> FloatArray:
    scaled = leads / width
    density = np.exp(-(scaled**2) / 2) / math.sqrt(2 * math.pi)
    below = _erfc(-scaled / math.sqrt(2)).astype(np.float64) / 2
    return np.asarray(width * (scaled * below + density))


def _kernel_width(losses: FloatArray) -> float:
    """Silverman's rule of thumb (Density Estimation, 1986, eq. 3.31), from the better half, as bad ones lie far off.

    Args:
        losses: ascending.
    """
    if len(losses) < 2:
        return abs(float(losses[0])) / 4 if len(losses) else 0.0
    better = losses[: max(2, (len(losses) + 1) // 2)]
    width: float = 1.06 * float(better.std(ddof=1)) * len(losses) ** -0.2
    return width
