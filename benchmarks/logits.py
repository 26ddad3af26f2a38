"""What out-of-fold logits of many photos take on the disk and in memory, computed for a million from a few thousand.

python benchmarks/logits.py [--photos 1000 3000] [--classes 396] [--members 5] [--candidates 5] [--up-to 1000000]

At each size candidates are made up and written into a fold store by the product's own code, and an ensemble is built
from them; a test photo comes with every ten of training. Bytes, seconds and memory at `--up-to` are then computed in
proportion to the last size that was measured. Seconds are of processor time. Each size has a process of its own; memory
is what it has most above that before the ensemble, without the pages of mapped files (RssAnon; Linux only).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

FOLDS, TEST_SHARE, VIEWS = 5, 10, 2
Row = dict[str, float]
COLUMNS = {
    "fold_mb": "a fold, without weights: MB",
    "trial_mb": "a trial of 5 folds: MB",
    "judge_s": "a fold, read and judged by the driver: s",
    "scratch_mb": "read for an ensemble, on the disk, per candidate: MB",
    "read_s": "reading, per candidate: s",
    "build_s": "ensemble: s",
    "build_mb": "ensemble: MB of memory",
}


def main() -> None:
    """Measure each size, compute another one from the last, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, nargs="+", default=[1000, 3000])
    parser.add_argument("--classes", type=int, default=396)
    parser.add_argument("--members", type=int, default=5, help="of the ensemble at most (top-k)")
    parser.add_argument("--candidates", type=int, default=5)
    parser.add_argument("--up-to", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = [measure(photos, options) for photos in options.photos]
    rows.append(in_proportion(rows[-1], options.up_to))
    print(as_table(rows), file=sys.stderr if options.json else sys.stdout)
    if options.json:
        print(json.dumps(rows))


def in_proportion(row: Row, photos: int) -> Row:
    """What a measured size says of another one: all that is measured grows with the photos."""
    return {"photos": photos, **{name: row[name] * photos / row["photos"] for name in COLUMNS}}


def as_table(rows: list[Row]) -> str:
    """A column for each size in Markdown; the last one is computed."""
    heads = [f"{row['photos']:,.0f} photos" for row in rows]
    lines = [f"|  | {' | '.join(heads)} (computed) |", f"| --- |{' ---: |' * len(rows)}"]
    lines += [f"| {title} | {' | '.join(f'{row[name]:,.1f}' for row in rows)} |" for name, title in COLUMNS.items()]
    return "\n".join(lines)


def measure(photos: int, options: argparse.Namespace) -> Row:
    """One size, in a process of its own."""
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as fresh,
    ):
        arguments = Path(folder), photos, options.classes, options.candidates, options.members
        return fresh.submit(_measure, *arguments).result()


def _measure(root: Path, photos: int, classes: int, candidates: int, members: int) -> Row:
    import scipy.optimize  # noqa: F401 - libraries are no part of what is measured

    from automl_car.ensemble.build import build_ensemble
    from automl_car.ensemble.candidates import read_candidate
    from automl_car.records import Dataset, Folds
    from automl_car.search.evidence import FoldStore

    random = np.random.default_rng(0)
    labels, tests = random.integers(classes, size=photos), photos // TEST_SHARE
    folds = Folds(np.arange(photos) % FOLDS, FOLDS, "made up")
    names = tuple(map(str, range(classes)))
    dataset = Dataset(root, names, ("",) * photos, tuple(labels.tolist()), ("",) * tests, ("",) * tests)
    places = [write_trial(root, number, labels, tests, classes, folds) for number in range(candidates)]
    files = [path for path in places[0].rglob("*") if path.is_file()]
    began = time.process_time()
    store = FoldStore(root, labels)
    for number, place in enumerate(places):
        store.losses(number, place.name, [0])
    judged = (time.process_time() - began) / candidates
    began = time.process_time()
    read = [read_candidate(place.name, "made up", place, range(FOLDS), dataset) for place in places]
    seconds = (time.process_time() - began) / candidates
    with Memory() as memory:
        began = time.process_time()
        build_ensemble(read, labels, folds.assignment, top_k=members)
        build = time.process_time() - began
    return {
        "photos": photos,
        "fold_mb": sum(path.stat().st_size for path in files) / 1e6 / FOLDS,
        "trial_mb": sum(path.stat().st_size for path in files) / 1e6,
        "judge_s": judged,
        "scratch_mb": (read[0].oof_logits.nbytes + read[0].test_logits.nbytes) / 1e6,
        "read_s": seconds,
        "build_s": build,
        "build_mb": memory.most / 1e6,
    }


def write_trial(root: Path, number: int, labels: Any, tests: int, classes: int, folds: Any) -> Path:
    """A made-up trial in the fold store, right for about two photos in three, in the views of a usual recipe."""
    from automl_car.fold_records import FoldResult, FoldTask
    from automl_car.records import Recipe
    from automl_car.store import FoldLogits, write_fold

    recipe = Recipe("made up", seed=number, views=VIEWS)
    for fold in range(FOLDS):
        rows, random = folds.validation_rows(fold), np.random.default_rng([number, fold])
        oof = random.normal(size=(len(rows), classes)).astype(np.float32)
        oof[np.arange(len(rows)), labels[rows]] += random.normal(4, 2, len(rows))
        test = random.normal(size=(tests, classes)).astype(np.float32)
        losses = tuple((views, 2.0 - 0.1 * views) for views in range(1, VIEWS + 1))
        result = FoldResult(f"{number:016x}", fold, "finished", losses[-1][1], 2.0, 1.0, (), 1.0, view_losses=losses)
        task = FoldTask(recipe, result.recipe_id, fold, root, root)
        fewer = [FoldLogits(rows, oof, test, views) for views in range(1, VIEWS)]
        write_fold(task, result, FoldLogits(rows, oof, test, VIEWS), b"", fewer)
    return root / f"{number:016x}"


class Memory:
    """The largest anonymous memory of this process while a block runs, above that at its beginning, in bytes."""

    def __enter__(self) -> Memory:
        self.most, self._before, self._over = 0, anonymous(), threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.01):
            self.most = max(self.most, anonymous() - self._before)


def anonymous() -> int:
    """Bytes of this process that belong to no file."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


if __name__ == "__main__":
    main()
