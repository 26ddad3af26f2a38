"""What a search did, as a person wants to read it: its trials over time, what pruning saved, what mattered."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field

from automl_car.ensemble_records import Ensemble


@dataclass(frozen=True)
class ToldTrial:
    """One trial.

    Attributes:
        state: complete, pruned, failed or stopped.
        recipe: in a few words.
        tuning: head or full.
        log_loss: of a complete trial.
        began, ended: seconds since the first trial began; None where that is unknown.
        seconds: that its folds took.
        fold_losses: log loss by finished fold.
        reason: why it ended early; empty for complete ones.
    """

    number: int
    state: str
    recipe: str
    tuning: str
    log_loss: float | None
    began: float | None
    ended: float | None
    seconds: float
    fold_losses: Mapping[int, float]
    reason: str = ""


@dataclass(frozen=True)
class Curves:
    """How the folds of a member were learnt: for each fold, the log loss after each epoch."""

    name: str
    backbone: str
    by_fold: Mapping[int, tuple[float, ...]]


@dataclass(frozen=True, eq=False)
class Story:
    """A study, told.

    Attributes:
        study: its name.
        folds: of each complete trial.
        trials: by number.
        ensemble: of its best trials.
        partial: why the ensemble's numbers are of some photos alone; empty where they are of all.
        curves: of the ensemble's members.
        importances: share of the spread of complete trials' log losses by parameter, largest first; empty for few.
        audit: sentences on the photos.
        versions: of what trained the folds, by package.
        machine: what they were trained on.
        command: that comes to the same; the settings are in `settings`.
        settings: those that are not at their default, by dotted name.
    """

    study: str
    folds: int
    trials: tuple[ToldTrial, ...]
    ensemble: Ensemble
    partial: str
    curves: tuple[Curves, ...] = ()
    importances: tuple[tuple[str, float], ...] = ()
    audit: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    machine: str = ""
    command: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)

    def count(self, state: str) -> int:
        """Trials that ended so."""
        return sum(trial.state == state for trial in self.trials)

    @property
    def seconds(self) -> float:
        """That all folds took."""
        return sum(trial.seconds for trial in self.trials)

    @property
    def saved(self) -> tuple[int, float]:
        """Folds that pruned trials were spared, and seconds that those would have taken."""
        pruned = [trial for trial in self.trials if trial.state == "pruned"]
        missing = [(trial.tuning, self.folds - len(trial.fold_losses)) for trial in pruned]
        paces = {tuning: self._pace(tuning) for tuning, _ in missing}
        return sum(folds for _, folds in missing), sum(folds * paces[tuning] for tuning, folds in missing)

    def _pace(self, tuning: str) -> float:
        """Seconds of a fold: the median, as the first fold of a backbone also computes the features for all others."""
        paces = [
            trial.seconds / len(trial.fold_losses)
            for trial in self.trials
            if trial.tuning == tuning and trial.fold_losses
        ]
        return statistics.median(paces) if paces else 0.0
