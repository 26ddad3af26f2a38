"""Images per second of fine-tuning: this project's fold over a plain PyTorch loop and over timm's loader.

python benchmarks/loops.py [--backbone efficientnet_lite0] [--size 128] [--batch 64] [--workers 0 2] [--rounds 2]

All train the same network on the same sample photos in batches of the same size with AdamW, from processes of their
own, in turn. The plain loop is the one of tutorials: ImageFolder, RandomResizedCrop, flip, DataLoader. timm's is its
training loader with its defaults. Both are measured with each number of loader processes, and the best counts. The fold
does more than they do: it mixes, clips, and keeps a running mean.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

EPOCHS = 2  # that are timed, after a first one


def main() -> None:
    """Measure all ways in turn, each in a process of its own, and print the ratios of the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", nargs=2, metavar=("WAY", "WORKERS"), help="measure one way, in this process")
    parser.add_argument("--root", type=Path)
    options = parser.parse_args()
    if options.only:
        way, workers = options.only
        print(WAYS[way](options, int(workers)))
        return
    with tempfile.TemporaryDirectory() as folder:
        compare(options, Path(folder))


def compare(options: argparse.Namespace, root: Path) -> None:
    """Write the photos, run every way, and print what came out."""
    from automl_car.data.sample import write_sample

    write_sample(root / "data", seed=0)
    common = [sys.executable, __file__, "--root", str(root), "--backbone", options.backbone]
    common += ["--size", str(options.size), "--batch", str(options.batch), "--only"]
    ways = [("fold", 0), *itertools.product(("plain", "timm"), options.workers)]
    rates: dict[tuple[str, int], list[float]] = {way: [] for way in ways}
    for _ in range(options.rounds):
        for (way, workers), measured in rates.items():
            done = subprocess.run([*common, way, str(workers)], check=True, stdout=subprocess.PIPE, text=True)
            measured.append(float(done.stdout.splitlines()[-1]))
    fold = statistics.median(rates["fold", 0])
    print(f"{options.backbone} at {options.size} px, batch {options.batch}: the fold trains {fold:.1f} images/s")
    for name in ("plain", "timm"):
        best, workers = max((statistics.median(rates[name, count]), count) for count in options.workers)
        print(f"{name} loop, best with {workers} loader processes: {best:.1f} images/s, ratio {fold / best:.2f}")


# ---- this project ---------------------------------------------------------------------------------------------------


def fold_rate(options: argparse.Namespace, workers: int) -> float:
    """Images per second of a real fold's training."""
    from automl_car.catalog.manager import load_catalog
    from automl_car.data.index import read_dataset
    from automl_car.data.prepare import prepare
    from automl_car.fold_records import FoldTask
    from automl_car.records import Recipe
    from automl_car.training import device as devices
    from automl_car.training.fold import train_fold

    devices.prepare(devices.pick_device())
    study, cache = options.root / f"study-{time.time_ns()}", options.root / "cache"
    dataset = read_dataset(options.root / "data")
    side = max(260, options.size)
    prepared = prepare(dataset, cache_directory=cache, study_directory=study, short_side=side, folds=5, seed=0)
    recipe = Recipe(
        options.backbone,
        "light",
        image_size=options.size,
        batch_size=options.batch,
        epochs=EPOCHS + 1,
        learning_rate=1e-5,
        patience=0,
        mixup=0.25,
        cutmix=0.25,
        params=(("light.border", 0.25),),
    )
    task = FoldTask(recipe, "recipe", 0, study, cache)
    return train_fold(task, load_catalog(), prepared, lambda message: None).images_per_second


# ---- the others -----------------------------------------------------------------------------------------------------


def plain_rate(options: argparse.Namespace, workers: int) -> float:
    """Images per second of the loop of tutorials."""
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    transform = transforms.Compose(
        [
            transforms.RandomResizedCrop(options.size),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize([0.5] * 3, [0.5] * 3),
        ]
    )
    photos = datasets.ImageFolder(options.root / "data" / "train", transform)
    loader = DataLoader(photos, batch_size=options.batch, shuffle=True, num_workers=workers, drop_last=True)
    return loop_rate(options, loader)


def timm_rate(options: argparse.Namespace, workers: int) -> float:
    """Images per second of the same loop with timm's training loader."""
    from timm.data import create_dataset, create_loader

    photos = create_dataset("", root=str(options.root / "data" / "train"), is_training=True)
    loader = create_loader(
        photos,
        input_size=(3, options.size, options.size),
        batch_size=options.batch,
        is_training=True,
        use_prefetcher=False,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    return loop_rate(options, loader)


def loop_rate(options: argparse.Namespace, loader: Iterable[Any]) -> float:
    """Images per second of forward, backward and AdamW over all epochs but the first."""
    import torch
    import torch.nn.functional as F

    from automl_car.catalog.manager import load_catalog

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = load_catalog().backbone(options.backbone).build(12).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    seen, began = 0, 0.0
    for epoch in range(EPOCHS + 1):
        if epoch == 1:
            seen, began = 0, time.perf_counter()
        for images, labels in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images.to(device)), labels.to(device))
            loss.backward()
            optimizer.step()
            seen += len(images)
    return seen / (time.perf_counter() - began)


WAYS = {"fold": fold_rate, "plain": plain_rate, "timm": timm_rate}

if __name__ == "__main__":
    main()
