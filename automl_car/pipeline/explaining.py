"""From a study's ensemble to where its log loss comes from: numbers alone; nothing is written."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray

from automl_car.data.listing import list_photos, nfc
from automl_car.data.prepared import read_audit
from automl_car.ensemble.calibration import Calibration
from automl_car.ensemble.candidates import read_candidate, rows_of
from automl_car.ensemble.fitting import pool_of, predict
from automl_car.ensemble.reliability import Reliability, measure_reliability
from automl_car.ensemble_records import Member
from automl_car.errors import DataError
from automl_car.pipeline.finished_folds import FinishedFolds
from automl_car.pipeline.pooling import Pooled
from automl_car.records import Dataset, FloatArray, IntArray
from automl_car.report import labels, losses
from automl_car.report.loss_report import LossReport
from automl_car.report.losses import AliasLoss, Answers


def explain_losses(study: optuna.Study, name: str, finished: FinishedFolds, pooled: Pooled) -> LossReport:
    """Where the loss of an ensemble comes from.

    Args:
        study: that the ensemble is of; its settings name the classes that count as one.
        name: of the study.
        finished: the folds that the ensemble was built from.
        pooled: the ensemble.

    Raises:
        StudyError: the audit is missing or damaged.
        StoreError: a fold is damaged.
    """
    dataset, ensemble = finished.dataset, pooled.ensemble
    answers = losses.judge(
        dataset.class_names,
        tuple(dataset.train_paths[row] for row in pooled.rows.tolist()),
        finished.labels[pooled.rows],
        ensemble.oof_probabilities,
    )
    aliases, note = _aliases(study, dataset, answers)
    return LossReport(
        study=name,
        headline=losses.headline(answers, ensemble.standard_error),
        confusions=losses.confusions(answers),
        hard_photos=losses.hard_photos(answers),
        classes=losses.class_losses(answers),
        aliases=aliases,
        suspects=labels.find_suspects(answers),
        duplicates=labels.conflicting_duplicates(read_audit(finished.directory).conflicts, answers),
        before=_reliability(_uncalibrated(finished, pooled), answers.labels),
        after=_reliability(answers.probabilities, answers.labels),
        partial=pooled.partial,
        notes=(note,) if note else (),
    )


def _reliability(probabilities: FloatArray, labels: IntArray) -> Reliability:
    return measure_reliability(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels)


def _uncalibrated(finished: FinishedFolds, pooled: Pooled) -> FloatArray:
    """Probabilities of the pool's rows by its weights, but without any temperature or uniform share."""
    members = pooled.ensemble.members
    fitted = pool_of(pooled.ensemble)
    plain = replace(fitted, temperatures=(1.0,) * len(members), calibration=Calibration(temperature=1.0, uniform=0.0))
    return predict(plain, (_oof_logits(finished, member, pooled.rows) for member in members))


def _oof_logits(finished: FinishedFolds, member: Member, rows: IntArray) -> NDArray[Any]:
    """Logits of these rows by a member, which may have finished more folds than they are of."""
    directory = finished.directory / member.recipe_id
    candidate = read_candidate(member.name, member.backbone, directory, member.folds, finished.dataset)
    return candidate.oof_logits[np.isin(rows_of(finished.folds, member.folds), rows)]


def _aliases(study: optuna.Study, dataset: Dataset, answers: Answers) -> tuple[tuple[AliasLoss, ...], str]:
    """How the photos under each name of a merged class do; and why that cannot be told, where it cannot."""
    settings = study.user_attrs.get("settings", {}).get("data", {})
    aliases: dict[str, str] = settings.get("class_aliases") or {}
    if not aliases:
        return (), ""
    try:
        photos = list_photos(dataset.root, settings.get("train", "train"))
    except DataError as error:
        reason = error.message.rstrip(".")
        return (), f"the names that count as one class are left out, as the photos cannot be listed: {reason}"
    written = {photo.path: photo.label for photo in photos}
    names = [written.get(path, "") for path in answers.paths]
    return losses.alias_losses(answers, names, {nfc(alias): nfc(name) for alias, name in aliases.items()}), ""
