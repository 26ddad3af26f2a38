"""What a search is made of, what it tells the person in front of it, and how its trials end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import optuna
from optuna.trial import TrialState

from automl_car.catalog.records import PluginSources
from automl_car.records import FoldResult, Folds, IntArray, Recipe, StepChoice
from automl_car.search.executor import Executor
from automl_car.search.pruning import PruningRule
from automl_car.search.space import Space
from automl_car.search.study import state_word


class View(Protocol):
    """What a search tells the person in front of it."""

    def note(self, text: str) -> None:
        """Something that a person would tell."""

    def trial_began(self, number: int, recipe: Recipe) -> None:
        """A recipe was chosen."""

    def fold_began(self, number: int, fold: int) -> None:
        """A fold goes to the executor."""

    def fold_ended(self, number: int, result: FoldResult, *, stored: bool) -> None:
        """A fold is finished, now or (`stored`) in an earlier run."""

    def trial_ended(self, number: int, outcome: Outcome) -> None:
        """The trial was told to the study."""


@dataclass(frozen=True)
class Outcome:
    """How a trial ended: its state, its log loss when complete, and why when not."""

    state: TrialState
    log_loss: float | None = None
    reason: str = ""
    interrupted: bool = False

    @property
    def word(self) -> str:
        """complete, pruned, failed or stopped."""
        return state_word(self.state, interrupted=self.interrupted)


@dataclass(frozen=True, eq=False)
class Job:
    """What stays the same from trial to trial.

    Attributes:
        rule: when a trial is pruned, or None.
        labels: class index of each training row.
        directory: checkpoints/<study>, the fold store.
        cache: folder of the image and feature caches.
        deadline: Unix time after which nothing is trained, or None.
        seed, startup_trials: of the sampler.
        workers: processes that load photos, or None.
        step: whether the fastest way to compute a step is measured, or the plain one is taken.
        record: called when the study has changed, to write it into its ledger.
    """

    study: optuna.Study
    space: Space
    executor: Executor
    rule: PruningRule | None
    folds: Folds
    labels: IntArray
    directory: Path
    cache: Path
    plugins: PluginSources
    seed: int = 0
    startup_trials: int = 10
    deadline: float | None = None
    workers: int | None = None
    step: StepChoice = "auto"
    record: Callable[[optuna.Study], None] = lambda study: None
