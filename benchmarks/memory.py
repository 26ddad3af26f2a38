"""What a search holds in memory as its photos become more: peaks of its two processes at each size, and one number.

python benchmarks/memory.py [--photos 1000 10000 100000]

Each size is a real search in a fresh process: it reads the photos, makes the folds, trains a linear head and a network
of three layers (two folds each), and writes the ensemble and a submission. What counts is anonymous memory (RssAnon of
/proc/<pid>/status, Linux only): pages of mapped files are the system's to take back. It is sampled from outside, for
the driver and for the training process each; the number printed last is the larger of their two growths.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES, TEST_SHARE = 10, 10  # one test photo for every ten training photos
WIDTH, HEIGHT = 48, 36
SECONDS_BETWEEN = 0.05  # two samples

PLUGIN = '''
"""A network of three layers for photos of 32 pixels."""
from automl_car import Backbone, hookimpl


def build(num_classes, *, pretrained=True):
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(16, num_classes),
    )


@hookimpl
def register_backbones():
    return [Backbone("three_layers", build, image_size=32, default_lr=0.01)]
'''

SETTINGS = """
data: {folds: 2}
search: {tuning: both, trials: 2, backbones: [three_layers], augmentations: [none]}
space: {views: 2}
training: {weights: random, epochs: 1, step: plain}
"""


@dataclass(frozen=True)
class Peaks:
    """The most anonymous memory that was seen of each process, in MB (10^6 bytes)."""

    driver: float
    training: float


def main() -> None:
    """Search at each size and print the peaks and their growth."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    sizes = sorted(parser.parse_args().photos)
    peaks = {}
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            write_workspace(Path(folder), size)
            began = time.perf_counter()
            peaks[size] = peaks_of_search(Path(folder))
            seconds = time.perf_counter() - began
        found = peaks[size]
        print(f"{size} photos: driver {found.driver:.0f} MB, training {found.training:.0f} MB, in {seconds:.0f} s")
    first, last = peaks[sizes[0]], peaks[sizes[-1]]
    growth = max(last.driver - first.driver, last.training - first.training)
    print(f"growth of anonymous memory from {sizes[0]} to {sizes[-1]} photos: {growth:.0f} MB")


# ---- the workspace --------------------------------------------------------------------------------------------------


def write_workspace(root: Path, photos: int) -> None:
    """Settings, the plugin, and a data set in the contest's layout."""
    (root / "automl-car.yaml").write_text(SETTINGS)
    (root / "plugins").mkdir()
    (root / "plugins" / "three_layers.py").write_text(PLUGIN)
    write_photos(root / "data", photos)


def write_photos(root: Path, photos: int) -> None:
    """Noise around a colour for each class, so that no two photos look the same: they must not become one group."""
    random = np.random.default_rng(0)
    colours = random.integers(60, 196, (CLASSES, 3))
    tests = photos // TEST_SHARE
    for label in range(CLASSES):
        (root / "train" / f"class {label}").mkdir(parents=True)
    (root / "test").mkdir()
    for row in range(photos):
        label = row % CLASSES
        (root / "train" / f"class {label}" / f"{row:06}.jpg").write_bytes(photo(colours[label], random))
    for row in range(tests):
        (root / "test" / f"{row:06}.jpg").write_bytes(photo(colours[row % CLASSES], random))
    lines = [f"T{row:06},./test/{row:06}.jpg" for row in range(tests)]
    (root / "test.csv").write_text("\n".join(["ID,img_path", *lines, ""]))


def photo(colour: np.ndarray, random: np.random.Generator) -> bytes:
    """A JPEG."""
    noise = random.normal(0, 30, 3) + random.integers(-60, 60, (HEIGHT, WIDTH, 3))
    file = io.BytesIO()
    Image.fromarray((colour + noise).clip(0, 255).astype(np.uint8)).save(file, "jpeg")
    return file.getvalue()


# ---- the search -----------------------------------------------------------------------------------------------------


def peaks_of_search(workspace: Path) -> Peaks:
    """Run the search of a workspace and watch its processes until it ends."""
    driver, training = [0.0], [0.0]
    with tempfile.TemporaryFile() as output:
        command = [sys.executable, "-m", "automl_car", "search", "--workspace", str(workspace)]
        search = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        while search.poll() is None:
            driver.append(anonymous_megabytes(search.pid))
            training += [anonymous_megabytes(child) for child in training_processes(search.pid)]
            time.sleep(SECONDS_BETWEEN)
        if search.returncode:
            output.seek(0)
            sys.exit(output.read().decode())
    return Peaks(max(driver), max(training))


def training_processes(driver: int) -> list[int]:
    """Children of the driver that train: Python's own helper, which tracks shared resources, is left out."""
    try:
        children = [int(child) for child in Path(f"/proc/{driver}/task/{driver}/children").read_text().split()]
        return [child for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
    except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
        return []


def anonymous_megabytes(process: int) -> float:
    """Memory of a process that belongs to no file; 0 when it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    kilobytes = [int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon:")]
    return kilobytes[0] * 1024 / 1e6 if kilobytes else 0.0  # a process that is just ending has no such line


if __name__ == "__main__":
    main()
