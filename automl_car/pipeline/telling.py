"""From a study to its story: what a person reads of a search, and the pictures of it. Nothing is written."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from automl_car.config import Config
from automl_car.data.audit import Audit
from automl_car.data.prepared import read_audit
from automl_car.ensemble_records import Member
from automl_car.errors import StoreError
from automl_car.fold_records import FoldResult
from automl_car.pipeline.finished_folds import FinishedFolds
from automl_car.pipeline.pooling import Pooled
from automl_car.report.story import Curves, Story, ToldTrial
from automl_car.report.story_plots import curves_plot, parallel_plot, timeline_plot
from automl_car.search.evidence import fold_losses
from automl_car.search.study import INTERRUPTED, state_word
from automl_car.store import read_result

_ENOUGH_FOR_IMPORTANCES = 8  # complete trials


def tell(study: optuna.Study, name: str, finished: FinishedFolds, pooled: Pooled) -> Story:
    """The story of a study.

    Args:
        name: of the study.
        finished: its folds.
        pooled: its ensemble.
    """
    trials = [trial for trial in study.get_trials(deepcopy=False) if trial.state != TrialState.WAITING]
    first = min((trial.datetime_start for trial in trials if trial.datetime_start), default=None)
    results = {member.name: dict(_results(finished, member)) for member in pooled.ensemble.members}
    settings = study.user_attrs.get("settings", {})
    return Story(
        study=name,
        folds=finished.folds.count,
        trials=tuple(_told(trial, first) for trial in trials),
        ensemble=pooled.ensemble,
        partial=pooled.partial,
        curves=tuple(_curves(member, results[member.name]) for member in pooled.ensemble.members),
        importances=_importances(study),
        audit=tuple(_photos(read_audit(finished.directory))),
        versions=_versions(results),
        machine=str(study.user_attrs.get("machine", "")),
        command=_command(name, settings, len(trials)),
        settings=_changed(settings),
    )


def story_pictures(story: Story, study: optuna.Study) -> dict[str, bytes]:
    """PNG files by name; those that there is nothing to show for are left out."""
    pictures = {}
    if any(trial.ended is not None for trial in story.trials):
        pictures["timeline.png"] = timeline_plot(story.trials)
    curves = [member for member in story.curves if any(len(losses) > 1 for losses in member.by_fold.values())]
    if curves:
        pictures["curves.png"] = curves_plot(curves)
    if len(story.importances) > 1:
        pictures["parallel.png"] = parallel_plot(study, [name for name, _ in story.importances])
    return pictures


# ---- trials ---------------------------------------------------------------------------------------------------------


def _told(trial: FrozenTrial, first: datetime | None) -> ToldTrial:
    attributes = trial.user_attrs
    word = state_word(trial.state, interrupted=bool(attributes.get(INTERRUPTED)))
    return ToldTrial(
        number=trial.number,
        state=word,
        recipe=_recipe(attributes),
        tuning=str(attributes.get("tuning", "")),
        log_loss=trial.value if trial.state == TrialState.COMPLETE else None,
        began=_since(first, trial.datetime_start),
        ended=_since(first, trial.datetime_complete),
        seconds=float(attributes.get("seconds") or 0.0),
        fold_losses=fold_losses(trial),
        reason=str(attributes.get("reason", "")),
    )


def _since(first: datetime | None, moment: datetime | None) -> float | None:
    return None if first is None or moment is None else (moment - first).total_seconds()


def _recipe(attributes: Mapping[str, Any]) -> str:
    if "backbone" not in attributes:
        return ""
    size, tuning, rate = (attributes.get(name) for name in ("image_size", "tuning", "learning_rate"))
    words = f"{attributes['backbone']} at {size} px, {tuning}"
    augmented = f", {attributes.get('augmentation')}" if tuning == "full" else ""
    return f"{words}{augmented}, learning rate {float(rate or 0):.2g}"


def _results(finished: FinishedFolds, member: Member) -> Iterator[tuple[int, FoldResult]]:
    for fold in member.folds:
        directory = finished.directory / member.recipe_id / f"fold-{fold}"
        try:
            result = read_result(directory, check_files=False)
        except StoreError:  # the ensemble says so where it matters
            continue
        if result is not None:
            yield fold, result


def _curves(member: Member, results: Mapping[int, FoldResult]) -> Curves:
    by_fold = {fold: tuple(epoch.judged for epoch in result.curve) for fold, result in results.items()}
    return Curves(member.name, member.backbone, by_fold)


def _importances(study: optuna.Study) -> tuple[tuple[str, float], ...]:
    """By Optuna, of the parameters that all complete trials have; none for few trials or parameters."""
    if len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))) < _ENOUGH_FOR_IMPORTANCES:
        return ()
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    try:
        found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    except (ValueError, RuntimeError):  # Optuna's words for: nothing differs between them
        return ()
    return tuple((name, float(share)) for name, share in found.items() if share > 0)


# ---- what it was made of --------------------------------------------------------------------------------------------


def _photos(audit: Audit) -> Iterator[str]:
    fewest, _, most = audit.photos_per_class
    yield f"{audit.train_photos} training photos ({fewest:.0f} to {most:.0f} a class), {audit.test_photos} test photos"
    low, middle, high = audit.width
    yield f"{low:.0f} to {high:.0f} px wide, {middle:.0f} in the middle"
    others = [f"{count} {mode}" for mode, count in audit.modes if mode != "RGB"]
    if others:
        yield f"colour modes other than RGB, converted: {', '.join(others)}"
    if audit.quarantined:
        yield f"{len(audit.quarantined)} training photos cannot be decoded and were left out: quarantine.csv"
    if audit.broken_test:
        yield f"{len(audit.broken_test)} test photos cannot be decoded; their answer is the classes' shares"
    copies = sum(len(group.paths) for group in audit.duplicates)
    if copies:
        yield f"{copies} training photos show the same as another one; copies are always in one fold"
    if audit.conflicts:
        yield f"{len(audit.conflicts)} pictures are there under two labels"
    yield from audit.notes


def _versions(results: Mapping[str, Mapping[int, FoldResult]]) -> Mapping[str, str]:
    every = [result.versions for folds in results.values() for result in folds.values()]
    return every[0] if every else {}


def _command(study: str, settings: Mapping[str, Any], trials: int) -> str:
    search = settings.get("search", {})
    wanted = search.get("trials") or trials
    words = ["automl-car", "search", "--trials", str(wanted), "--study", study, "--seed", str(search.get("seed", 0))]
    return shlex.join(words)


def _changed(settings: Mapping[str, Any]) -> dict[str, str]:
    """Settings that are not at their default; those that the command names are left out."""
    named = {"search.trials", "search.study", "search.seed"}
    changed = {}
    for section, defaults in Config().model_dump(mode="json").items():
        for key, default in defaults.items():
            value = settings.get(section, {}).get(key, default)
            if value != default and f"{section}.{key}" not in named:
                changed[f"{section}.{key}"] = str(value)
    return changed
