"""How many views of each photo a trial's predictions are averaged over, judged by its out-of-fold log loss.

Test-time augmentation mends some networks and blurs others, so it is switched on only where it pays: the number of
views of least log loss after calibration, and the fewest of those that are equal.
"""

from __future__ import annotations

import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

ViewLosses = Sequence[tuple[int, float]]
"""(number of views, calibrated log loss) of one fold, see `FoldResult.view_losses`."""


@dataclass(frozen=True)
class ViewCounts:
    """How many views each prediction is the mean of; 0: as many as the recipe asks for.

    Attributes:
        oof: of the validation rows of each fold; chosen on the rows of the other folds, so that no row chooses for
            itself.
        test: of the test rows; chosen on the rows of all folds.
    """

    oof: Mapping[int, int]
    test: int


def choose_view_counts(folds: Mapping[int, ViewLosses]) -> ViewCounts:
    """The numbers of views of one trial.

    Args:
        folds: of each finished fold, what it lost with how many views; empty where an earlier version trained it.

    Returns:
        As many as the recipe asks for where a single fold is finished, or one of an earlier version is among them.

    Example:
        One view is best in the mean of all folds, but fold 1 has no part in its own choice.

        >>> choose_view_counts({0: [(1, 0.51), (2, 0.50)], 1: [(1, 0.50), (2, 0.60)], 2: [(1, 0.51), (2, 0.50)]})
        ViewCounts(oof={0: 1, 1: 2, 2: 1}, test=1)
    """
    if not all(folds.values()):
        return ViewCounts(dict.fromkeys(folds, 0), 0)
    if len(folds) == 1:
        ((fold, losses),) = folds.items()
        return ViewCounts({fold: losses[-1][0]}, losses[-1][0])
    others = {fold: [losses for other, losses in folds.items() if other != fold] for fold in folds}
    return ViewCounts({fold: _best(rest) for fold, rest in others.items()}, _best(folds.values()))


def _best(folds: Collection[ViewLosses]) -> int:
    """The number of views of least mean log loss, as trials are compared by their mean over folds."""
    by_fold = [dict(losses) for losses in folds]
    means = {views: statistics.fmean(losses[views] for losses in by_fold) for views in by_fold[0]}
    return min(means, key=lambda views: (means[views], views))
