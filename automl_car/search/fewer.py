"""A sampler that looks at a part of a long study: what it costs to choose grows with the trials that it looks at.

TPE takes the best trials, a tenth of all and at most 25, for good, and compares them with the others, of which it
weighs older ones less (Bergstra et al., Algorithms for Hyper-Parameter Optimization, NIPS 2011; Optuna's
`default_gamma`, `default_weights`). From 250 trials on the good ones are 25 however many there are; here they stay the
same 25, and of the others the latest are taken. Shorter studies are not touched.
"""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

MOST = 250
_BEST = 50  # more than TPE takes for good, so that those are the same
_ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


class FewerTrials(BaseSampler):
    """Proposes what `sampler` does when it looks at the best and the latest trials; for one trial only.

    Args:
        most: trials that it looks at, besides those that run.
    """

    def __init__(self, sampler: BaseSampler, most: int = MOST) -> None:
        self._sampler = sampler
        self._most = most
        self._view: Any = None

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._sampler.infer_relative_search_space(self._part(study), trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._sampler.sample_relative(self._part(study), trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._sampler.sample_independent(self._part(study), trial, param_name, param_distribution)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self._sampler.before_trial(study, trial)

    def after_trial(self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Any) -> None:
        self._sampler.after_trial(study, trial, state, values)

    def _part(self, study: optuna.Study) -> Any:
        if self._view is None:
            ended = study.get_trials(deepcopy=False, states=_ENDED)
            self._view = study if len(ended) <= self._most else _Part(study, best_and_latest(ended, self._most))
        return self._view


class _Part:
    """A study that shows some of its ended trials, and all that run."""

    def __init__(self, study: optuna.Study, ended: Sequence[FrozenTrial]) -> None:
        self._whole = study
        self._ended = ended

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole, name)

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        ended = [trial for trial in self._ended if states is None or trial.state in states]
        if states is not None and TrialState.RUNNING not in states:
            return ended
        running = self._whole.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return sorted((*ended, *running), key=lambda trial: trial.number)


def best_and_latest(ended: Sequence[FrozenTrial], most: int) -> list[FrozenTrial]:
    """So many of the trials, in the order of their numbers."""
    ranked = sorted(ended, key=_rank)
    best, others = ranked[:_BEST], ranked[_BEST:]
    latest = sorted(others, key=lambda trial: trial.number)[len(others) - (most - len(best)) :]
    return sorted((*best, *latest), key=lambda trial: trial.number)


def _rank(trial: FrozenTrial) -> tuple[int, int, float]:
    """Best first, as TPE ranks: complete ones by value, then pruned ones by how far they came, then by value."""
    if trial.state == TrialState.COMPLETE:
        return 0, 0, trial.value if trial.value is not None else math.inf
    if not trial.intermediate_values:
        return 1, 1, 0.0
    step, value = max(trial.intermediate_values.items())
    return 1, -step, math.inf if math.isnan(value) else value
