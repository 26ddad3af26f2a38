"""What it costs to be able to go back: copies, looks at numbers, and checkpoints, as shares of one fold's time.

python benchmarks/safety.py [--backbone efficientnet_lite0] [--size 128] [--epochs 5]

The fold is that of benchmarks/efficiency.py, and each part is timed where it happens, in the same run. Each epoch
writes a checkpoint here; by default only those do that take a minute or longer. Clipping needs the norm of the
gradient in any case, so it is not counted. A GPU would be timed wrongly, as nobody waits for it here.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from efficiency import make_recipe

from automl_car.catalog.manager import load_catalog
from automl_car.data.index import read_dataset
from automl_car.data.prepare import prepare
from automl_car.data.sample import write_sample
from automl_car.fold_records import FoldTask
from automl_car.training import device as devices
from automl_car.training import epoch
from automl_car.training.fold import train_fold
from automl_car.training.health import Steps
from automl_car.training.resume import Checkpoints
from automl_car.training.state import State

SPENT: Counter[str] = Counter()


def main() -> None:
    """Train one fold and print the shares."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--augmentation", default="light")
    parser.add_argument("--weights", default="pretrained")
    options = parser.parse_args()
    timed(State, "save", "copy at the beginning of an epoch")
    timed(Steps, "note", "loss and gradient of each step")
    timed(Checkpoints, "write", "checkpoint")
    timed(epoch, "refuse_weights", "weights after an epoch")
    timed(epoch, "refuse_logits", "logits of the validation photos")
    with tempfile.TemporaryDirectory() as folder:
        report(Path(folder), options)


def timed(owner: Any, name: str, label: str) -> None:
    """Let a function add its time to `SPENT`."""
    work: Callable[..., Any] = getattr(owner, name)

    def call(*arguments: Any, **named: Any) -> Any:
        began = time.perf_counter()
        try:
            return work(*arguments, **named)
        finally:
            SPENT[label] += time.perf_counter() - began

    setattr(owner, name, call)


def report(root: Path, options: argparse.Namespace) -> None:
    """Train fold 0 of 5 and print what each part took."""
    devices.prepare(devices.pick_device())
    write_sample(root / "data", seed=0)
    catalog = load_catalog()
    folders = {"cache_directory": root / "cache", "study_directory": root / "study"}
    prepared = prepare(read_dataset(root / "data"), **folders, short_side=max(260, options.size), folds=5, seed=0)
    recipe = make_recipe(options, catalog)
    # A fold of one epoch computes the features and chooses the step; later folds find that done.
    once = FoldTask(replace(recipe, epochs=1), "once", 1, root / "study", root / "cache")
    train_fold(once, catalog, prepared, lambda message: None)
    SPENT.clear()
    sizes: list[int] = []

    def watch(message: object) -> None:
        sizes.extend(path.stat().st_size for path in task.fold_directory.glob("checkpoint-*"))

    task = FoldTask(recipe, "timed", 0, root / "study", root / "cache", checkpoint_seconds=0.0)
    seconds = train_fold(task, catalog, prepared, watch).seconds - SPENT["checkpoint"]
    print(f"{options.backbone} at {options.size} px: {seconds / options.epochs:.2f} s an epoch without checkpoints")
    for label, spent in SPENT.most_common():
        each = f"{1000 * spent / options.epochs:7.1f} ms an epoch"
        print(f"{label:35} {each}, {spent / seconds:.4f} of the fold, {spent / options.epochs / 60:.5f} of a minute")
    print(f"checkpoint: {max(sizes) / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
