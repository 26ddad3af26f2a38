"""TPE in a space in which a trial has some of the parameters only: those of its backbone, of its augmentation.

Parameters that trials always had together are a group, and TPE chooses a group at once (multivariate TPE: Falkner et
al., BOHB, ICML 2018; groups as with Optuna's `group=True`). Other than there, a group is chosen when the trial first
asks for one of it, without what is settled by then, not all groups before it begins; and its trials are ranked among
themselves. In a study whose best trials are all heads, TPE otherwise takes no fine-tuning for good, and proposes their
rates at random.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from automl_car.search.shelf import Shelves, shelves_of


class GroupedSampler(BaseSampler):
    """Proposes what `sampler` does for one group after the other; for one trial only.

    Of a long study, it looks at the best and the latest trials of each group (`shelf.py`), and at all that run.

    Args:
        sampler: chooses parameters that all trials have.
    """

    def __init__(self, sampler: BaseSampler) -> None:
        self._sampler = sampler
        self._chosen: dict[str, tuple[BaseDistribution, Any]] = {}
        self._given: set[str] = set()  # names of what was asked for
        self._shelves: Shelves | None = None

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        distribution, value = self._chosen.pop(param_name, (None, None))
        if param_name in self._given:
            self._chosen.clear()  # who asks again wants another value, and others that go with it
        self._given.add(param_name)
        if distribution == param_distribution:
            return value
        shelves = self._shelves = self._shelves or shelves_of(study)
        having = shelves.having(param_name).best_and_latest()
        part: Any = _Part(study, having, param_name)
        always = group_of(param_name, having, shelves.all.latest())
        settled = trial.params.keys() | self._chosen.keys()
        group = {name: one for name, one in always.items() if not one.single() and name not in settled}
        group[param_name] = param_distribution
        chosen = self._sampler.sample_relative(part, trial, dict(sorted(group.items())))
        if not chosen:  # there are too few trials to learn from
            return self._sampler.sample_independent(part, trial, param_name, param_distribution)
        self._chosen |= {name: (group[name], value) for name, value in chosen.items()}
        return self._chosen.pop(param_name)[1]

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self._sampler.before_trial(study, trial)

    def after_trial(self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Any) -> None:
        self._sampler.after_trial(study, trial, state, values)


class _Part:
    """A study that shows the ended trials of one group, and those of it that run."""

    def __init__(self, study: optuna.Study, ended: Sequence[FrozenTrial], name: str) -> None:
        self._whole = study
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        both = (*ended, *(trial for trial in running if name in trial.params))
        self._trials = sorted(both, key=lambda trial: trial.number)
        self._storage = _Silent()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole, name)

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        return [trial for trial in self._trials if states is None or trial.state in states]


class _Silent:
    """Where Optuna shares what it has chosen with other processes that ask: there is one only."""

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        pass


def group_of(name: str, having: Sequence[FrozenTrial], all_: Sequence[FrozenTrial]) -> dict[str, BaseDistribution]:
    """The parameters that trials had whenever they had this one, and never without it; as the latest trial had them.

    Args:
        having: trials that have it.
        all_: trials with it and without it; of a long study the latest will do.
    """
    if not having:
        return {}
    latest = having[-1].distributions
    always = set(latest)
    for trial in having:
        always &= trial.params.keys()
    for trial in all_:
        if name not in trial.params:
            always -= trial.params.keys()
    return {each: latest[each] for each in always}
