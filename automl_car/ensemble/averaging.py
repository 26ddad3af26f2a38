"""How much better test photos fare than training photos, as the mean of all fold models predicts them; without labels.

A training photo is scored out of fold by a single model of each member, a test photo by the mean of all K. Of the loss
of a mean prediction p and those of its parts p_k,

    mean_k loss(p_k) - loss(p) = mean_k log p(y) / p_k(y),

whose expectation is mean_k KL(p || p_k) where the labels y are distributed as p says. For the geometric mean it is that
whatever the labels are: the ambiguity decomposition of the log-likelihood (Heskes, "Bias/variance decompositions for
likelihood-based estimators", Neural Computation 10, 1998, section 4). So the disagreement of the fold models on the
test photos tells what averaging them gains there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from automl_car.ensemble.fitting import pool_of, predict
from automl_car.ensemble_records import Ensemble, Member


def averaging_gain(
    ensemble: Ensemble, folds: Sequence[int], test_logits: Callable[[Member, int], NDArray[Any]]
) -> float:
    """The mean over test photos and folds of KL(p || p_k), in nats; 0 without a test set.

    Args:
        ensemble: p is what it predicts.
        folds: whose models predict the test photos.
        test_logits: returns the logits (T, C) that the model of a member and a fold gives the test photos; for a member
            without that fold, those that it gives on average.
    """
    mean = ensemble.test_probabilities
    if not len(mean) or len(folds) < 2:
        return 0.0
    fitted = pool_of(ensemble)
    total = 0.0
    for fold in folds:
        one = predict(fitted, [test_logits(member, fold) for member in ensemble.members])
        total += float(np.einsum("nc,nc->", mean, np.log(mean) - np.log(one)))
    return total / (len(mean) * len(folds))
