"""What the list of photos costs before anything is trained, at 10,000, 100,000 and a million photos of 396 classes.

python benchmarks/images.py [--photos 10000 100000 1000000] [--classes 396] [--json]

Each step is the product's own code. Fabricated are the photos and what decoding leaves: the photos of a class are hard
links to one small JPEG, the picture file of the image cache is a hole of the right size, and hashes are random, with
two photos in a hundred copied. So names, sizes, folders and tables are as many as they would be, and no step decodes.
Not measured in full are steps marked `~`: headers are read of the first 10,000 photos, folds made for a random 30,000,
and pairs of hashes compared among the first 100,000; the seconds for the rest are computed, in proportion to the photos
and for pairs to their square.

Every size has a process of its own for the driver's steps, and another one for a training process's. Seconds are of
processor time, of all threads together: what a machine does besides does not count, and with several cores, the steps
with threads (headers, groups) take less. Megabytes are the largest resident set of a step above that of the process
before its first step (Linux only).
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import os
import pickle
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

TEST_SHARE, FOLDS, COPIES = 10, 5, 50  # a test photo for ten of training; every 50th photo is a copy
HEIGHT, WIDTH = 224, 298
MOST_HEADERS, MOST_PAIRED, MOST_SPLIT = 10_000, 100_000, 30_000
CACHE_KEY = "0123456789abcdef"
IMAGES = Path("cache") / "images" / CACHE_KEY
Step = dict[str, Any]


def main() -> None:
    """Measure each size, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--classes", type=int, default=396)
    parser.add_argument("--json", action="store_true", help="print the numbers, too, for benchmarks/plots.py")
    options = parser.parse_args()
    rows = [{"photos": photos, "steps": measure(photos, options.classes)} for photos in options.photos]
    print(as_table(rows), file=sys.stderr if options.json else sys.stdout)
    if options.json:
        print(json.dumps(rows))


def measure(photos: int, classes: int) -> list[Step]:
    """All steps at one size, the driver's and then a training process's."""
    steps: list[Step] = []
    with tempfile.TemporaryDirectory() as folder:
        fabricate(Path(folder), photos, classes)
        for part in (driver, training):
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as fresh:
                steps += fresh.submit(part, Path(folder)).result()
    return steps


def as_table(rows: list[dict[str, Any]]) -> str:
    """Seconds and megabytes of each step at each size, in Markdown."""
    sizes = [f"{row['photos']:,} photos: s | MB" for row in rows]
    lines = [f"| step | {' | '.join(sizes)} |", f"| --- |{' ---: | ---: |' * len(rows)}"]
    for steps in zip(*(row["steps"] for row in rows), strict=True):
        cells = [f"{'~' if step['computed'] else ''}{step['seconds']:.2f} | {step['megabytes']:.0f}" for step in steps]
        lines.append(f"| {steps[0]['name']} | {' | '.join(cells)} |")
    return "\n".join(lines)


# ---- what is fabricated ---------------------------------------------------------------------------------------------


def fabricate(root: Path, photos: int, classes: int) -> None:
    """The data folder, a table of the same photos, and the image cache that decoding would have left."""
    names = [f"data/train/model {row % classes:04}/{row:07}.jpg" for row in range(photos)]
    tests = [f"data/test/{row:07}.jpg" for row in range(photos // TEST_SHARE)]
    one = io.BytesIO()
    Image.new("RGB", (64, 48), (90, 120, 60)).save(one, "jpeg")
    sources: dict[str, Path] = {}
    for name in (*names, *tests):
        folder = name.rpartition("/")[0]
        if folder not in sources:
            (root / folder).mkdir(parents=True)
        if folder not in sources or sources[folder].stat().st_nlink > 30_000:
            sources[folder] = root / name
            sources[folder].write_bytes(one.getvalue())
        else:
            os.link(sources[folder], root / name)
    rows = [f"TEST_{row:07},./{name.removeprefix('data/')}" for row, name in enumerate(tests)]
    (root / "data" / "test.csv").write_text("\n".join(["ID,img_path", *rows, ""]))
    rows = [f"./{name.removeprefix('data/')},{name.split('/')[2]}" for name in names]
    (root / "data" / "train.csv").write_text("\n".join(["img_path,label", *rows, ""]))
    fabricate_cache(root / IMAGES, photos + len(tests))


def fabricate_cache(directory: Path, count: int) -> None:
    """An image cache whose pictures are all holes of the file: nothing of it is ever read here."""
    from automl_car.data.facts import _FACTS, _RECORD, write_problems
    from automl_car.data.sealed import seal

    directory.mkdir(parents=True)
    random = np.random.default_rng(0)
    size = HEIGHT * WIDTH * 3
    with (directory / "pixels.bin").open("wb") as file:
        file.truncate(size * count)
    index = {"offsets": size * np.arange(count + 1), "shapes": np.full((count, 2), (HEIGHT, WIDTH), np.int32)}
    np.savez(directory / "index.npz", **index, is_jpeg=np.zeros(count, bool), checksums=np.zeros(count, np.uint32))  # type: ignore[arg-type]
    facts = np.zeros(count, _RECORD)
    facts["hash"] = random.integers(0, 2**64, facts["hash"].shape, dtype=np.uint64)
    facts["sha1"] = np.frombuffer(random.bytes(20 * count), "S20")
    facts["hash"][::COPIES] = facts["hash"][1::COPIES][: len(facts["hash"][::COPIES])]
    facts["size"], facts["mode"] = (640, 480), "RGB"
    np.save(directory / _FACTS, facts)
    write_problems(directory, [])
    seal(directory, "index.npz", "facts.npy", "problems.json")


# ---- what is measured -----------------------------------------------------------------------------------------------


@dataclass
class Meter:
    """Seconds and memory of one step after the other."""

    before: int = 0
    steps: list[Step] = field(default_factory=list)

    @contextmanager
    def step(self, name: str, times: float = 1.0) -> Iterator[None]:
        """Measure a block that does one part in so many of the step."""
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins anew
        self.before = self.before or resident("VmRSS")
        began, used = time.perf_counter(), time.process_time()
        yield
        seconds, wall = times * (time.process_time() - used), times * (time.perf_counter() - began)
        megabytes = (resident("VmHWM") - self.before) / 1e6
        found = {"name": name, "seconds": seconds, "wall": wall, "megabytes": megabytes, "computed": times > 1}
        self.steps.append(found)


def resident(name: str) -> int:
    """Bytes of this process: VmRSS are there now, VmHWM were at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def driver(root: Path) -> list[Step]:
    """What a search does with the list of photos before it asks for the first trial."""
    import scipy.sparse.csgraph  # noqa: F401 - libraries are no part of the steps

    from automl_car.data.cache import _key_of_files, _open
    from automl_car.data.duplicates import group_duplicates
    from automl_car.data.facts import read_facts
    from automl_car.data.folds import make_folds, read_folds, write_folds
    from automl_car.data.headers import picture_sizes
    from automl_car.data.index import read_dataset
    from automl_car.data.parallel import processors
    from automl_car.data.prepare import _audit
    from automl_car.data.prepared import Prepared, write_prepared

    meter, data, study = Meter(), root / "data", root / "study"
    study.mkdir()
    with meter.step("table of training photos, test.csv"):
        read_dataset(data, train="train.csv")
    with meter.step("or: folders of training photos, test.csv"):
        dataset = read_dataset(data)
    paths = [*dataset.train_paths, *dataset.test_paths]
    with meter.step("name of the image cache: sizes and times"):
        _key_of_files(data, paths, HEIGHT)
    some = paths[:MOST_HEADERS]
    with meter.step("headers, once", len(paths) / len(some)):
        picture_sizes(data, some, short_side=HEIGHT, kept=root / "sizes.npz", workers=processors())
    with meter.step("opening the image cache"):
        images, problems = _open(root / IMAGES)
        facts = read_facts(images.directory)
    count = len(dataset.train_paths)
    entries, tests = np.arange(count), np.arange(count, len(paths))
    paired = min(count, MOST_PAIRED)
    with meter.step("groups of duplicates", (count / paired) ** 2):
        groups = group_duplicates(facts.sha1s[:paired], facts.hashes[:paired])
    groups = np.concatenate([groups, np.arange(paired, count) + paired])
    split = np.sort(np.random.default_rng(0).permutation(count)[:MOST_SPLIT])
    with meter.step("folds, once", count / len(split)):
        some_folds = make_folds(np.array(dataset.labels)[split], groups[split], count=FOLDS, seed=0)
    assignment = np.arange(count) % FOLDS
    assignment[split] = some_folds
    with meter.step("writing folds.csv, once"):
        folds = write_folds(study / "folds.csv", dataset, assignment, groups)
    with meter.step("reading folds.csv, when a search goes on"):
        read_folds(study / "folds.csv", dataset)
    with meter.step("audit, and writing the prepared data"):
        audit = _audit(dataset, facts, entries, groups, folds, problems, count)
        write_prepared(study, Prepared(dataset, folds, images, entries, tests, audit, HEIGHT))
    return meter.steps


def training(root: Path) -> list[Step]:
    """What a training process does with the list of photos before its first step, and before each epoch."""
    from automl_car.catalog.records import PluginSources
    from automl_car.data.prepare import open_prepared
    from automl_car.fold_records import FoldTask
    from automl_car.records import Recipe
    from automl_car.training.loader import EpochBatches

    meter = Meter()
    with meter.step("training process: opening the prepared data, once"):
        prepared = open_prepared(root / "study", root / "cache")
    with meter.step("training process: rows of a fold"):
        rows = prepared.folds.training_rows(0)
        prepared.folds.validation_rows(0)
        np.asarray(prepared.dataset.labels, dtype=np.int64)
    with meter.step("training process: order of an epoch"):
        for _ in EpochBatches(rows, 64, seed=0):
            pass
    recipe = Recipe("efficientnet_lite0")
    task = FoldTask(recipe, recipe.id(prepared.folds), 0, root / "study", root / "cache", PluginSources())
    print(f"{len(rows)} rows to train on; a task takes {len(pickle.dumps(task))} bytes", file=sys.stderr)
    return meter.steps


if __name__ == "__main__":
    main()
