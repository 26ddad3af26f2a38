"""What the journeys tell a person on the way, and what they leave at the end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from automl_car.ensemble_records import Ensemble, Estimate
from automl_car.fold_records import Epoch, FoldTask, Machine, Progress
from automl_car.search import job


class View(job.View, Protocol):
    """What the journeys tell the person in front of them."""

    def progress(self, text: str, done: int, total: int) -> None:
        """How far a longer piece of work is."""

    def trained(self, task: FoldTask, message: Epoch | Progress) -> None:
        """News from the fold in flight; comes from another thread."""

    def search_begins(self, study: str, trials: int, deadline: float | None, machine: Machine) -> None:
        """All is prepared; trials begin."""


@dataclass(frozen=True)
class Outcome:
    """What a journey leaves.

    Attributes:
        study: its name.
        complete, pruned, failed: trials of the study in all.
        best_trial, best_log_loss: of the best complete trial; None without one.
        ensemble: of at most top-k members; None while no fold is finished.
        submission: the file, or None when there is no test set.
        partial: why the ensemble's numbers are of some photos alone; empty where they are of all.
        rehearsal: what the contest's scorer makes of the out-of-fold predictions; None where that was not asked for, or
            where there is no sample submission.
        kept: why the submission in the study's folder was not replaced by this ensemble's; empty where it was.
    """

    study: str
    complete: int
    pruned: int
    failed: int
    best_trial: int | None
    best_log_loss: float | None
    ensemble: Ensemble | None
    submission: Path | None
    partial: str = ""
    rehearsal: float | None = None
    kept: str = ""


def describe(built: Ensemble, partial: str = "") -> str:
    """One line about an ensemble; `partial` is that of its outcome."""
    members = ", ".join(f"{member.name} ({member.backbone}) {member.weight:.2f}" for member in built.members)
    return (
        f"ensemble log loss {built.nested_log_loss:.4f} ± {1.96 * built.standard_error:.4f} out of fold "
        f"(best single trial {built.best_single:.4f}): {members}{partial and f'; {partial}'}"
    )


def to_json(built: Ensemble) -> dict[str, Any]:
    """What ensemble.json and `--json` hold."""
    return {
        "log_loss": built.nested_log_loss,
        "standard_error": built.standard_error,
        "log_loss_fitted_on_the_same_rows": built.log_loss,
        "best_single": built.best_single,
        "pool": built.pool,
        "temperature": built.temperature,
        "uniform": built.uniform,
        "calibration": built.calibration,
        "rows": built.rows,
        "estimate": _estimate_json(built.estimate),
        "alternatives": {alternative.name: alternative.log_loss for alternative in built.alternatives},
        "members": [
            {
                "name": member.name,
                "backbone": member.backbone,
                "temperature": member.temperature,
                "weight": member.weight,
                "log_loss": member.log_loss,
                "gain": member.gain,
                "recipe_id": member.recipe_id,
                "folds": list(member.folds),
                "views": member.views,
            }
            for member in built.members
        ],
    }


def _estimate_json(estimate: Estimate) -> dict[str, Any]:
    known = {
        "log_loss": estimate.log_loss,
        "interval_95": list(estimate.interval),
        "correction_for_choosing": estimate.choice,
    }
    if not estimate.test_rows:
        return known
    return {
        **known,
        "gain_of_averaging_fold_models": estimate.averaging,
        "test_rows": estimate.test_rows,
        "test_log_loss": estimate.test_log_loss,
        "test_range_95": list(estimate.test_range),
    }


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """What `search --json` and `ensemble --json` print."""
    return {
        "study": outcome.study,
        "complete": outcome.complete,
        "pruned": outcome.pruned,
        "failed": outcome.failed,
        "best_trial": outcome.best_trial,
        "best_log_loss": outcome.best_log_loss,
        "ensemble": to_json(outcome.ensemble) if outcome.ensemble else None,
        "submission": str(outcome.submission) if outcome.submission else None,
        "partial": outcome.partial,
        "rehearsal": outcome.rehearsal,
        "kept": outcome.kept,
    }
