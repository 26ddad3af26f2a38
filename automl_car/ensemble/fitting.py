"""The whole pipeline on given rows: members → temperatures → weights → pool → calibration; and its use on new logits.

`estimate` runs it once for each fold on the rows of the others, `build` once on all rows: what is estimated is what
is shipped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from automl_car.ensemble.calibration import UNIFORM_SHARES, Calibration, apply, fit_calibration
from automl_car.ensemble.pool import PoolKind, fit_weights, pool_logits
from automl_car.ensemble_records import Ensemble
from automl_car.losses import log_softmax
from automl_car.records import FloatArray, IntArray
from automl_car.temperature import PRIOR, fit_temperature

Weighting = Literal["fitted", "uniform"]
CalibrationKind = Literal["none", "temperature", "full"]
_CHUNK = 1024  # rows whose float64 copies are in memory at a time


@dataclass(frozen=True)
class Plan:
    """One way to combine members.

    Attributes:
        pool: which mean.
        weighting: "fitted" weights, or "uniform" ones that cannot overfit.
        members: most members; None for as many as were chosen, 1 for the best trial alone.
        tempered: whether each member is calibrated by a temperature of its own before pooling.
        calibration: of the pool: "none", a "temperature", or "full", a temperature and a uniform share.
    """

    pool: PoolKind
    weighting: Weighting
    members: int | None = None
    tempered: bool = True
    calibration: CalibrationKind = "full"


@dataclass(frozen=True, eq=False)
class TemperedMembers:
    """The chosen candidates, each with its own temperature divided out; the only copies of logits that are kept.

    Attributes:
        indices: of the candidates, the best first.
        temperatures: of each.
        log_probabilities: float32 (N, C) of each, on the rows of `labels`; they are the largest arrays of all.
        labels: class indices (N,).
    """

    indices: tuple[int, ...]
    temperatures: tuple[float, ...]
    log_probabilities: tuple[NDArray[np.float32], ...]
    labels: IntArray

    def take(self, positions: Sequence[int]) -> TemperedMembers:
        """Only the members at these positions, in this order."""
        return TemperedMembers(
            tuple(self.indices[position] for position in positions),
            tuple(self.temperatures[position] for position in positions),
            tuple(self.log_probabilities[position] for position in positions),
            self.labels,
        )


@dataclass(frozen=True)
class FittedPool:
    """All numbers that turn the members' logits into probabilities.

    Attributes:
        members: indices of the candidates, each with a weight above 0.
        temperatures: what each member's logits are divided by before pooling.
        pool: which mean.
        weights: of the members; their sum is 1.
        calibration: of the pooled logits.
    """

    members: tuple[int, ...]
    temperatures: tuple[float, ...]
    pool: PoolKind
    weights: tuple[float, ...]
    calibration: Calibration


def temper(
    indices: Sequence[int], logits: Iterable[NDArray[Any]], labels: IntArray, *, starts: Iterable[float | None]
) -> TemperedMembers:
    """Fits each member's temperature, so that an over-confident member does not shout down the others.

    Args:
        indices: of the candidates.
        logits: (N, C) of each of them; a generator keeps only one in memory.
        labels: class indices (N,).
        starts: a guess of each temperature; None leaves the logits as they are.
    """
    temperatures, tempered = [], []
    for values, start in zip(logits, starts, strict=True):
        temperature = 1.0 if start is None else fit_temperature(values, labels, start=start, prior=PRIOR)
        temperatures.append(temperature)
        tempered.append(_log_probabilities(values, temperature))
    return TemperedMembers(tuple(indices), tuple(temperatures), tuple(tempered), labels)


def _log_probabilities(logits: NDArray[Any], temperature: float) -> NDArray[np.float32]:
    tempered = np.empty(logits.shape, np.float32)
    for start in range(0, len(logits), _CHUNK):
        part = slice(start, start + _CHUNK)
        tempered[part] = log_softmax(logits[part], temperature=temperature)
    return tempered


def fit_pool(plan: Plan, members: TemperedMembers) -> FittedPool:
    """Weights and calibration of least log loss on the members' rows; members of weight 0 are left out."""
    return fit_pools([plan], members)[plan]


def fit_pools(plans: Sequence[Plan], members: TemperedMembers) -> dict[Plan, FittedPool]:
    """The same for several plans; those that differ in their calibration alone share the weights and the pool.

    Args:
        plans: all with the same `tempered`, which `members` were made for.
    """
    fitted: dict[Plan, FittedPool] = {}
    for plan in plans:
        if plan not in fitted:
            alike = [other for other in plans if replace(other, calibration=plan.calibration) == plan]
            fitted |= _fit_alike(alike, members)
    return fitted


def _fit_alike(plans: Sequence[Plan], members: TemperedMembers) -> dict[Plan, FittedPool]:
    """Of plans that differ in their calibration alone."""
    plan = plans[0]
    members = members.take(range(len(members.indices))[: plan.members])
    weights = _weights(plan, members)
    kept = np.flatnonzero(weights).tolist()
    members = members.take(kept)
    pooled = _pooled(plan.pool, members.log_probabilities, weights[kept])
    shares = tuple(weights[kept].tolist())
    return {
        plan: FittedPool(
            members.indices,
            members.temperatures,
            plan.pool,
            shares,
            _calibration(plan.calibration, pooled, members.labels),
        )
        for plan in plans
    }


def _calibration(kind: CalibrationKind, pooled: FloatArray, labels: IntArray) -> Calibration:
    """The calibration of a pool; where no uniform share is fitted, the smallest one keeps every class above zero."""
    if kind == "full":
        return fit_calibration(pooled, labels)
    temperature = fit_temperature(pooled, labels, prior=PRIOR) if kind == "temperature" else 1.0
    return Calibration(temperature, UNIFORM_SHARES[0])


def _pooled(kind: PoolKind, log_probabilities: Sequence[NDArray[np.float32]], weights: FloatArray) -> FloatArray:
    """`pool_logits` of all rows, a chunk at a time: its steps need copies of what they work on."""
    pooled = np.empty(log_probabilities[0].shape)
    for start in range(0, len(pooled), _CHUNK):
        part = slice(start, start + _CHUNK)
        pooled[part] = pool_logits(kind, [member[part] for member in log_probabilities], weights)
    return pooled


def _weights(plan: Plan, members: TemperedMembers) -> FloatArray:
    if plan.weighting == "fitted":
        return fit_weights(plan.pool, members.log_probabilities, members.labels)
    return np.full(len(members.indices), 1 / len(members.indices))


def pool_of(ensemble: Ensemble) -> FittedPool:
    """The numbers of a finished ensemble, with its members in their order."""
    return FittedPool(
        tuple(range(len(ensemble.members))),
        tuple(member.temperature for member in ensemble.members),
        ensemble.pool,
        tuple(member.weight for member in ensemble.members),
        Calibration(ensemble.temperature, ensemble.uniform),
    )


def predict(fitted: FittedPool, logits: Iterable[NDArray[Any]]) -> FloatArray:
    """Calibrated probabilities, float64 (N, C), of any rows; each row sums to 1.

    Args:
        fitted: from `fit_pool`.
        logits: (N, C) of each of `fitted.members`, in that order.
    """
    members = list(logits)
    probabilities = np.empty(members[0].shape)
    for start in range(0, len(probabilities), _CHUNK):
        part = slice(start, start + _CHUNK)
        probabilities[part] = _predict_rows(fitted, [values[part] for values in members])
    return probabilities


def _predict_rows(fitted: FittedPool, logits: Sequence[NDArray[Any]]) -> FloatArray:
    tempered = [
        log_softmax(values, temperature=temperature)
        for values, temperature in zip(logits, fitted.temperatures, strict=True)
    ]
    return apply(fitted.calibration, pool_logits(fitted.pool, tempered, np.array(fitted.weights)))
