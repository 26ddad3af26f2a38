"""What a fine-tuning has to be below in its first fold, so that it can still reach the trial it must keep up with.

A fold that is under way at log loss L will end at rho L; no fine-tuning of the study has had a smaller rho from that
point of its schedule on than the smallest seen, so one that would not reach the rival even with that is stopped.
Epochs of schedules of different lengths cannot be compared, as the learning rate falls along a cosine; shares of the
schedule can. Learning curves of one problem are that much alike (Domhan et al., IJCAI 2015), and looking at the first
epochs alone is hard to beat (Egele et al., 2024, arXiv:2404.04111).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from automl_car.fold_records import Epoch, Points
from automl_car.records import FloatArray

FIRST_SHARE = 0.15  # of the schedule; before it, during the warm-up, a curve says little about its end
MIN_CURVES = 5  # fewer say little about how much can still be gained


def curve_to_beat(curves: Sequence[Sequence[Epoch]], goal: float) -> Points:
    """The highest log loss from which one could still reach `goal`, by share of the schedule.

    Args:
        curves: epochs of finished folds of fine-tunings, whatever became of their trials.
        goal: log loss that the fold has to end at, with all allowances.

    Returns:
        Points (share of the schedule, log loss), shares ascending from `FIRST_SHARE` to 1; none with too few curves.
    """
    drawn = [_best_so_far(curve) for curve in curves if curve]
    if len(drawn) < MIN_CURVES:
        return ()
    shares = sorted({FIRST_SHARE, 1.0} | {float(share) for points in drawn for share in points[0]})
    shares = [share for share in shares if share >= FIRST_SHARE]
    # A fold without any error says that all can be gained, from anywhere.
    left = np.min([losses[-1] / np.maximum(np.interp(shares, at, losses), 1e-9) for at, losses in drawn], axis=0)
    return tuple((share, goal / max(float(rho), 1e-9)) for share, rho in zip(shares, left, strict=True))


def why_beaten(curve: Sequence[Epoch], to_beat: Points) -> str | None:
    """Why a fold stops after the last epoch of `curve`, or None when it goes on."""
    last = curve[-1]
    if not to_beat or last.calibrated is None:  # a head, whose schedule may have no epoch
        return None
    share = last.number / last.total
    if not FIRST_SHARE <= share < 1:
        return None
    shares, losses = zip(*to_beat, strict=True)
    limit = float(np.interp(share, shares, losses))
    reached = min(epoch.calibrated for epoch in curve if epoch.calibrated is not None)
    if reached <= limit:
        return None
    return (
        f"after epoch {last.number} of {last.total} it is at {reached:.3f}, and from more than {limit:.3f} "
        "no fine-tuning of this study would have caught up"
    )


def _best_so_far(curve: Sequence[Epoch]) -> tuple[FloatArray, FloatArray]:
    """Shares and log losses; a fold keeps its best epoch, or ends with it."""
    shares = np.array([epoch.number / epoch.total for epoch in curve])
    losses = np.array([epoch.judged for epoch in curve])
    return shares, np.minimum.accumulate(losses)
