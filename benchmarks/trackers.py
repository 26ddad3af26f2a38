"""What trackers cost: the time of a search that all of them follow, over that of the same search with none.

python benchmarks/trackers.py [--trials 20] [--repeats 2] [--each]

Each search is `automl-car search` in a process and a workspace of its own, on photos that are drawn and decoded before;
the kinds take turns, and the medians are compared. All searches do the same trials, which is checked: with `gain_per:
trial` no choice depends on the seconds that a trial takes. Two ratios are printed: of the time that passed, and of the
time that all processes of the search computed, which hardly knows what else the machine does. Trackers whose library is
not installed are left out, and named. A search of minutes is a hard case: trackers load their libraries once, however
long the search.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from automl_car.catalog.manager import load_catalog
from automl_car.data.sample import write_sample
from automl_car.following import missing_modules
from automl_car.search.study import load_study, storage_url

SETTINGS = """
search: {{gain_per: trial}}
trackers: {{{trackers}}}
"""


def main() -> None:
    """Search again and again, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--each", action="store_true", help="each tracker alone, too")
    options = parser.parse_args()
    trackers = load_catalog().trackers
    here = [name for name, tracker in trackers.items() if not missing_modules(tracker)]
    print(f"trackers: {', '.join(here)}; not installed: {', '.join(trackers.keys() - set(here)) or 'none'}")
    kinds = {"none": [], "all": here, **({name: [name] for name in here} if options.each else {})}
    seconds: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        write_sample(base / "data")
        search(base, [], trials=1)  # decodes the photos
        for repeat in range(options.repeats):
            for kind in sorted(kinds, reverse=repeat % 2 == 1):
                seconds[kind].append(timed(base, kinds[kind], options.trials))
                wall, computing = seconds[kind][-1]
                print(f"{kind}: {wall:.1f} s, {computing:.1f} s computing", file=sys.stderr, flush=True)
    medians = {kind: [statistics.median(times) for times in zip(*both, strict=True)] for kind, both in seconds.items()}
    none = medians["none"]
    print("                 passed            computing")
    for kind, (wall, computing) in medians.items():
        print(f"{kind:12} {wall:6.1f} s  {wall / none[0]:.3f}   {computing:6.1f} s  {computing / none[1]:.3f}")


def timed(base: Path, trackers: list[str], trials: int) -> tuple[float, float]:
    """Seconds of one search in a workspace that knows the decoded photos, and nothing else: passed, and computed."""
    workspace = base.with_name("workspace")
    shutil.copytree(base, workspace, ignore=shutil.ignore_patterns("main", "studies", "logs", "features"))
    began, computed = time.monotonic(), children_seconds()
    search(workspace, trackers, trials=trials)
    seconds = time.monotonic() - began, children_seconds() - computed
    outcomes.add(outcome(workspace))
    if len(outcomes) > 1:
        raise SystemExit("these searches did not do the same trials: their times cannot be compared")
    shutil.rmtree(workspace)
    return seconds


outcomes: set[str] = set()


def outcome(workspace: Path) -> str:
    """What the trials of a search came to, but for their times."""
    study = load_study("main", storage_url(workspace / "studies", "main", None))
    trials = study.get_trials(deepcopy=False)
    return str([(trial.state.name, trial.params, trial.intermediate_values, trial.value) for trial in trials])


def children_seconds() -> float:
    """Processor time of all processes that this one has started and that have ended, and of theirs."""
    times = os.times()
    return times.children_user + times.children_system


def search(workspace: Path, trackers: list[str], *, trials: int) -> None:
    """`automl-car search` as a person starts it."""
    on = ", ".join(f"{name}: {{enabled: true}}" for name in trackers)
    (workspace / "automl-car.yaml").write_text(SETTINGS.format(trackers=on), encoding="utf-8")
    command = [sys.executable, "-m", "automl_car", "search", "--workspace", str(workspace), "--trials", str(trials)]
    subprocess.run(command, check=True, capture_output=True)


if __name__ == "__main__":
    main()
