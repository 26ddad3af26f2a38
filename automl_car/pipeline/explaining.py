"""From a study's ensemble to where its log loss comes from: numbers alone; nothing is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from automl_car.data.listing import list_photos, nfc
from automl_car.data.prepared import read_audit
from automl_car.ensemble.calibration import Calibration
from automl_car.ensemble.candidates import read_candidate, rows_of
from automl_car.ensemble.fitting import FittedPool, predict
from automl_car.errors import DataError
from automl_car.pipeline.ensembling import Built
from automl_car.records import Dataset, Ensemble, FloatArray, Folds, IntArray
from automl_car.report import labels, losses
from automl_car.report.loss_report import LossReport
from automl_car.report.losses import AliasLoss, Answers
from automl_car.report.reliability import reliability


def explain_losses(name: str, built: Built, ensemble: Ensemble, store: Path) -> LossReport:
    """Where the loss of an ensemble comes from.

    Args:
        name: of the study.
        built: what the ensemble was built from.
        ensemble: of `built`.
        store: the fold store of the study, checkpoints/<study>.

    Raises:
        StudyError: the audit is missing or damaged.
        StoreError: a fold is damaged.
    """
    dataset, rows = built.dataset, judged_rows(ensemble, built.folds)
    answers = losses.judge(
        dataset.class_names,
        tuple(dataset.train_paths[row] for row in rows.tolist()),
        np.asarray(dataset.labels, dtype=np.int64)[rows],
        ensemble.oof_probabilities,
    )
    aliases, note = _aliases(built, answers)
    return LossReport(
        study=name,
        headline=losses.headline(answers, ensemble.standard_error),
        confusions=losses.confusions(answers),
        hard_photos=losses.hard_photos(answers),
        classes=losses.class_losses(answers),
        aliases=aliases,
        suspects=labels.find_suspects(answers),
        duplicates=labels.conflicting_duplicates(read_audit(store).conflicts, answers),
        before=reliability(_uncalibrated(ensemble, store, dataset, built.folds, rows), answers.labels),
        after=reliability(answers.probabilities, answers.labels),
        partial=built.partial,
        notes=(note,) if note else (),
    )


def judged_rows(ensemble: Ensemble, folds: Folds) -> IntArray:
    """Training rows, ascending, of `Ensemble.oof_probabilities`: those of the folds that all members have finished."""
    finished = set.intersection(*(set(member.folds) for member in ensemble.members))
    rows = rows_of(folds, sorted(finished))
    assert len(rows) == ensemble.rows, (len(rows), ensemble.rows)
    return rows


def _uncalibrated(ensemble: Ensemble, store: Path, dataset: Dataset, folds: Folds, rows: IntArray) -> FloatArray:
    """Probabilities of these rows by the ensemble's pool and weights, but without any temperature or uniform share."""
    members = ensemble.members
    plain = FittedPool(
        members=tuple(range(len(members))),
        temperatures=(1.0,) * len(members),
        pool=ensemble.pool,
        weights=tuple(member.weight for member in members),
        calibration=Calibration(temperature=1.0, uniform=0.0),
    )
    candidates = (
        read_candidate(member.name, member.backbone, store / member.recipe_id, member.folds, dataset)
        for member in members
    )
    answered = (rows_of(folds, member.folds) for member in members)
    logits = (
        candidate.oof_logits[np.isin(having, rows)] for candidate, having in zip(candidates, answered, strict=True)
    )
    return predict(plain, logits)


def _aliases(built: Built, answers: Answers) -> tuple[tuple[AliasLoss, ...], str]:
    """How the photos under each name of a merged class do; and why that cannot be told, where it cannot."""
    settings = built.study.user_attrs.get("settings", {}).get("data", {})
    aliases: dict[str, str] = settings.get("class_aliases") or {}
    if not aliases:
        return (), ""
    try:
        photos = list_photos(built.dataset.root, settings.get("train", "train"))
    except DataError as error:
        reason = error.message.rstrip(".")
        return (), f"the names that count as one class are left out, as the photos cannot be listed: {reason}"
    written = {photo.path: photo.label for photo in photos}
    names = [written.get(path, "") for path in answers.paths]
    return losses.alias_losses(answers, names, {nfc(alias): nfc(name) for alias, name in aliases.items()}), ""
