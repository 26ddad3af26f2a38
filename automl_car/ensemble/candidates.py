"""Reads what trials left in the fold store and makes candidates of them: logits in, and no code of any plugin."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
from numpy.typing import NDArray

from automl_car.ensemble.view_counts import ViewLosses, choose_view_counts
from automl_car.ensemble_records import Candidate
from automl_car.records import Dataset, Folds, IntArray
from automl_car.store import read_logits, read_result


def read_candidate(
    name: str, backbone: str, directory: Path, folds: Sequence[int], dataset: Dataset, *, most_views: int = 0
) -> Candidate:
    """The candidate of one trial.

    Args:
        name: what reports call it.
        backbone: for reports.
        directory: the trial's folder in the fold store.
        folds: finished folds; all of them for a complete trial.
        dataset: for the shapes.
        most_views: of each photo that its predictions may be the mean of; 0: as many as there are.

    Returns:
        Out-of-fold logits of the rows of those folds, ascending; test logits are the mean over the fold models. Both
        are from as many views as `choose_view_counts` says, and mapped into memory, so that a study of many trials
        takes no more of it than one of few.

    Raises:
        StoreError: a fold is missing or damaged.
    """
    oof = np.empty((len(dataset.train_paths), dataset.num_classes), np.float32)
    test = np.zeros((len(dataset.test_paths), dataset.num_classes), np.float32)
    answered = np.zeros(len(oof), np.bool_)
    views = choose_view_counts({fold: _view_losses(directory / f"fold-{fold}", most_views) for fold in folds})
    for fold in folds:
        stored = read_logits(directory / f"fold-{fold}", views=views.oof[fold])
        oof[stored.rows] = stored.oof
        answered[stored.rows] = True
        if views.oof[fold] != views.test and len(test):
            stored = read_logits(directory / f"fold-{fold}", views=views.test)
        # Logits are averaged, not probabilities: the temperature that is fitted to single fold models then fits their
        # mean too. On models of the Hecto AI challenge the two differed by 0.0003.
        if len(test):
            test += stored.test / len(folds)
    oof = oof if answered.all() else oof[answered]
    return Candidate(
        name,
        backbone,
        _on_disk(oof, directory),
        _on_disk(test, directory),
        recipe_id=directory.name,
        folds=tuple(sorted(folds)),
        views=views.test,
    )


def is_finite(candidate: Candidate) -> bool:
    """Whether all logits are numbers. No fold is stored whose logits are not, but the files may be of anyone."""
    return all(np.isfinite(logits).all() for logits in (candidate.oof_logits, candidate.test_logits))


def _view_losses(directory: Path, most: int) -> ViewLosses:
    result = read_result(directory, check_files=False)
    known = result.view_losses if result else ()
    return tuple((views, loss) for views, loss in known if views <= most) if most else known


def _on_disk(logits: NDArray[np.float32], directory: Path) -> NDArray[np.float32]:
    """The same logits in a nameless file that vanishes with them; in memory, where that cannot be written.

    The file lies in the fold store: the system's folder for such files is memory itself on many machines.
    """
    if not len(logits):  # no file of 0 bytes can be mapped
        return logits
    try:
        with TemporaryFile(dir=directory) as file:
            file.write(logits.data)
            file.flush()
            return np.memmap(file, np.float32, "r", shape=logits.shape).view(np.ndarray)
    except OSError:
        return logits


def rows_of(folds: Folds, finished: Sequence[int]) -> IntArray:
    """Training rows, ascending, that the finished folds validate on."""
    return np.flatnonzero(np.isin(folds.assignment, list(finished)))
