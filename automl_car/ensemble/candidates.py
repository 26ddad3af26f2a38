"""Reads what trials left in the fold store and makes candidates of them: logits in, and no code of any plugin."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from automl_car.records import Candidate, Dataset, Folds, IntArray
from automl_car.store import read_logits


def read_candidate(name: str, backbone: str, directory: Path, folds: Sequence[int], dataset: Dataset) -> Candidate:
    """The candidate of one trial.

    Args:
        name: what reports call it.
        backbone: for reports.
        directory: the trial's folder in the fold store.
        folds: finished folds; all of them for a complete trial.
        dataset: for the shapes.

    Returns:
        Out-of-fold logits of the rows of those folds, ascending; test logits are the mean over the fold models.

    Raises:
        StoreError: a fold is missing or damaged.
    """
    stored = [read_logits(directory / f"fold-{fold}") for fold in folds]
    rows = np.sort(np.concatenate([fold.rows for fold in stored]))
    oof = np.empty((len(rows), dataset.num_classes), np.float32)
    test = np.zeros((len(dataset.test_paths), dataset.num_classes), np.float32)
    for fold in stored:
        oof[np.searchsorted(rows, fold.rows)] = fold.oof
        # Logits are averaged, not probabilities: the temperature that is fitted to single fold models then fits their
        # mean too. On models of the Hecto AI challenge the two differed by 0.0003.
        if len(test):
            test += fold.test / len(stored)
    return Candidate(name, backbone, oof, test)


def rows_of(folds: Folds, finished: Sequence[int]) -> IntArray:
    """Training rows, ascending, that the finished folds validate on."""
    return np.flatnonzero(np.isin(folds.assignment, list(finished)))
