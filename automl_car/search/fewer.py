"""The trials of a long study that TPE looks at: what it costs to choose grows with them.

TPE takes the best trials, a tenth of all and at most 25, for good, and compares them with the others, of which it
weighs older ones less (Bergstra et al., Algorithms for Hyper-Parameter Optimization, NIPS 2011; Optuna's
`default_gamma`, `default_weights`). From 250 trials on the good ones are 25 however many there are; here they stay the
same 25, and of the others the latest are taken. Shorter studies are not touched.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence

from optuna.trial import FrozenTrial, TrialState

MOST = 250
_BEST = 50  # more than TPE takes for good, so that those are the same


def best_and_latest(ended: Sequence[FrozenTrial], most: int = MOST) -> list[FrozenTrial]:
    """So many of the trials, in the order of their numbers; all of them, where there are no more.

    Args:
        ended: complete and pruned ones, in the order of their numbers.
    """
    if len(ended) <= most:
        return list(ended)
    complete = [trial for trial in ended if trial.state == TrialState.COMPLETE]
    best = heapq.nsmallest(_BEST, complete if len(complete) >= _BEST else ended, key=_rank)
    chosen = {trial.number for trial in best}
    for trial in reversed(ended):
        if len(chosen) == most:
            break
        chosen.add(trial.number)
    return [trial for trial in ended if trial.number in chosen]


def _rank(trial: FrozenTrial) -> tuple[int, int, float]:
    """Best first, as TPE ranks: complete ones by value, then pruned ones by how far they came, then by value."""
    if trial.state == TrialState.COMPLETE:
        return 0, 0, trial.value if trial.value is not None else math.inf
    if not trial.intermediate_values:
        return 1, 1, 0.0
    step, value = max(trial.intermediate_values.items())
    return 1, -step, math.inf if math.isnan(value) else value
