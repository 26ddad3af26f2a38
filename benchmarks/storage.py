"""What a study costs its driver as it grows: in a SQLite file, and in PostgreSQL where that is installed.

python benchmarks/storage.py [--trials 100 500 2000] [--postgres URL] [--measured 20]

A made-up study on the real space is grown to each number of trials; then a real driver runs some more, with an
executor that trains nothing. Printed are, per trial: milliseconds of the ask (TPE chooses a recipe), of all that the
driver does, and of processor time of its process; and megabytes of the database and of the driver's memory.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

FOLDS = 5


def main() -> None:
    """Measure each database and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 500, 2000])
    parser.add_argument("--measured", type=int, default=20, help="trials that are run at each size")
    parser.add_argument("--postgres", metavar="URL", help="an empty database; default: a server of its own")
    options = parser.parse_args()
    print("| database | trials | ask ms | trial ms | processor ms | database MB | driver MB |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        measure("SQLite", Path(folder) / "sqlite", None, options)
    with postgres(options.postgres) as url, tempfile.TemporaryDirectory() as folder:
        if url:
            measure("PostgreSQL", Path(folder), url, options)


@contextmanager
def postgres(url: str | None) -> Iterator[str | None]:
    """The URL of an empty database, or None where there is no server."""
    from database_servers import Postgres, postgres_binaries

    binaries = postgres_binaries()
    if url or binaries is None:
        yield url
        return
    server = Postgres(binaries)
    try:
        yield server.new_database()
    finally:
        server.close()


# ---- a search without training --------------------------------------------------------------------------------------


@dataclass
class Instant:
    """An executor whose folds are finished at once."""

    def machine(self) -> Any:
        from automl_car.fold_records import Machine

        return Machine("cpu", "CPU", 2)

    def slots(self) -> int:
        return 1

    def submit(self, task: Any) -> Future[Any]:
        from automl_car.fold_records import FoldResult

        future: Future[Any] = Future()
        loss = made_up_loss(task.recipe_id, task.fold)
        future.set_result(FoldResult(task.recipe_id, task.fold, "finished", loss, loss, 1.0, (), 1.0))
        return future

    def close(self) -> None:
        pass


@dataclass
class Clock:
    """A view that notes when trials begin and end."""

    began: list[float] = field(default_factory=list)
    chosen: list[float] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)
    used: list[float] = field(default_factory=list)

    def note(self, text: str) -> None:
        pass

    def trial_began(self, number: int, recipe: Any) -> None:
        self.chosen.append(time.perf_counter())

    def fold_began(self, number: int, fold: int) -> None:
        pass

    def fold_ended(self, number: int, result: Any, *, stored: bool) -> None:
        pass

    def trial_ended(self, number: int, outcome: Any) -> None:
        self.ended.append(time.perf_counter())
        self.used.append(time.process_time())

    def before_trial(self) -> None:
        self.began.append(time.perf_counter())


def made_up_loss(recipe_id: str, fold: int) -> float:
    return 0.5 + random.Random(f"{recipe_id} {fold}").random()


def real_space() -> Any:
    """What a search on a GPU chooses from, with all bundled plugins."""
    from automl_car.catalog.manager import load_catalog
    from automl_car.catalog.records import PluginSources
    from automl_car.config import Config
    from automl_car.search.space import make_space

    catalog, config = load_catalog(PluginSources()), Config()
    names = tuple(catalog.backbones), tuple(catalog.augmentations)
    return make_space(catalog, *names, ("full", "head"), config.space, config.training, seed=0, photo_side=320)


def made_up_trials(space: Any, folds: Any, count: int, seed: int) -> list[FrozenTrial]:
    """Trials of random recipes with all that a search stores of them; one in three is pruned after a fold."""
    from automl_car.fold_records import FoldResult
    from automl_car.search.space import suggest_recipe
    from automl_car.search.trial import fold_attributes, recipe_attributes

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    for number in range(count):
        trial = study.ask()
        recipe = suggest_recipe(trial, space, {})
        recipe_id = recipe.id(folds)
        done = range(1 if number % 3 == 2 else FOLDS)
        losses = {fold: made_up_loss(recipe_id, fold) for fold in done}
        results = [FoldResult(recipe_id, fold, "finished", loss, loss, 1.0, (), 1.0) for fold, loss in losses.items()]
        attributes = {**recipe_attributes(recipe, recipe_id), **fold_attributes(losses, results), "interrupted": False}
        for name, value in attributes.items():
            trial.set_user_attr(name, value)
        for fold in done:
            trial.report(statistics.fmean(list(losses.values())[: fold + 1]), step=fold)
        if len(losses) == FOLDS:
            study.tell(trial, statistics.fmean(losses.values()))
        else:
            study.tell(trial, state=TrialState.PRUNED)
    return study.get_trials(deepcopy=False)


# ---- measuring ------------------------------------------------------------------------------------------------------


def measure(name: str, root: Path, url: str | None, options: argparse.Namespace) -> None:
    """Grow one study from size to size, and print a row for each."""
    from automl_car.records import Folds
    from automl_car.search.growth import open_study
    from automl_car.search.holding import held
    from automl_car.search.ledger import Ledger
    from automl_car.search.outage import Waiting
    from automl_car.search.study import storage_url

    folds, space = Folds(np.arange(100) % FOLDS, FOLDS, "made up"), real_space()
    where = storage_url(root / "studies", "main", url)
    ledger = Ledger.open(root / "checkpoints" / "main")
    with held(where, "main", Waiting(60, None, print)):
        identity = {"folds": folds.fingerprint, "classes": 100, "settings": {}}
        study = open_study("main", where, identity, space=space, ledger=ledger, folds=folds)
        for size in options.trials:
            grow(study, made_up_trials(space, folds, size - len(study.get_trials(deepcopy=False)), size))
            ledger.record(study)
            clock = run(study, space, folds, ledger, root, size + options.measured)
            print(row(name, size, clock, database_bytes(study, root, url)), flush=True)


def grow(study: optuna.Study, trials: list[FrozenTrial]) -> None:
    """Add trials with a note each, as a search leaves them; by hundreds, as one by one takes minutes."""
    from optuna.storages._rdb import models
    from sqlalchemy.orm import Session

    storage: Any = getattr(study._storage, "_storage", None) or study._storage._backend  # type: ignore[attr-defined]
    first = len(study.get_trials(deepcopy=False))
    if hasattr(study._storage, "_mirror"):
        study._storage._mirror.forget(study._study_id)
    with Session(storage.engine) as session:
        for number, trial in enumerate(trials, first):
            session.add(rows_of(models, study._study_id, number, trial))
        session.flush()
        for (trial_id,) in session.query(models.TrialModel.trial_id).filter(models.TrialModel.number >= first):
            notes = {"note_ver": "1", "note_str:0": f'"{"x" * 500}"'}
            for name, value in notes.items():
                key = f"dashboard:{trial_id}:{name}"
                note = models.StudySystemAttributeModel(study_id=study._study_id, key=key, value_json=value)
                session.add(note)
        session.commit()


def rows_of(models: Any, study_id: int, number: int, trial: FrozenTrial) -> Any:
    """A trial as Optuna's tables have it."""
    times = {"datetime_start": trial.datetime_start, "datetime_complete": trial.datetime_complete}
    row = models.TrialModel(study_id=study_id, number=number, state=trial.state, **times)
    for name, distribution in trial.distributions.items():
        value = distribution.to_internal_repr(trial.params[name])
        text = optuna.distributions.distribution_to_json(distribution)
        row.params.append(models.TrialParamModel(param_name=name, param_value=value, distribution_json=text))
    for name, value in trial.user_attrs.items():
        row.user_attributes.append(models.TrialUserAttributeModel(key=name, value_json=json.dumps(value)))
    for step, value in trial.intermediate_values.items():
        stored, kind = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(value)
        entry = models.TrialIntermediateValueModel(step=step, intermediate_value=stored, intermediate_value_type=kind)
        row.intermediate_values.append(entry)
    if trial.value is not None and trial.state == TrialState.COMPLETE:
        stored, kind = models.TrialValueModel.value_to_stored_repr(trial.value)
        row.values.append(models.TrialValueModel(objective=0, value=stored, value_type=kind))
    return row


def run(study: optuna.Study, space: Any, folds: Any, ledger: Any, root: Path, trials: int) -> Clock:
    """Let a driver go on to so many trials."""
    from automl_car.catalog.records import PluginSources
    from automl_car.search.driver import run_search
    from automl_car.search.job import Job

    job = Job(
        study=study,
        space=space,
        executor=Instant(),
        rule=None,
        folds=folds,
        labels=np.zeros(100, np.int64),
        directory=root / "checkpoints" / "main",
        cache=root / "cache",
        plugins=PluginSources(),
        record=ledger.record,
    )
    clock = Clock()
    nothing: Callable[[], None] = lambda: None  # noqa: E731
    run_search(job, trials, (), clock, before_trial=clock.before_trial, after_complete=nothing)
    return clock


def row(name: str, size: int, clock: Clock, database: int) -> str:
    asks = [1000 * (chosen - began) for began, chosen in zip(clock.began, clock.chosen, strict=False)]
    walls = [1000 * (after - before) for before, after in zip(clock.ended, clock.ended[1:], strict=False)]
    used = 1000 * (clock.used[-1] - clock.used[0]) / (len(clock.used) - 1)
    figures = f"{statistics.median(asks):.0f} | {statistics.median(walls):.0f} | {used:.0f}"
    return f"| {name} | {size} | {figures} | {database / 1e6:.1f} | {resident_bytes() / 1e6:.0f} |"


def database_bytes(study: optuna.Study, root: Path, url: str | None) -> int:
    """Of the file with its log, or of the database with its indices."""
    if url is None:
        return sum(path.stat().st_size for path in (root / "studies").glob("main.db*"))
    import sqlalchemy

    from automl_car.search.server import with_driver

    engine = sqlalchemy.create_engine(with_driver(url))
    with engine.connect() as connection:
        size = connection.execute(sqlalchemy.text("SELECT pg_database_size(current_database())")).scalar_one()
    engine.dispose()
    return int(size)


def resident_bytes() -> int:
    """Of this process, now."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


if __name__ == "__main__":
    main()
