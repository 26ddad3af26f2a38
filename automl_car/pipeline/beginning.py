"""From prepared photos to a search that can begin: its space, its study, and the job that the loop does."""

from __future__ import annotations

import dataclasses

import numpy as np

from automl_car.catalog.manager import Catalog
from automl_car.config import Config, told_settings
from automl_car.data.prepare import Prepared
from automl_car.pipeline.choices import pick_deadline, pick_tunings, tunings_of
from automl_car.pipeline.loading import pick_workers
from automl_car.pipeline.outcome import View
from automl_car.search.executor import Executor
from automl_car.search.growth import open_study
from automl_car.search.job import Job
from automl_car.search.ledger import Ledger
from automl_car.search.notes import note_study
from automl_car.search.pruning import PruningRule
from automl_car.search.space import Space, make_space
from automl_car.search.strikes import Strikes
from automl_car.search.study import storage_url
from automl_car.workspace import Workspace


def begin(
    workspace: Workspace,
    config: Config,
    study_name: str,
    catalog: Catalog,
    backbones: tuple[str, ...],
    augmentations: tuple[str, ...],
    prepared: Prepared,
    executor: Executor,
    view: View,
    began: float,
) -> Job:
    """Open the study, note what it is about, and tell that the search begins.

    Args:
        began: `time.monotonic()` at which the time limit began.

    Raises:
        StudyError: the study was made from other data, or its database cannot be opened.
        ConfigError: backbones are to work side by side, and no heads are searched.
    """
    choices = make_space(
        catalog,
        backbones,
        augmentations,
        tunings_of(backbones, pick_tunings(config, executor.machine)),
        config.space,
        config.training,
        seed=config.search.seed,
        photo_side=int(min(prepared.audit.width[1], prepared.audit.height[1])),  # medians
    )
    job = _job(workspace, config, study_name, catalog, choices, prepared, executor, view, began)
    note_study(
        job.study,
        photos=len(prepared.dataset.train_paths),
        classes=prepared.dataset.num_classes,
        folds=prepared.folds.count,
        machine=executor.machine(),
        plugins=[row.title for row in catalog.others],
    )
    view.search_begins(study_name, config.search.trials, job.deadline, executor.machine())
    if (slots := executor.slots()) > 1:
        view.note(f"{slots} folds are trained at a time")
    return job


def _job(
    workspace: Workspace,
    config: Config,
    study_name: str,
    catalog: Catalog,
    choices: Space,
    prepared: Prepared,
    executor: Executor,
    view: View,
    began: float,
) -> Job:
    ledger = Ledger.open(workspace.checkpoints(study_name), view.note)
    study = open_study(
        study_name,
        storage_url(workspace.studies, study_name, config.search.storage),
        {
            "folds": prepared.folds.fingerprint,
            "classes": prepared.dataset.num_classes,
            "settings": told_settings(config),
            "plugins": [dataclasses.asdict(row) for row in catalog.others],
        },
        space=choices,
        note=view.note,
        ledger=ledger,
        folds=prepared.folds,
    )
    return Job(
        study=study,
        space=choices,
        executor=executor,
        rule=_pruning_rule(config, prepared) if config.pruning.enabled else None,
        folds=prepared.folds,
        labels=np.asarray(prepared.dataset.labels, dtype=np.int64),
        directory=workspace.checkpoints(study_name),
        cache=workspace.cache,
        plugins=workspace.plugin_sources(config),
        seed=config.search.seed,
        startup_trials=config.search.startup_trials,
        deadline=pick_deadline(config, began),
        workers=_loader_processes(config, choices, executor, view),
        parallel_trials=None if config.search.parallel_trials == "auto" else config.search.parallel_trials,
        step=config.training.step,
        checkpoint_seconds=config.training.checkpoint_seconds,
        strikes=Strikes(catalog.owners),
        record=ledger.record,
    )


def _pruning_rule(config: Config, prepared: Prepared) -> PruningRule:
    pruning = config.pruning
    return PruningRule(
        folds=prepared.folds.count,
        k=max(pruning.compare_with, config.ensemble.top_k),
        z=pruning.z,
        startup_trials=pruning.startup_trials,
    )


def _loader_processes(config: Config, choices: Space, executor: Executor, view: View) -> int | None:
    """Processes that load photos for a fold, where they work on this machine; of others it knows nothing."""
    wanted = config.training.workers
    if config.search.executor != "local":
        return wanted
    return pick_workers(wanted, choices, executor.machine(), view, executor.slots())
