"""Draws the pictures of complete trials while the dashboard is open: a search itself has better things to do."""

from __future__ import annotations

import logging
import threading

import numpy as np
import optuna
from optuna.artifacts import FileSystemArtifactStore
from optuna.trial import FrozenTrial

from automl_car.ensemble.reliability import Reliability, measure_reliability
from automl_car.errors import AutomlCarError
from automl_car.fold_records import FoldResult
from automl_car.losses import centre, softmax
from automl_car.pipeline.finished_folds import FinishedFolds, open_folds
from automl_car.records import FloatArray, IntArray
from automl_car.report.fonts import Lettering, choose_lettering
from automl_car.report.losses import judge
from automl_car.report.story import Curves
from automl_car.report.trial_pictures import trial_pictures
from automl_car.search.artifacts import has_artifacts, put_artifacts
from automl_car.search.study import complete_trials
from automl_car.store import read_logits, read_result
from automl_car.workspace import Workspace

logger = logging.getLogger("automl_car")
_SECONDS = 10.0  # between looks for new trials


def artifact_store(workspace: Workspace, study: str) -> FileSystemArtifactStore:
    """Where the pictures of a study's trials lie; the folder is made."""
    folder = workspace.reports(study) / "artifacts"
    folder.mkdir(parents=True, exist_ok=True)
    return FileSystemArtifactStore(str(folder))


def illustrate_until(stop: threading.Event, workspace: Workspace, name: str, study: optuna.Study) -> None:
    """Draw what is missing, the best trials first, and again what comes later, until `stop` is set.

    Args:
        study: opened for this thread alone.
    """
    while not stop.is_set():
        try:
            illustrate(workspace, name, study, stop)
        except (AutomlCarError, OSError) as error:  # the dashboard is of use without pictures, too
            logger.warning("pictures of trials: %s", error)
        stop.wait(_SECONDS)


def illustrate(workspace: Workspace, name: str, study: optuna.Study, stop: threading.Event | None = None) -> int:
    """Draw the pictures of complete trials that have none yet; returns of how many.

    Args:
        name: of the study.
        stop: ends it before the next trial.

    Raises:
        StoreError: a fold is missing or damaged.
    """
    missing = [trial for trial in complete_trials(study) if not has_artifacts(study, trial)]
    if not missing:
        return 0
    finished = open_folds(workspace, name)
    lettering = choose_lettering(finished.dataset.class_names)
    store = artifact_store(workspace, name)
    done = 0
    for trial in missing:
        if stop is not None and stop.is_set():
            break
        put_artifacts(study, trial, store, _pictures(trial, finished, lettering))
        done += 1
    return done


def _pictures(trial: FrozenTrial, finished: FinishedFolds, lettering: Lettering) -> dict[str, bytes]:
    dataset, every = finished.dataset, range(finished.folds.count)
    directory = finished.directory / trial.user_attrs["recipe_id"]
    results = {fold: read_result(directory / f"fold-{fold}", check_files=False) for fold in every}
    raw = np.zeros((len(dataset.train_paths), dataset.num_classes))
    tempered = np.zeros_like(raw)
    for fold, result in results.items():
        stored = read_logits(directory / f"fold-{fold}")
        temperature = result.temperature if result else 1.0
        raw[stored.rows] = softmax(centre(stored.oof.astype(np.float64)))
        tempered[stored.rows] = softmax(centre(stored.oof.astype(np.float64) / temperature))
    labels = finished.labels
    answers = judge(dataset.class_names, dataset.train_paths, labels, tempered)
    curves = Curves(f"trial {trial.number}", trial.user_attrs["backbone"], _by_fold(results))
    before, after = (_reliability(probabilities, labels) for probabilities in (raw, tempered))
    return trial_pictures(curves, answers, before, after, dataset.root, lettering)


def _by_fold(results: dict[int, FoldResult | None]) -> dict[int, tuple[float, ...]]:
    return {
        fold: tuple(epoch.judged for epoch in result.curve) for fold, result in results.items() if result is not None
    }


def _reliability(probabilities: FloatArray, labels: IntArray) -> Reliability:
    return measure_reliability(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels)
