"""What a search is made of, what it tells the person in front of it, and how its trials end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import optuna
from optuna.trial import TrialState

from automl_car.catalog.records import PluginSources
from automl_car.fold_records import FoldResult, StepChoice
from automl_car.records import Folds, IntArray, Recipe
from automl_car.search.executor import Executor
from automl_car.search.pruning import PruningRule
from automl_car.search.space import Space
from automl_car.search.strikes import Strikes
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
    """How a trial ended: its state, its log loss when complete, why when not, and by whose plugin it failed.

    Attributes:
        cause: what would make other trials end like this one; where it is empty, `reason` tells failures apart.
        culprits: names of the plugins' backbones or augmentations that it failed by.
    """

    state: TrialState
    log_loss: float | None = None
    reason: str = ""
    interrupted: bool = False
    cause: str = ""
    culprits: tuple[str, ...] = ()

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
        deadline: `time.monotonic()` after which nothing is trained, or None; the time of day may be set meanwhile.
        seed, startup_trials: of the sampler.
        workers: processes that load photos, or None.
        parallel_trials: trials that wait for a fold at the same time at most; None: one for each slot of the executor.
        step: whether the fastest way to compute a step is measured, or the plain one is taken.
        checkpoint_seconds: an epoch that takes so long is kept on the disk until its fold is finished.
        strikes: of plugins that fail; it is what changes from trial to trial.
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
    parallel_trials: int | None = None
    step: StepChoice = "auto"
    checkpoint_seconds: float = 60.0
    strikes: Strikes = field(default_factory=Strikes)
    record: Callable[[optuna.Study], None] = lambda study: None
