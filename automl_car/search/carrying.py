"""Carries a trial from one space of a study into another one, so that the sampler goes on learning from it.

What a trial trained stays as it is: its number, its log loss, its folds, its recipe. What changes is what Optuna knows
of it: each parameter gets the distribution that the new space has for it. Which those are, `suggest_recipe` itself
says: it is given a trial that answers with what is known, and writes down what it was asked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, TypeGuard

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState

from automl_car.records import Recipe
from automl_car.search.space import Space, suggest_recipe, values_of
from automl_car.search.study import FIXED, INTERRUPTED, NOT_OFFERED, OVERRIDES

_FIELDS = frozenset(field.name for field in fields(Recipe))
_RATES = ("lr_multiplier", "head.lr_multiplier")


def carry(trial: FrozenTrial, old: Mapping[str, Any], space: Space, now: datetime) -> FrozenTrial:
    """The trial as the study of the new space holds it.

    A parameter that the space has come to leave open gets the value that the recipe had; one whose value the space no
    longer offers is left out. A trial that a dead driver left running becomes an interrupted one, and so does one that
    waits for what is no longer there; `close_interrupted` takes up the former again.

    Args:
        old: the space that the trial was asked from, as `Space.to_json` gives it.
        space: the new one.
        now: local time, at which an unfinished trial is taken to have ended.
    """
    asked = _Asked(_known_values(trial, old, space))
    tuning = asked.values.get("tuning")
    suggest_recipe(asked, space, {"tuning": tuning} if tuning and tuning not in space.tunings else {})
    gone = _is_unfinished(trial) and not _is_offered(trial, asked.values, space)
    state = _state(trial, gone=gone)
    waits = state == TrialState.WAITING
    return FrozenTrial(
        number=trial.number,
        state=state,
        value=None,
        values=trial.values if state != TrialState.FAIL else None,
        datetime_start=trial.datetime_start if waits else trial.datetime_start or now,
        datetime_complete=None if waits else trial.datetime_complete or now,
        params={} if waits else asked.params,
        distributions={} if waits else asked.distributions,
        user_attrs=_user_attrs(trial, state, gone=gone),
        system_attrs=_system_attrs(trial, asked, gone=gone),
        intermediate_values=trial.intermediate_values,
        trial_id=-1,  # the storage gives it one
    )


# ---- what is known of a trial ---------------------------------------------------------------------------------------


def _known_values(trial: FrozenTrial, old: Mapping[str, Any], space: Space) -> dict[str, Any]:
    """Values by parameter name: those that the trial was asked for, and those that were settled in its space."""
    own = {**trial.system_attrs.get(FIXED, {}), **trial.params}
    settled = _settled_values(old)
    stored = trial.user_attrs.get("recipe")
    if stored is None:
        return {**settled, **own, **_overridden_tuning(trial)}
    recipe = Recipe.from_json({name: value for name, value in stored.items() if name in _FIELDS})
    derived = values_of(recipe, space)
    # What was overridden in the recipe is the trial's own here too: the sampler was told so from the beginning.
    return {**derived, **own, **_rate(derived, {**settled, **own})}


def _rate(derived: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, float]:
    """The learning rate's multiple: as the trial was told, unless what it is a multiple of has changed since."""
    name = next((name for name in _RATES if name in derived), None)
    if name is None:
        return {}
    same = name in told and math.isclose(told[name], derived[name], rel_tol=1e-9)  # rounding may leave its range
    return {name: told[name] if same else derived[name]}


def _overridden_tuning(trial: FrozenTrial) -> dict[str, Any]:
    """The tuning, where it was settled before the trial was asked: other parameters depend on it."""
    overrides = trial.user_attrs.get(OVERRIDES, {})
    return {"tuning": overrides["tuning"]} if "tuning" in overrides else {}


def _settled_values(space: Mapping[str, Any]) -> dict[str, Any]:
    """What a space left no choice in: such a trial would have had it, had it begun."""
    lists = {"tuning": "tunings", "backbone": "backbones", "augmentation": "augmentations", "head.views": "views"}
    only = {name: space[key][0] for name, key in lists.items() if len(space.get(key, ())) == 1}
    return only | {name: value for name, value in space.get("ranges", {}).items() if not isinstance(value, list)}


# ---- what the new space makes of it ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Asked:
    """A trial whose parameters are known beforehand; it keeps those that the space offers, as the space has them."""

    values: Mapping[str, Any]
    params: dict[str, Any] = field(default_factory=dict)
    distributions: dict[str, BaseDistribution] = field(default_factory=dict)

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        value = self.values.get(name)
        if not _is_within(value, low, high):
            return low
        return float(self._keep(name, float(value), FloatDistribution(low, high, log=log)))

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        value = self.values.get(name)
        if not _is_within(value, low, high) or value != int(value):
            return low
        return int(self._keep(name, int(value), IntDistribution(low, high, log=log)))

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        value = self.values.get(name)
        if not any(choice == value and type(choice) is type(value) for choice in choices):
            return choices[0]
        return self._keep(name, value, CategoricalDistribution(choices))

    def _keep(self, name: str, value: Any, distribution: BaseDistribution) -> Any:
        self.params[name], self.distributions[name] = value, distribution
        return value


def _is_within(value: Any, low: float, high: float) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


# ---- trials that go on ----------------------------------------------------------------------------------------------


def _is_unfinished(trial: FrozenTrial) -> bool:
    """Whether the trial is still to be trained, or to be taken up again."""
    return not trial.state.is_finished() or bool(trial.user_attrs.get(INTERRUPTED))


def _is_offered(trial: FrozenTrial, values: Mapping[str, Any], space: Space) -> bool:
    """Whether the space still has what the trial is made of; what is not known of it is the sampler's choice."""
    tuning = values.get("tuning", space.tunings[0])
    offers = [
        tuning in space.tunings or bool(_overridden_tuning(trial)),
        values.get("backbone", space.backbones[0]) in space.backbones,
        tuning == "head" or values.get("augmentation", space.augmentations[0]) in space.augmentations,
    ]
    return all(offers)


def _state(trial: FrozenTrial, *, gone: bool) -> TrialState:
    if trial.state == TrialState.WAITING:
        return TrialState.FAIL if gone else TrialState.WAITING
    return TrialState.FAIL if trial.state == TrialState.RUNNING else trial.state


def _user_attrs(trial: FrozenTrial, state: TrialState, *, gone: bool) -> dict[str, Any]:
    attributes = {name: value for name, value in trial.user_attrs.items() if name != NOT_OFFERED}
    if state != trial.state:
        attributes[INTERRUPTED] = True
    if gone:
        attributes |= {"reason": "the search no longer offers what it is made of"} | attributes | {NOT_OFFERED: True}
    return attributes


def _system_attrs(trial: FrozenTrial, asked: _Asked, *, gone: bool) -> dict[str, Any]:
    """Of an unfinished trial all parameters are kept as settled, so that it goes on as it was.

    Of a finished one those that were settled or are new: by them Optuna knows that a default was tried already.
    """
    settled = trial.system_attrs.get(FIXED)
    if _is_unfinished(trial):
        kept = {**(settled or {}), **trial.params} if gone else asked.params
    elif settled is None:
        return dict(trial.system_attrs)
    else:
        kept = {name: value for name, value in asked.params.items() if name in settled or name not in trial.params}
    return {**trial.system_attrs, FIXED: kept}
