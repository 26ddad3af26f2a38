"""What trackers are told of a search: frozen records of plain values.

A tracker is opened with a SearchBegan. The others follow in this order, those in brackets again and again, and those of
several trials may alternate:

    (TrialBegan · (EpochEnded · FoldEnded) · TrialEnded · EnsembleBuilt) · SearchEnded
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class SearchBegan:
    """Photos are read, and trials begin.

    Attributes:
        study: its name. A study may be searched many times; numbers of trials go on.
        folder: where this tracker keeps its files; it is there, and all studies of the workspace share it.
        trials: of the study in all, at most.
        device, machine, cores: what folds are trained on: "cpu", "cuda" or "mps", its name, and the host's cores.
        settings: of automl-car.yaml by section, as JSON values; without `search.storage`, which may hold a password.
    """

    study: str
    folder: Path
    trials: int = 0
    device: str = "cpu"
    machine: str = ""
    cores: int = 1
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class TrialBegan:
    """A recipe was chosen; `params` are its values by name, those of plugins as `<plugin>.<param>`."""

    trial: int
    params: Mapping[str, Any]


@dataclass(frozen=True)
class EpochEnded:
    """An epoch of a fold that is being trained.

    Attributes:
        trial, fold: from 0.
        epoch, epochs: from 1, and of the whole schedule; for a head, steps of its fit, from 0.
        train_loss: mean training loss, label smoothing and mixing included.
        log_loss: mean natural-log loss on the fold's validation photos, not calibrated.
        calibrated: the log loss after the one temperature that fits those photos; None for heads.
        seconds: since the fold began.
    """

    trial: int
    fold: int
    epoch: int
    epochs: int
    train_loss: float
    log_loss: float
    calibrated: float | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class FoldEnded:
    """A fold is finished: its calibrated log loss, and the seconds it took; `stored`: in an earlier run."""

    trial: int
    fold: int
    log_loss: float
    seconds: float
    stored: bool = False


@dataclass(frozen=True)
class TrialEnded:
    """A trial has ended.

    Attributes:
        state: complete, pruned, failed or stopped.
        log_loss: mean over its folds; None where it is not complete.
        reason: why it is not.
        params: as `TrialBegan`.
    """

    trial: int
    state: str
    log_loss: float | None
    reason: str
    params: Mapping[str, Any]


@dataclass(frozen=True)
class EnsembleBuilt:
    """The ensemble of the trials so far.

    Attributes:
        log_loss: cross-fitted, out of fold: the number to trust.
        low, high: its 95 % interval.
        weights: share of each member by its name, such as `trial 12`; heaviest first.
    """

    log_loss: float
    low: float
    high: float
    weights: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class SearchEnded:
    """The last event: the time to close files. `reason` is empty where the search came to its own end."""

    reason: str = ""


Event = TrialBegan | EpochEnded | FoldEnded | TrialEnded | EnsembleBuilt | SearchEnded
