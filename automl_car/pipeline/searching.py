"""From photos to a finished search: prepare, search, and keep a valid submission on disk all the way."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from automl_car.catalog.joint import parts_of
from automl_car.catalog.manager import Catalog, load_catalog
from automl_car.config import Config
from automl_car.data.prepare import Prepared
from automl_car.errors import DatabaseAwayError, StudyError
from automl_car.files import require_writable
from automl_car.leftovers import remove_leftovers
from automl_car.pipeline.beginning import begin
from automl_car.pipeline.choices import pick_augmentations, pick_backbones, pick_deadline
from automl_car.pipeline.executing import open_executor
from automl_car.pipeline.keeper import Keeper
from automl_car.pipeline.outcome import Outcome, View
from automl_car.pipeline.preparing import prepare_photos
from automl_car.pipeline.tracking import Tracked, pick_trackers, tracked
from automl_car.pipeline.weights_rule import require_allowed_study
from automl_car.records import Tuning
from automl_car.search import finale
from automl_car.search.chooser import Chooser
from automl_car.search.cost import Counts
from automl_car.search.driver import run_search
from automl_car.search.evidence import FoldStore
from automl_car.search.exchanging import exchanging
from automl_car.search.first import first_trials
from automl_car.search.holding import held
from automl_car.search.job import Job
from automl_car.search.lock import only_one
from automl_car.search.outage import Waiting
from automl_car.search.portfolio import portfolio_trials
from automl_car.search.stopping import Patience
from automl_car.search.study import storage_url
from automl_car.search.warm_start import warm_start
from automl_car.workspace import Workspace


def search(workspace: Workspace, config: Config, *, sample: bool, view: View, log: Path) -> Outcome:
    """Search, then build the ensemble and write the submission.

    Args:
        sample: generate the sample photos, if they are not there, and search on them.
        log: file for what training processes print.

    Raises:
        AutomlCarError: the input is wrong, or the search cannot go on; what was trained is kept.
    """
    began = time.monotonic()
    study_name = config.search.study or ("sample" if sample else "main")
    catalog = load_catalog(workspace.plugin_sources(config), announce=view.note)
    catalog.require_whole()
    url = storage_url(workspace.studies, study_name, config.search.storage)
    waiting = Waiting(config.search.storage_wait, pick_deadline(config, began), view.note)
    trackers = pick_trackers(catalog, config)
    with held(url, study_name, waiting), tracked(view, trackers, workspace.trackers, config) as listening:
        return _search(workspace, config, study_name, catalog, sample=sample, view=listening, log=log, began=began)


def _search(
    workspace: Workspace,
    config: Config,
    study_name: str,
    catalog: Catalog,
    *,
    sample: bool,
    view: Tracked,
    log: Path,
    began: float,
) -> Outcome:
    backbones = pick_backbones(catalog, config, view)
    augmentations = pick_augmentations(catalog, config)
    directory = workspace.checkpoints(study_name)
    for folder in (workspace.studies, workspace.reports(study_name), directory, workspace.cache):
        require_writable(folder)
    with only_one(workspace.studies, study_name):
        require_allowed_study(workspace, config, study_name, catalog)
        written = (workspace.checkpoints(study_name), workspace.cache, workspace.reports(study_name))
        _remove_leftovers(written)
        executor = exchanging(
            open_executor(catalog, config, view, log),
            config.search.exchange,
            node_gb=config.search.node_gb,
            directory=directory,
            progress=view.progress,
        )
        keeper = None
        try:
            prepared = prepare_photos(workspace, config, study_name, catalog, backbones, sample=sample, view=view)
            job = begin(
                workspace, config, study_name, catalog, backbones, augmentations, prepared, executor, view, began
            )
            keeper = Keeper(workspace, config, study_name, prepared, view)
            with _at_its_end_without_database(job.deadline, view):
                _run(workspace, config, job, prepared, view, keeper)
        except KeyboardInterrupt:
            executor.close()  # first of all: what comes now has seconds
            if keeper is not None:
                with suppress(DatabaseAwayError):
                    keeper.rescue(job.study)
            raise
        finally:
            executor.close()
            _remove_leftovers(written)
    return _outcome(keeper, config, study_name, began)


def _outcome(keeper: Keeper, config: Config, study_name: str, began: float) -> Outcome:
    """The ensemble of all trials, which is the submission.

    Raises:
        StudyError: no fold was finished.
    """
    limit = None if config.search.timeout is None else began + config.search.timeout
    outcome = keeper.at_end(limit)
    if outcome.ensemble is None:
        within = f" within the time limit of {config.search.timeout:.0f} s" if config.search.timeout else ""
        more_time = config.search.timeout and outcome.pruned + outcome.failed < config.search.trials
        raise StudyError(
            f"No fold of study `{study_name}` was finished{within}, so there is no submission yet.",
            hint="run the same command again, with more time; what is prepared and trained is kept."
            if more_time
            else f"`automl-car studies show {study_name}` says why each trial ended early.",
        )
    return outcome


@contextmanager
def _at_its_end_without_database(deadline: float | None, view: View) -> Iterator[None]:
    """When the time is up while the database is away, the search ends as it would have with it."""
    try:
        yield
    except DatabaseAwayError as error:
        if deadline is None or time.monotonic() < deadline:
            raise
        view.note(f"the time is up: {error.message} What the ledger and the fold store have is used.")


def _remove_leftovers(folders: tuple[Path, ...]) -> None:
    for folder in folders:
        remove_leftovers(folder)


def _run(workspace: Workspace, config: Config, job: Job, prepared: Prepared, view: View, keeper: Keeper) -> None:
    dataset, top_k = prepared.dataset, config.ensemble.top_k
    counts = Counts(len(dataset.train_paths), len(dataset.test_paths), job.folds.count)
    chooser = Chooser(job, counts, dataset.num_classes, top_k, view, config.search.gain_per)
    last = finale.Finale(config.search.trials, counts, dataset.num_classes, job, view)
    patience = Patience(config.search.patience, top_k, FoldStore(job.directory, job.labels))

    def before_trial() -> str | None:
        enough = patience.why_stop(job.study) if config.search.patience else None
        # When more heads would not pay, it is the fine-tuning's turn, which is another thing than more of the same.
        if _wants_finale(config, job) and last.enqueue(enough=enough is not None):
            return None
        return enough if enough and chooser.has_tried_all() else chooser.before_trial()

    run_search(
        job,
        config.search.trials,
        _first(workspace, config, job, view),
        view,
        before_trial=before_trial,
        after_complete=keeper.after_complete,
    )


def _first(workspace: Workspace, config: Config, job: Job, view: View) -> tuple[dict[str, Any], ...]:
    """What the search begins with: another study's best, if one was named, the plugins' defaults, the portfolio."""
    heads = "head" in job.space.tunings
    sizes = job.space.head_sizes if heads else job.space.full_sizes
    smallest = {name: min(sizes[name]) for name in job.space.backbones}
    order = sorted(smallest, key=lambda name: (len(parts_of(name)), smallest[name], name))
    tuning: Tuning = "head" if heads else "full"
    first = (*first_trials(job.space, smallest), *portfolio_trials(job.space, order, tunings=(tuning,)))
    if config.search.warm_start is None:
        return first
    warm = warm_start(config.search.warm_start, job.space, workspace.studies, config.search.storage)
    view.note(warm.note)
    return (*warm.trials, *first)


def _wants_finale(config: Config, job: Job) -> bool:
    heads_alone = config.search.tuning == "auto" and job.space.tunings == ("head",)
    return heads_alone and job.deadline is not None and bool(job.space.backbones_for("full"))
