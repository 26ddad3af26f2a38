"""The frozen values of an ensemble: what it is made of, and what it is worth; nothing here does any work."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from automl_car.records import FloatArray


@dataclass(frozen=True, eq=False)
class Candidate:
    """A complete trial as the ensemble sees it: logits, and nothing of the code that made them.

    Attributes:
        name: what reports call it, such as `trial 12`.
        backbone: for reports.
        oof_logits: float (N, C): each training row scored by the fold model that did not see it.
        test_logits: float (T, C): mean over the fold models; (0, C) without a test set.
        recipe_id: of its folder in the fold store; empty for predictions that came from elsewhere.
        folds: the finished folds that the logits are from.
        views: of each photo that the test logits are the mean of; 0: as many as the recipe asks for.
    """

    name: str
    backbone: str
    oof_logits: NDArray[np.floating[Any]]
    test_logits: NDArray[np.floating[Any]]
    recipe_id: str = ""
    folds: tuple[int, ...] = ()
    views: int = 0


@dataclass(frozen=True)
class Member:
    """One trial in the ensemble.

    Attributes:
        name, backbone: of the candidate.
        temperature: its logits are divided by this before pooling.
        weight: share in the pool; the weights of all members sum to 1.
        log_loss: its own, after that temperature, out of fold.
        gain: how much the pool's `log_loss` would rise without it, all else fitted again.
        recipe_id, folds, views: of the candidate: which fold models predict for it, and from how many views.
    """

    name: str
    backbone: str
    temperature: float
    weight: float
    log_loss: float
    gain: float
    recipe_id: str = ""
    folds: tuple[int, ...] = ()
    views: int = 0


@dataclass(frozen=True)
class Estimate:
    """What a pool's out-of-fold losses say of photos that nobody has seen yet.

    Attributes:
        log_loss: the nested log loss plus `choice`.
        interval: in which the log loss of all such photos lies in 95 of 100 cases, as far as resampling tells.
        choice: what the pool looks too good by because it was chosen among others on the same photos.
        averaging: how much lower the log loss of test photos should be, because the mean of all fold models predicts
            them, while every training photo was scored by a single one; 0 where that is unknown.
        test_rows: photos of the test set; 0 without one.
        test_range: in which a log loss on that many new photos lies in 95 of 100 cases; NaN without a test set.
    """

    log_loss: float
    interval: tuple[float, float]
    choice: float = 0.0
    averaging: float = 0.0
    test_rows: int = 0
    test_range: tuple[float, float] = (math.nan, math.nan)

    def with_averaging(self, gain: float) -> Estimate:
        """The same with what is known of averaging; it lowers what test photos are expected to lose, never raises it.

        Args:
            gain: at least 0. No log loss is below 0, so no more than all of it counts.
        """
        gain = min(gain, self.log_loss)
        low, high = (max(end - gain, 0.0) for end in self.test_range)  # NaN stays NaN
        return dataclasses.replace(self, averaging=gain, test_range=(low, high))

    @property
    def test_log_loss(self) -> float:
        """What to expect of the test set."""
        return self.log_loss - self.averaging


@dataclass(frozen=True)
class Alternative:
    """What another choice than the ensemble would have come to, out of fold and cross-fitted like it."""

    name: str
    log_loss: float


@dataclass(frozen=True, eq=False)
class Ensemble:
    """The weighted, calibrated combination of members.

    Attributes:
        members: heaviest first.
        pool: "arithmetic" (weighted mean of the members' probabilities) or "geometric" (of their logarithms).
        temperature: applied to the pool's logits; below 1 sharpens.
        uniform: lambda, the share of the uniform distribution that is mixed in and keeps every class above zero.
        log_loss: out of fold, with weights and calibration fitted on the same rows.
        nested_log_loss: out of fold, with weights and calibration fitted on the other folds: the number to trust.
        standard_error: of `nested_log_loss`, from the spread over photos.
        best_single: nested log loss of the best trial alone, calibrated.
        oof_probabilities: float64 (N, C), rows sum to 1; each row by the pool that was fitted without it, so
            their log loss is `nested_log_loss`.
        test_probabilities: float64 (T, C), rows sum to 1; by the pool that was fitted on all rows.
        rows: training rows that the numbers above are measured on.
        estimate: of the log loss of new photos.
        calibration: of the pool: "none", "temperature", or "full" (with a uniform share); what did not make it better
            out of fold is left out, and then `temperature` is 1 or `uniform` the smallest share.
        alternatives: what other choices would have come to, where that was asked for.
    """

    members: tuple[Member, ...]
    pool: Literal["arithmetic", "geometric"]
    temperature: float
    uniform: float
    log_loss: float
    nested_log_loss: float
    standard_error: float
    best_single: float
    oof_probabilities: FloatArray
    test_probabilities: FloatArray
    rows: int
    estimate: Estimate
    calibration: str = "full"
    alternatives: tuple[Alternative, ...] = ()
