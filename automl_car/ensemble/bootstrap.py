"""What the choice of a plan adds to its loss, and how wide the interval around it is: row losses in, an estimate out.

Cross-fitted losses are honest about members, weights and calibration, but the plan was chosen because its loss came out
lowest. The bootstrap repeats that choice: rows are drawn with replacement, the plan is chosen on those that were drawn,
and judged on those that were not (BBC-CV: Tsamardinos, Greasidou & Borboudakis, "Bootstrapping the out-of-sample
predictions for efficient and accurate cross-validation", Machine Learning 107, 2018, algorithm 4). Copies of one photo
are drawn together, as they are no independent evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from automl_car.ensemble.fitting import Plan
from automl_car.ensemble_records import Estimate
from automl_car.records import FloatArray, IntArray

REPEATS = 500
_PERCENT = (2.5, 97.5)

Choose = Callable[[IntArray], Plan]


def bootstrap(
    losses: Mapping[Plan, FloatArray], shipped: Plan, choose: Choose, groups: IntArray, *, test_rows: int
) -> Estimate:
    """Resample the photos, choose the plan anew each time, and look at the photos that were left out.

    Args:
        losses: of each plan the cross-fitted loss of every row, (N,).
        shipped: the plan that `choose` takes on all rows.
        choose: picks a plan by some rows, int64 (n,), of which some come repeatedly.
        groups: int64 (N,): rows with the same number are copies of one photo.
        test_rows: photos of the test set; 0 without one.
    """
    random = np.random.default_rng(0)  # the same numbers whenever the same trials are pooled
    nested = losses[shipped]
    chosen_too_well, means, test_means = [], [], []
    for drawn in _draws(groups, random):
        rows = np.repeat(np.arange(len(drawn)), drawn)
        plan = choose(rows)
        left_out = drawn == 0
        if left_out.any():
            chosen_too_well.append(float((losses[plan] - nested)[left_out].mean()))
        means.append(float(nested[rows].mean()))
        if test_rows:
            test_means.append(float(random.choice(nested[rows], test_rows).mean()))
    # What a fixed plan's left-out rows lose on average is its nested loss, so only the difference has to be estimated.
    choice = max(0.0, float(np.mean(chosen_too_well))) if chosen_too_well else 0.0
    return Estimate(
        log_loss=float(nested.mean()) + choice,
        interval=_interval(means, choice),
        choice=choice,
        test_rows=test_rows,
        test_range=_interval(test_means, choice) if test_rows else (np.nan, np.nan),
    )


def _draws(groups: IntArray, random: np.random.Generator) -> Iterator[IntArray]:
    """How often each row is drawn, int64 (N,), in each repeat; rows of a group are drawn together."""
    _, group = np.unique(groups, return_inverse=True)
    count = int(group.max()) + 1
    for _ in range(REPEATS):
        yield np.bincount(random.integers(count, size=count), minlength=count)[group]


def _interval(means: list[float], shift: float) -> tuple[float, float]:
    low, high = np.percentile(means, _PERCENT)
    return float(low) + shift, float(high) + shift
