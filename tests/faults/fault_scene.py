"""A small workspace that faults happen to, and what has to hold after every one of them.

I1  The same command goes on: no manual step.
I2  No finished fold is trained again.
I3  Trials, folds and the ensemble come to what they come to undisturbed, within 1e-9.
I4  A valid submission is there.
I5  The exit code and one line say what happened.
I6  No process, lock or temporary file is left behind.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

STUDY = "main"

# Two backbones, each as a head and fine-tuned: four trials at their defaults, none of them chosen by chance. Steps are
# plain, as what is measured may come out otherwise in another run, and then results differ in the last digits.
SETTINGS = """
data: {folds: 2}
search: {study: main, trials: 4, tuning: both, backbones: [toy, toy_large], augmentations: [none]}
training: {weights: random, epochs: 2, batch_size: 8, head_multiplier: 1, step: plain}
plugins: {files: [toy_networks.py]}
"""


@dataclass
class Scene:
    """A workspace of its own, `automl-car` in processes of their own, and what was seen of its fold store."""

    root: Path
    finished: dict[str, int] = field(default_factory=dict)  # fold -> when its record was written
    photos: str = "data"  # folder of the contest's files

    @property
    def output(self) -> str:
        """All that the processes have printed."""
        path = self.root / "output.txt"
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""

    @property
    def store(self) -> Path:
        """The study's folds."""
        return self.root / "checkpoints" / STUDY

    @property
    def study(self) -> Path:
        """The study's database."""
        return self.root / "studies" / f"{STUDY}.db"

    @property
    def submission(self) -> Path:
        """What the search has to leave."""
        return self.root / "studies" / STUDY / "submission.csv"

    def start(self, *arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """`automl-car ARGUMENTS`, a search by default, as a person starts it, in a process group of its own."""
        command = [sys.executable, "-m", "automl_car", *(arguments or ("search",)), "--workspace", str(self.root)]
        with (self.root / "output.txt").open("ab") as output:
            return subprocess.Popen(
                command,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=usual_signals,
                env={**os.environ, **(environment or {})},
            )

    def run(self, *arguments: str, environment: Mapping[str, str] | None = None, timeout: float = 180) -> int:
        """The same to its end; its exit code."""
        process = self.start(*arguments, environment=environment)
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            kill_group(process)
            raise

    def records(self) -> dict[str, Path]:
        """The record of each finished fold, by recipe and fold; not of those that were set aside."""
        found = [path for path in self.store.glob("*/fold-*/record.json") if "." not in path.parent.name]
        return {str(path.parent.relative_to(self.store)): path for path in found}

    def wait_for_folds(self, count: int, process: subprocess.Popen[bytes], timeout: float = 90) -> None:
        """Wait until so many folds are finished, while `process` runs."""
        until = time.monotonic() + timeout
        while len(self.records()) < count and time.monotonic() < until:
            assert process.poll() is None, self.output
            time.sleep(0.01)
        assert len(self.records()) >= count, self.output

    def look(self) -> None:
        """Remember the finished folds, and fail if one that was finished before was trained again (I2)."""
        now = {name: path.stat().st_mtime_ns for name, path in self.records().items()}
        assert {name: now.get(name) for name in self.finished} == self.finished, "a finished fold was trained again"
        self.finished = now

    def log_losses(self) -> dict[str, float]:
        """The log loss of each finished fold, read without any code of the project."""
        found = {}
        for name, path in self.records().items():
            found[name] = float(json.loads(path.read_text(encoding="utf-8"))["result"]["log_loss"])
        return found

    def probabilities(self) -> np.ndarray:
        """The submission's (T, C), after a comparison of its form with the sample (I4)."""
        sample, rows = (_read(path) for path in (self.root / self.photos / "sample_submission.csv", self.submission))
        assert rows[0] == sample[0]
        assert [row[0] for row in rows] == [row[0] for row in sample]
        found = np.array([row[1:] for row in rows[1:]], dtype=float)
        assert np.allclose(found.sum(1), 1, atol=1e-6)
        assert found.min() > 0
        return found

    def leftovers(self) -> list[str]:
        """Temporary files and folders of the workspace (I6)."""
        patterns = ("**/.*.tmp", "**/*.partial-*")
        return sorted(str(path.relative_to(self.root)) for name in patterns for path in self.root.glob(name))

    def processes(self) -> list[int]:
        """Processes whose command line names the workspace, or whose working place is in it (I6; Linux)."""
        return _processes_with(str(self.root))


def usual_signals() -> None:
    """In a new process: undo what nohup and background jobs of a shell have ignored, and processes inherit."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to a process and all that it started."""
    with contextlib.suppress(ProcessLookupError):  # it was done already
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _read(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.reader(file))


def _processes_with(text: str) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if text.encode() in (entry / "cmdline").read_bytes() and int(entry.name) != os.getpid():
                found.append(int(entry.name))
    return found
