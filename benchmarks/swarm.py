"""How many workers one driver keeps busy: a real search over simulated workers, which sleep instead of training.

python benchmarks/swarm.py [--workers 64] [--seconds 2] [--trials 2000] [--sqlite] [--postgres URL] [--json]

The driver is the product's own: it asks TPE, prunes, writes the study and its ledger, and reads finished folds. All
workers are one process beside it that waits as long as their folds take, writes each fold into the fold store, and
answers. Losses are made up, and depend on the recipe, so that a search finds better ones as it goes on; how many folds
a trial gets is printed (a search on photos: 2.6 to 4.2). Shares are of the time from when every worker has had a fold
until the last trial begins. A row is printed for every tenth of the trials, so that it shows what grows with the study.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import multiprocessing
import statistics
import sys
import tempfile
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from storage import database_bytes, postgres, real_space, resident_bytes

FOLDS, PHOTOS, CLASSES, TOP = 5, 500, 2, 5


def main() -> None:
    """Run one search, and print what its driver did."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=2.0, help="that a fold takes, give or take a half")
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--sqlite", action="store_true", help="a SQLite file, not PostgreSQL")
    parser.add_argument("--postgres", metavar="URL", help="an empty database; default: a server of its own")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with postgres(options.postgres) as url, tempfile.TemporaryDirectory() as folder:
        if url is None and not options.sqlite:
            parser.error("there is no PostgreSQL here; --sqlite goes without")
        rows = simulate(Path(folder), None if options.sqlite else url, options)
    if options.json:
        print(json.dumps(rows))


# ---- the workers ----------------------------------------------------------------------------------------------------


BEST = {"learning_rate": 1e-3, "shrinkage": 0.3, "power": 0.6, "weight_decay": 0.05, "layer_decay": 0.8, "mixup": 0.2}


def made_up(task: Any) -> np.ndarray[Any, Any]:
    """The log loss of each of the fold's photos: recipe and photo have their parts in it, and both of them together."""
    recipe, photo = np.random.default_rng(int(task.recipe_id, 16)), np.random.default_rng(task.fold)
    names = (task.recipe.backbone, task.recipe.tuning, task.recipe.augmentation)
    worth = 0.3 + 0.1 * sum(np.random.default_rng(list(name.encode())).random() for name in names)
    off = [getattr(task.recipe, name) / best for name, best in BEST.items()]
    worth += 0.05 * sum(min(1.0, abs(np.log10(max(share, 1e-3)))) for share in off)
    rows = PHOTOS // FOLDS
    both = np.exp(0.2 * recipe.normal(size=(FOLDS, rows))[task.fold])
    return np.asarray(worth * photo.gamma(1.0, size=rows) * both + 0.01)


def work(connection: Connection, seconds: float) -> None:
    """All workers: each fold is answered when its time is over."""
    from automl_car.fold_records import FoldResult
    from automl_car.store import FoldLogits, write_fold

    due: list[tuple[float, int, Any]] = []
    number = itertools.count()
    while True:
        left = max(0.0, due[0][0] - time.monotonic()) if due else None
        if connection.poll(left):
            task = connection.recv()
            if task is None:
                return
            takes = seconds * (0.5 + np.random.default_rng(int(task.recipe_id, 16) + task.fold).random())
            heapq.heappush(due, (time.monotonic() + takes, next(number), (task, takes)))
        while due and due[0][0] <= time.monotonic():
            task, takes = heapq.heappop(due)[2]
            losses = made_up(task)
            loss = float(losses.mean())
            oof = np.zeros((len(losses), CLASSES), np.float32)
            oof[:, 0] = -np.log(np.expm1(losses))
            rows = np.flatnonzero(np.arange(PHOTOS) % FOLDS == task.fold)
            result = FoldResult(task.recipe_id, task.fold, "finished", loss, loss, 1.0, (), takes)
            write_fold(task, result, FoldLogits(rows, oof, np.zeros((0, CLASSES), np.float32)), b"")
            connection.send(result)


class Swarm:
    """An executor whose workers sleep."""

    def __init__(self, workers: int, seconds: float) -> None:
        self._workers = workers
        self._connection, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("spawn").Process(target=work, args=(theirs, seconds), daemon=True)
        self._process.start()
        self._futures: dict[tuple[str, int], Future[Any]] = {}
        self.busy = 0.0  # seconds of work that were given out
        threading.Thread(target=self._listen, daemon=True).start()

    def machine(self) -> Any:
        from automl_car.fold_records import Machine

        return Machine("cpu", "simulated", self._workers)

    def slots(self) -> int:
        return self._workers

    def submit(self, task: Any) -> Future[Any]:
        future = self._futures[task.recipe_id, task.fold] = Future()
        self._connection.send(task)
        return future

    def close(self) -> None:
        self._connection.send(None)
        self._process.join()

    def _listen(self) -> None:
        while True:
            try:
                result = self._connection.recv()
            except (EOFError, OSError):
                return
            self.busy += result.seconds
            self._futures.pop((result.recipe_id, result.fold)).set_result(result)


# ---- the search -----------------------------------------------------------------------------------------------------


@dataclass
class Stopwatch:
    """A view that notes what the driver has used whenever a trial begins."""

    swarm: Swarm
    asked: float = 0.0
    folds: int = 0
    asks: list[float] = field(default_factory=list)
    marks: list[tuple[int, float, float, float]] = field(default_factory=list)  # trials, time, processor time, work

    def note(self, text: str) -> None:
        pass

    def trial_began(self, number: int, recipe: Any) -> None:
        self.asks.append(time.perf_counter() - self.asked)
        self.marks.append((len(self.asks), time.perf_counter(), time.process_time(), self.swarm.busy))

    def fold_began(self, number: int, fold: int) -> None:
        pass

    def fold_ended(self, number: int, result: Any, *, stored: bool) -> None:
        self.folds += 1

    def trial_ended(self, number: int, outcome: Any) -> None:
        pass


def simulate(root: Path, url: str | None, options: argparse.Namespace) -> list[dict[str, float]]:
    """One search; what its driver did, for each tenth of the trials and for all of them."""
    from automl_car.catalog.records import PluginSources
    from automl_car.records import Folds
    from automl_car.search.chooser import Chooser
    from automl_car.search.cost import Counts
    from automl_car.search.driver import run_search
    from automl_car.search.growth import open_study
    from automl_car.search.holding import held
    from automl_car.search.job import Job
    from automl_car.search.ledger import Ledger
    from automl_car.search.outage import Waiting
    from automl_car.search.pruning import PruningRule
    from automl_car.search.study import storage_url

    folds, space = Folds(np.arange(PHOTOS) % FOLDS, FOLDS, "made up"), real_space()
    swarm = Swarm(options.workers, options.seconds)
    watch = Stopwatch(swarm)
    where = storage_url(root / "studies", "main", url)
    ledger = Ledger.open(root / "checkpoints" / "main")
    with held(where, "main", Waiting(60, None, print)):
        identity = {"folds": folds.fingerprint, "classes": CLASSES, "settings": {}}
        study = open_study("main", where, identity, space=space, ledger=ledger, folds=folds)
        job = Job(
            study=study,
            space=space,
            executor=swarm,
            rule=PruningRule(folds=FOLDS, k=2 * TOP),
            folds=folds,
            labels=np.zeros(PHOTOS, np.int64),
            directory=root / "checkpoints" / "main",
            cache=root / "cache",
            plugins=PluginSources(),
            record=ledger.record,
        )
        chooser = Chooser(job, Counts(PHOTOS, 0, FOLDS), CLASSES, TOP, watch)

        def before_trial() -> str | None:
            watch.asked = time.perf_counter()
            return chooser.before_trial()

        run_search(job, options.trials, (), watch, before_trial=before_trial, after_complete=lambda: None)
        states = [trial.state.name for trial in study.get_trials(deepcopy=False)]
        folds_each = watch.folds / len(states)
        counts = f"{states.count('COMPLETE')} complete, {states.count('PRUNED')} pruned"
        out = sys.stderr if options.json else sys.stdout
        print(f"{counts}; {options.workers} workers; {folds_each:.1f} folds a trial", file=out)
        swarm.close()
        rows = table(watch, options.workers, out)
        sizes = database_bytes(study, root, url) / 1e6, resident_bytes() / 1e6
        print(f"database {sizes[0]:.1f} MB, driver {sizes[1]:.0f} MB", file=out)
    return rows


def table(watch: Stopwatch, workers: int, out: TextIO) -> list[dict[str, float]]:
    """Print and return a row for each tenth of the trials, and the last one for all."""
    marks = watch.marks[workers:]
    cuts = [marks[round(part * (len(marks) - 1) / 10)] for part in range(11)]
    print("| trials | workers busy | driver of a core | ask ms | trials a second |", file=out)
    print("| ---: | ---: | ---: | ---: | ---: |", file=out)
    rows = []
    spans = [*itertools.pairwise(cuts), (cuts[0], cuts[-1])]
    for (first, began, used, worked), (last, ended, used_then, worked_then) in spans:
        wall = ended - began
        row = {
            "trials": last,
            "busy": (worked_then - worked) / (workers * wall),
            "driver": (used_then - used) / wall,
            "ask": 1000 * statistics.median(watch.asks[first:last]),
            "rate": (last - first) / wall,
        }
        rows.append(row)
        shares = f"{row['busy']:.1%} | {row['driver']:.1%}"
        print(f"| {first} … {last} | {shares} | {row['ask']:.0f} | {row['rate']:.1f} |", file=out)
    return rows


if __name__ == "__main__":
    main()
