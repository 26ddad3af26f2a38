"""What a study found, to be used and not told of: nothing is written."""

from __future__ import annotations

from dataclasses import dataclass

from automl_car.config import Config
from automl_car.ensemble_records import Candidate, Ensemble
from automl_car.errors import StudyError
from automl_car.pipeline.finished_folds import open_folds
from automl_car.pipeline.pooling import complete_candidates, pool_study
from automl_car.records import Dataset, Folds
from automl_car.search.opening import read_study
from automl_car.workspace import Workspace


@dataclass(frozen=True, eq=False)
class Found:
    """An ensemble, and what it is of.

    Attributes:
        ensemble: of at most top-k members.
        partial: why its numbers are of some photos alone; empty where they are of all.
        dataset, folds: of the study.
    """

    ensemble: Ensemble
    partial: str
    dataset: Dataset
    folds: Folds


def find_ensemble(workspace: Workspace, config: Config, *, study: str, top_k: int) -> Found:
    """The ensemble of a study.

    Raises:
        StudyError: there is no such study, or no fold of it is finished.
        StoreError: a fold that is needed is damaged.
    """
    _, finished, pooled = pool_study(workspace, config, study, top_k)
    return Found(pooled.ensemble, pooled.partial, finished.dataset, finished.folds)


def find_candidates(
    workspace: Workspace, config: Config, *, study: str, most_views: int = 0
) -> tuple[tuple[Candidate, ...], Dataset, Folds]:
    """The complete trials, the best first, equal recipes once; and the photos that they are of.

    Args:
        most_views: of each photo that their predictions may be the mean of; 0: as many as there are.

    Raises:
        StudyError: there is no such study, or no trial of it is complete.
        StoreError: a fold is damaged.
    """
    loaded = read_study(workspace.studies, study, config.search.storage)
    finished = open_folds(workspace, study)
    candidates = complete_candidates(loaded, finished, most_views)
    if not candidates:
        raise StudyError(f"No trial of study `{study}` is complete yet.", hint="let `automl-car search` go on.")
    return candidates, finished.dataset, finished.folds
