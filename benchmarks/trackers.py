"""What trackers cost: the time of a small search with each of them, over that of the same search with none.

python benchmarks/trackers.py [--trials 6] [--repeats 3] [--tuning full]

Each search is `automl-car search` in a process and a workspace of its own, on photos that are drawn and decoded before;
the kinds take turns, and the medians are compared. Trackers whose library is not installed are left out. Short trials
make it a hard case: a search of hours has as many events as one of minutes.
"""

from __future__ import annotations

import argparse
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

SETTINGS = """
data: {{folds: 2}}
search: {{tuning: {tuning}, backbones: [efficientnet_lite0], augmentations: [light], startup_trials: {trials}}}
space: {{image_size: 64, progressive: 1.0}}
training: {{epochs: 3, batch_size: 16, step: plain}}
pruning: {{enabled: false}}
trackers: {{{trackers}}}
"""


def main() -> None:
    """Search again and again, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tuning", default="full")
    parser.add_argument("--photos", type=int, default=6, help="of each class, for training")
    options = parser.parse_args()
    here = [name for name, tracker in load_catalog().trackers.items() if not missing_modules(tracker)]
    kinds = {"none": [], **{name: [name] for name in here}, "all": here}
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        write_sample(base / "data", train_per_class=options.photos, test_per_class=1)
        search(base, options, [], trials=1)  # decodes the photos
        for repeat in range(options.repeats):
            for kind in list(kinds)[repeat % len(kinds) :] + list(kinds)[: repeat % len(kinds)]:
                seconds[kind].append(timed(base, options, kinds[kind]))
                print(f"{kind}: {seconds[kind][-1]:.1f} s", file=sys.stderr)
    none = statistics.median(seconds["none"])
    for kind, times in seconds.items():
        median = statistics.median(times)
        print(f"{kind:12} {median:6.1f} s   {median / none:.3f}")


def timed(base: Path, options: argparse.Namespace, trackers: list[str]) -> float:
    """Seconds of one search in a workspace that knows the photos, and nothing else."""
    workspace = base.with_name("workspace")
    shutil.copytree(base, workspace, ignore=shutil.ignore_patterns("main", "studies", "logs"))
    began = time.monotonic()
    search(workspace, options, trackers, trials=options.trials)
    seconds = time.monotonic() - began
    shutil.rmtree(workspace)
    return seconds


def search(workspace: Path, options: argparse.Namespace, trackers: list[str], *, trials: int) -> None:
    """`automl-car search` as a person starts it."""
    on = ", ".join(f"{name}: {{enabled: true}}" for name in trackers)
    settings = SETTINGS.format(tuning=options.tuning, trials=options.trials, trackers=on)
    (workspace / "automl-car.yaml").write_text(settings, encoding="utf-8")
    command = [sys.executable, "-m", "automl_car", "search", "--workspace", str(workspace), "--trials", str(trials)]
    subprocess.run(command, check=True, capture_output=True)


if __name__ == "__main__":
    main()
