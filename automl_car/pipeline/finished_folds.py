"""The finished folds of a study, with the photos that they are of; needs neither torch nor the plugins."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial

from automl_car.data.folds import read_folds
from automl_car.data.index import load_dataset
from automl_car.data.prepared import read_audit
from automl_car.data.sealed import whole
from automl_car.ensemble.candidates import read_candidate
from automl_car.ensemble_records import Candidate, Member
from automl_car.errors import StudyError
from automl_car.records import Dataset, FloatArray, Folds, IntArray
from automl_car.store import read_logits
from automl_car.workspace import Workspace

logger = logging.getLogger("automl_car")


@dataclass(frozen=True, eq=False)
class FinishedFolds:
    """The finished folds of a study, and the photos that they are of.

    Attributes:
        directory: checkpoints/<study>.
    """

    directory: Path
    dataset: Dataset
    folds: Folds

    @property
    def labels(self) -> IntArray:
        """Class indices (N,)."""
        return np.asarray(self.dataset.labels, dtype=np.int64)

    def candidate(self, trial: FrozenTrial, finished: Sequence[int], most_views: int = 0) -> Candidate:
        """What the ensemble knows of a trial, from at most so many views where there is a number."""
        attributes = trial.user_attrs
        directory = self.directory / attributes["recipe_id"]
        return read_candidate(
            f"trial {trial.number}",
            attributes["backbone"],
            directory,
            finished,
            self.dataset,
            most_views=most_views,
        )

    def test_logits(self, member: Member, fold: int) -> NDArray[Any]:
        """Logits (T, C) by the model of one fold; by all models on average where the member lacks that fold."""
        folds = (fold,) if fold in member.folds else member.folds
        logits = [read_logits(self._fold(member, done), views=member.views).test for done in folds]
        mean: NDArray[Any] = np.mean(logits, axis=0)
        return mean

    def with_answers(self, probabilities: FloatArray) -> FloatArray:
        """Probabilities (T, C) with the classes' shares in the rows of broken photos, whatever a pool made of them.

        A temperature that suits photos that were looked at would make them too certain.
        """
        try:
            broken = [problem.row for problem in read_audit(self.directory).broken_test]
        except StudyError as error:  # no reason to be without an ensemble: what the pool made of them is near
            logger.warning("answers for broken test photos are as the ensemble made them: %s", error)
            return probabilities
        counts = np.bincount(self.labels, minlength=probabilities.shape[1])
        answers = probabilities.copy() if broken else probabilities
        answers[broken] = counts / counts.sum()
        return answers

    def _fold(self, member: Member, fold: int) -> Path:
        return self.directory / member.recipe_id / f"fold-{fold}"


def open_folds(workspace: Workspace, study: str, data: tuple[Dataset, Folds] | None = None) -> FinishedFolds:
    """The finished folds of a study.

    Args:
        data: of the study, where they are at hand; else they are read.

    Raises:
        StudyError: there are none.
    """
    store = workspace.checkpoints(study)
    if not (store / "dataset.json").is_file():
        raise StudyError(f"`{store}` holds no trained folds of study `{study}`.", hint="run `automl-car search` first.")
    if data is None:
        dataset = load_dataset(store / "dataset.json")
        data = dataset, read_folds(whole(store / "folds.csv"), dataset, check_files=False)
    return FinishedFolds(store, *data)
