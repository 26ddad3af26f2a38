"""What each trial of a study adds: bytes of the database, the ledger, the driver and the dashboard, and files.

python benchmarks/per_trial.py [--trials 500 2000]

A made-up study on the real space, in a SQLite file, is grown to both numbers of trials; what lies between the two,
divided by the trials between them, is printed; of the dashboard and of the walk, all for the last. One trial in three
was pruned after a fold, the others have five. The dashboard is asked for the study as its page asks, without a browser;
the fold store is one of empty files, walked through for what killed processes left.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from storage import FOLDS, database_bytes, grow, made_up_trials, real_space, resident_bytes

FILES = ("model.safetensors", "oof.npz", "test.npz", "views-1.npz", "record.json")
FOLDS_STORED = 2  # of a trial on average, as most are pruned


def main() -> None:
    """Grow the study and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, nargs=2, default=[500, 2000])
    first, last = parser.parse_args().trials
    with tempfile.TemporaryDirectory() as folder:
        before, after = measure(Path(folder), [first, last])
        answer, seconds = ask_dashboard(Path(folder) / "studies" / "main.db")
        walked = walk(Path(folder) / "store", last)
    print("| of a trial | |\n| --- | ---: |")
    for name in ("database", "ledger", "driver's memory"):
        print(f"| {name} | {(after[name] - before[name]) / (last - first) / 1000:.1f} kB |")
    print(f"| dashboard: answer | {answer / last / 1000:.1f} kB |")
    print(f"| dashboard: processor time | {1000 * seconds / last:.2f} ms |")
    print(f"| walk through the fold store | {1000 * walked / last:.2f} ms |")


def measure(root: Path, sizes: list[int]) -> list[dict[str, float]]:
    """All costs of a study of each size."""
    from automl_car.records import Folds
    from automl_car.search.growth import open_study
    from automl_car.search.holding import held
    from automl_car.search.ledger import Ledger
    from automl_car.search.outage import Waiting
    from automl_car.search.study import storage_url

    folds, space = Folds(np.arange(100) % FOLDS, FOLDS, "made up"), real_space()
    url = storage_url(root / "studies", "main", None)
    ledger, found = Ledger.open(root / "checkpoints" / "main"), []
    with held(url, "main", Waiting(60, None, print)):
        identity = {"folds": folds.fingerprint, "classes": 100, "settings": {}}
        study = open_study("main", url, identity, space=space, ledger=ledger, folds=folds)
        for size in sizes:
            grow(study, made_up_trials(space, folds, size - len(study.get_trials(deepcopy=False)), size))
            ledger.record(study)
            costs = {
                "database": database_bytes(study, root, None),
                "ledger": (root / "checkpoints" / "main" / "trials.jsonl").stat().st_size,
                "driver's memory": resident_bytes(),
            }
            found.append(costs)
            print(f"{size} trials: {costs}", file=sys.stderr)
    return found


def ask_dashboard(database: Path) -> tuple[int, float]:
    """Bytes of what the dashboard answers to the page of the newest study, and seconds that it takes for it."""
    import optuna
    from optuna_dashboard import wsgi

    storage = optuna.storages.RDBStorage(f"sqlite:///{database}")
    study = max(study._study_id for study in storage.get_all_studies())
    request: dict[str, Any] = {"REQUEST_METHOD": "GET", "PATH_INFO": f"/api/studies/{study}", "QUERY_STRING": "after=0"}
    server = {"SERVER_NAME": "here", "SERVER_PORT": "80", "wsgi.url_scheme": "http", "wsgi.errors": sys.stderr}
    began = time.process_time()
    answer = b"".join(wsgi(storage)({**request, **server, "wsgi.input": io.BytesIO()}, lambda *given: None))
    return len(answer), time.process_time() - began


def walk(store: Path, trials: int) -> float:
    """Seconds to look for what killed processes left among the folds of so many trials."""
    from automl_car.leftovers import remove_leftovers

    for trial in range(trials):
        for fold in range(FOLDS_STORED):
            folder = store / f"{trial:016x}" / f"fold-{fold}"
            folder.mkdir(parents=True)
            for name in FILES:
                (folder / name).touch()
    began = time.process_time()
    remove_leftovers(store)
    return time.process_time() - began


if __name__ == "__main__":
    main()
