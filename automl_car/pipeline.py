"""The journeys: what happens, from end to end, when a person asks for a search or an ensemble."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import optuna
from filelock import FileLock, Timeout
from optuna.trial import TrialState

from automl_car.catalog.manager import Catalog, load_catalog
from automl_car.config import Config
from automl_car.data.audit import Audit
from automl_car.data.folds import read_folds
from automl_car.data.index import load_dataset, read_dataset
from automl_car.data.prepare import Prepared, prepare
from automl_car.data.sample import write_sample
from automl_car.ensemble.build import build_ensemble
from automl_car.ensemble.candidates import read_candidate, rows_of
from automl_car.ensemble.submission import write_submission
from automl_car.errors import ConfigError, StudyError, WeightsError
from automl_car.files import write_atomically
from automl_car.records import Candidate, Dataset, Ensemble, Epoch, Folds, FoldTask, IntArray, Machine, Progress, Tuning
from automl_car.search import driver, finale, space
from automl_car.search.executor import Executor, LocalExecutor
from automl_car.search.notes import note_study
from automl_car.search.overview import trials_csv
from automl_car.search.pruning import KthBestPruner, fold_losses
from automl_car.search.study import INTERRUPTED, complete_trials, load_study, open_study, storage_url
from automl_car.workspace import Workspace

# Of a time limit, what is kept back for the ensemble and the submission.
RESERVED_SHARE, RESERVED_SECONDS = 0.02, 10.0


class View(driver.View, Protocol):
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
    """

    study: str
    complete: int
    pruned: int
    failed: int
    best_trial: int | None
    best_log_loss: float | None
    ensemble: Ensemble | None
    submission: Path | None


# ---- search ---------------------------------------------------------------------------------------------------------


def search(workspace: Workspace, config: Config, *, sample: bool, view: View, log: Path) -> Outcome:
    """Search, then build the ensemble and write the submission.

    Args:
        sample: generate the sample photos, if they are not there, and search on them.
        log: file for what training processes print.

    Raises:
        AutomlCarError: the input is wrong, or the search cannot go on; what was trained is kept.
    """
    began = time.time()
    study_name = config.search.study or ("sample" if sample else "main")
    catalog = load_catalog(workspace.plugin_sources(config))
    catalog.require_whole()
    backbones = _pick_backbones(catalog, config, view)
    augmentations = _pick(
        "augmentations", config.search.augmentations, tuple(catalog.augmentations), catalog.augmentation
    )
    workspace.studies.mkdir(parents=True, exist_ok=True)
    with _only_one(workspace, study_name):
        executor = LocalExecutor(view.trained, log)
        try:
            prepared = _prepare(workspace, config, study_name, catalog, backbones, sample=sample, view=view)
            tunings = _tunings(config, executor)
            choices = space.make_space(
                catalog,
                backbones,
                augmentations,
                tunings,
                config.space,
                config.training,
                seed=config.search.seed,
                photo_side=int(min(prepared.audit.width[1], prepared.audit.height[1])),  # medians
            )
            job = _job(workspace, config, study_name, choices, prepared, executor, began)
            note_study(
                job.study,
                photos=len(prepared.dataset.train_paths),
                classes=prepared.dataset.num_classes,
                folds=prepared.folds.count,
                machine=executor.machine(),
            )
            view.search_begins(study_name, config.search.trials, job.deadline, executor.machine())
            _run(workspace, config, study_name, job, prepared, view)
        finally:
            executor.close()
    return ensemble(workspace, config, study=study_name, output=None, top_k=config.ensemble.top_k)


def _prepare(
    workspace: Workspace,
    config: Config,
    study: str,
    catalog: Catalog,
    backbones: tuple[str, ...],
    *,
    sample: bool,
    view: View,
) -> Prepared:
    if sample:
        view.note(f"sample photos of fictional cars: {workspace.sample}")
        write_sample(workspace.sample, seed=0)
    data = config.data
    dataset = read_dataset(
        workspace.sample if sample else workspace.data(config),
        train=data.train,
        test=data.test,
        sample_submission=data.sample_submission,
        class_aliases=data.class_aliases,
        exclude=data.exclude,
    )
    directory = workspace.checkpoints(study)
    directory.mkdir(parents=True, exist_ok=True)
    prepared = prepare(
        dataset,
        cache_directory=workspace.cache,
        study_directory=directory,
        short_side=max(_largest_size(config, catalog, backbones), 32),
        folds=data.folds,
        seed=config.search.seed,
        progress=lambda done, total: view.progress("reading photos", done, total),
    )
    for line in _audit_lines(prepared.audit):
        view.note(line)
    return prepared


def _audit_lines(audit: Audit) -> list[str]:
    """What a person should know about the photos before a search."""
    fewest, _, most = audit.photos_per_class
    lines = [
        f"{audit.train_photos} training photos ({fewest:.0f} to {most:.0f} a class), {audit.test_photos} test photos"
    ]
    if audit.quarantined:
        lines.append(f"{len(audit.quarantined)} training photos cannot be decoded and are left out: quarantine.csv")
    if audit.broken_test:
        lines.append(f"{len(audit.broken_test)} test photos cannot be decoded; their answer is the classes' shares")
    if audit.conflicts:
        lines.append(f"{len(audit.conflicts)} pictures are there under two labels: audit.json lists them")
    return [*lines, *audit.notes]


def _largest_size(config: Config, catalog: Catalog, backbones: tuple[str, ...]) -> int:
    sizes = config.space.image_size
    if sizes == "auto":
        return max(catalog.backbone(name).image_size for name in backbones)
    return sizes if isinstance(sizes, int) else max(sizes)


def _job(
    workspace: Workspace,
    config: Config,
    study_name: str,
    choices: space.Space,
    prepared: Prepared,
    executor: Executor,
    began: float,
) -> driver.Job:
    pruning = config.pruning
    pruner = KthBestPruner(
        folds=prepared.folds.count,
        k=max(pruning.compare_with, config.ensemble.top_k),
        z=pruning.z,
        startup_trials=pruning.startup_trials,
    )
    study = open_study(
        study_name,
        storage_url(workspace.studies, study_name, config.search.storage),
        {
            "space": choices.to_json(),
            "folds": prepared.folds.fingerprint,
            "classes": prepared.dataset.num_classes,
            "settings": config.model_dump(mode="json"),
        },
        seed=config.search.seed,
        startup_trials=config.search.startup_trials,
        pruner=pruner if pruning.enabled else optuna.pruners.NopPruner(),
    )
    return driver.Job(
        study=study,
        space=choices,
        executor=executor,
        pruner=pruner if pruning.enabled else None,
        folds=prepared.folds,
        directory=workspace.checkpoints(study_name),
        cache=workspace.cache,
        plugins=workspace.plugin_sources(config),
        deadline=_deadline(config, began),
        workers=config.training.workers,
    )


def _run(
    workspace: Workspace, config: Config, study_name: str, job: driver.Job, prepared: Prepared, view: View
) -> None:
    sizes = job.space.head_sizes if "head" in job.space.tunings else job.space.full_sizes
    first = space.first_trials(job.space, {name: min(sizes[name]) for name in job.space.backbones})
    dataset = prepared.dataset
    last = finale.Finale(
        config.search.trials, len(dataset.train_paths), len(dataset.test_paths), dataset.num_classes, job, view
    )
    driver.run_search(
        job,
        config.search.trials,
        first,
        view,
        before_trial=last.before_trial if _wants_finale(config, job) else lambda: None,
        after_complete=_Keeper(workspace, config, study_name, view).after_complete,
    )


def _wants_finale(config: Config, job: driver.Job) -> bool:
    return config.search.tuning == "auto" and job.space.tunings == ("head",) and job.deadline is not None


def _deadline(config: Config, began: float) -> float | None:
    if config.search.timeout is None:
        return None
    reserve = max(RESERVED_SECONDS, RESERVED_SHARE * config.search.timeout)
    return began + max(config.search.timeout - reserve, config.search.timeout / 2)


def _tunings(config: Config, executor: Executor) -> tuple[Tuning, ...]:
    """What `tuning: auto` means here: on a GPU both; on a CPU, where fine-tuning takes hours, heads."""
    if config.search.tuning == "both":
        return ("full", "head")
    if config.search.tuning == "auto":
        return ("head",) if executor.machine().device == "cpu" else ("full", "head")
    return (config.search.tuning,)


class _Keeper:
    """Keeps a valid submission on disk while the search runs, without spending more than a tenth of the time on it."""

    def __init__(self, workspace: Workspace, config: Config, study: str, view: View) -> None:
        self._workspace = workspace
        self._config = config
        self._study = study
        self._view = view
        self._next = 0.0

    def after_complete(self) -> None:
        began = time.monotonic()
        if began < self._next:
            return
        top_k = self._config.ensemble.top_k
        outcome = ensemble(self._workspace, self._config, study=self._study, output=None, top_k=top_k)
        self._next = time.monotonic() + 10 * (time.monotonic() - began)
        if outcome.ensemble is not None:
            self._view.note(describe(outcome.ensemble))


def _only_one(workspace: Workspace, study: str) -> Any:
    """Excludes a second search of the same study, for as long as this process lives."""
    lock = FileLock(workspace.studies / f"{study}.lock")
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        raise StudyError(
            f"Another search is running on study `{study}` in `{workspace.root}`.",
            hint="wait for it, stop it, or choose another name with `--study`.",
        ) from None


def _pick_backbones(catalog: Catalog, config: Config, view: View) -> tuple[str, ...]:
    """The backbones to search: those asked for, or all whose weights are on this machine."""
    if config.search.backbones != "auto":
        return _pick("backbones", config.search.backbones, (), catalog.backbone)
    ready: list[str] = []
    absent: list[str] = []
    for name, backbone in catalog.backbones.items():
        needs = space.weights_of(config.training, name) == "pretrained" and backbone.find_weights is not None
        (absent if needs and backbone.find_weights and backbone.find_weights() is None else ready).append(name)
    if not ready:
        raise WeightsError(
            "No backbone has its pretrained weights on this machine.",
            hint="name one with `--backbone NAME` to fetch it from the hub, or say `training: {weights: random}`.",
        )
    if absent:
        view.note(f"left out, as their weights are not on this machine: {', '.join(absent)}")
    return tuple(ready)


def _pick(kind: str, names: Any, everything: tuple[str, ...], look_up: Callable[[str], Any]) -> tuple[str, ...]:
    if names == "auto":
        return everything
    if not names:
        raise ConfigError(f"`search.{kind}` is an empty list.", hint="name at least one, or say `auto`.")
    return tuple(sorted({look_up(name).name for name in names}))


# ---- ensemble -------------------------------------------------------------------------------------------------------


def ensemble(workspace: Workspace, config: Config, *, study: str, output: Path | None, top_k: int) -> Outcome:
    """Pool and calibrate the study's trials, and write the submission.

    Args:
        output: the submission; by default studies/<study>/submission.csv.
        top_k: members at most.

    Raises:
        StudyError: there is no such study.
    """
    loaded = load_study(study, storage_url(workspace.studies, study, config.search.storage))
    store = workspace.checkpoints(study)
    if not (store / "dataset.json").is_file():
        raise StudyError(f"`{store}` holds no trained folds of study `{study}`.", hint="run `automl-car search` first.")
    dataset = load_dataset(store / "dataset.json")
    folds = read_folds(store / "folds.csv", dataset, check_files=False)
    candidates, rows = _candidates(loaded, store, dataset, folds)
    built, submission = None, None
    if candidates:
        labels = np.asarray(dataset.labels, dtype=np.int64)[rows]
        built = build_ensemble(candidates, labels, folds.assignment[rows], top_k=top_k)
        directory = workspace.reports(study)
        directory.mkdir(parents=True, exist_ok=True)
        if dataset.submission is not None:
            submission = output or directory / "submission.csv"
            submission.parent.mkdir(parents=True, exist_ok=True)
            write_submission(submission, built.test_probabilities, dataset)
        write_atomically(directory / "ensemble.json", json.dumps(to_json(built), ensure_ascii=False, indent=1))
        write_atomically(directory / "trials.csv", trials_csv(loaded))
    return _outcome(loaded, study, built, submission)


def _candidates(study: optuna.Study, store: Path, dataset: Dataset, folds: Folds) -> tuple[list[Candidate], IntArray]:
    """Complete trials; or, while there is none, the trial with most finished folds, on the rows of those folds."""
    complete = complete_trials(study)
    if complete:
        finished = list(range(folds.count))
        by_recipe = {trial.user_attrs["recipe_id"]: trial for trial in reversed(complete)}  # equal recipes join once
        chosen = list(by_recipe.values())[::-1]
    else:
        partial = [trial for trial in study.get_trials(deepcopy=False) if fold_losses(trial)]
        chosen = sorted(partial, key=lambda trial: (-len(fold_losses(trial)), trial.number))[:1]
        finished = sorted(fold_losses(chosen[0])) if chosen else []
    candidates = [
        read_candidate(
            f"trial {trial.number}",
            trial.user_attrs["backbone"],
            store / trial.user_attrs["recipe_id"],
            finished,
            dataset,
        )
        for trial in chosen
    ]
    return candidates, rows_of(folds, finished)


def _outcome(study: optuna.Study, name: str, built: Ensemble | None, submission: Path | None) -> Outcome:
    trials = [trial for trial in study.get_trials(deepcopy=False) if not trial.user_attrs.get(INTERRUPTED)]
    best = complete_trials(study)[:1]
    return Outcome(
        study=name,
        complete=sum(trial.state == TrialState.COMPLETE for trial in trials),
        pruned=sum(trial.state == TrialState.PRUNED for trial in trials),
        failed=sum(trial.state == TrialState.FAIL for trial in trials),
        best_trial=best[0].number if best else None,
        best_log_loss=best[0].value if best else None,
        ensemble=built,
        submission=submission,
    )


def describe(built: Ensemble) -> str:
    """One line about an ensemble."""
    members = ", ".join(f"{member.name} ({member.backbone}) {member.weight:.2f}" for member in built.members)
    return (
        f"ensemble log loss {built.nested_log_loss:.4f} ± {1.96 * built.standard_error:.4f} out of fold "
        f"(best single trial {built.best_single:.4f}): {members}"
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
        "rows": built.rows,
        "members": [
            {
                "name": member.name,
                "backbone": member.backbone,
                "temperature": member.temperature,
                "weight": member.weight,
                "log_loss": member.log_loss,
                "gain": member.gain,
            }
            for member in built.members
        ],
    }
