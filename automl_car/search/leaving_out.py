"""A sampler that keeps to a part of the choices, without the study noticing: its distributions stay as they are.

What it wraps is asked until it proposes what is allowed. That is its own choice, given that the rest is left out.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

_MOST_DRAWS = 50  # of a choice that has a share of 10 %, one in 200 comes to none


class LeavingOut(BaseSampler):
    """Proposes what `sampler` does, without some values.

    Args:
        excluded: values that are not proposed, by parameter.
        seed: for what is chosen when the sampler insists.
    """

    def __init__(self, sampler: BaseSampler, excluded: Mapping[str, frozenset[str]], seed: int) -> None:
        self._sampler = sampler
        self._excluded = excluded
        self._random = random.Random(seed)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        params = self._draw(lambda: self._sampler.sample_relative(study, trial, search_space))
        return {name: self._allowed(name, value, search_space[name]) for name, value in params.items()}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        def draw() -> dict[str, Any]:
            value = self._sampler.sample_independent(study, trial, param_name, param_distribution)
            return {param_name: value}

        return self._allowed(param_name, self._draw(draw)[param_name], param_distribution)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self._sampler.before_trial(study, trial)

    def after_trial(self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Any) -> None:
        self._sampler.after_trial(study, trial, state, values)

    def _draw(self, draw: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        params = draw()
        for _ in range(_MOST_DRAWS):
            if not any(self._is_excluded(name, value) for name, value in params.items()):
                break
            params = draw()
        return params

    def _allowed(self, name: str, value: Any, distribution: BaseDistribution) -> Any:
        if not self._is_excluded(name, value):
            return value
        assert isinstance(distribution, CategoricalDistribution)
        return self._random.choice([choice for choice in distribution.choices if not self._is_excluded(name, choice)])

    def _is_excluded(self, name: str, value: Any) -> bool:
        return value in self._excluded.get(name, ())
