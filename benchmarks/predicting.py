"""How much of a prediction's wall time is the networks' own: forward passes on data in memory over `predict` on files.

python benchmarks/predicting.py [--images 2000] [--backbone efficientnet_lite0] [--size 224] [--views 2] [--networks 1]

The networks have pretrained weights and an untrained last layer. The files are the sample photos
(JPEGs), again and again. Each round times the passes that a share of the files needs, then `predict` on that share as a
person calls it: the bundle is read and checked, photos are decoded and squeezed, a CSV is written. The ratio is
the median of the rounds. In the end `automl-car predict` runs in a process of its own on `--memory-images` files; the
peak of its memory has all libraries in it.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from automl_car.bundle_records import BundleMember, BundleNetwork
from automl_car.catalog.manager import Catalog, load_catalog
from automl_car.catalog.records import PluginSources
from automl_car.data.sample import write_sample
from automl_car.data.testset import plain_form
from automl_car.ensemble.bundle import Bundle, Measured
from automl_car.ensemble.bundle_files import write_files, write_manifest
from automl_car.predicting import predict
from automl_car.training import device as devices
from automl_car.training.checkpoint import to_safetensors, versions
from automl_car.training.step import passes, plain_step

BATCH, PURE_BATCHES = 32, 6
TELLING = """
import atexit
def tell():
    print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
atexit.register(tell)
from automl_car.cli import main
main()
"""


def main() -> None:
    """Time rounds of both, and print the ratio and the peak of memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--memory-images", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--views", type=int, default=2)
    parser.add_argument("--networks", type=int, default=1, help="fold models, as a tuned trial has K")
    parser.add_argument("--classes", type=int, default=396)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report(Path(folder), options)


def report(root: Path, options: argparse.Namespace) -> None:
    """Print a line for each round, then the median."""
    import torch

    device, catalog = devices.pick_device(), load_catalog()
    devices.prepare(device)
    write_bundle(root / "bundle", catalog, options)
    write_sample(root / "data", seed=0)
    photos = write_list(root / "data", options.images // options.rounds)
    network = passes(catalog.backbone(options.backbone).build(options.classes).eval(), plain_step(device), device)
    images = torch.rand(BATCH, 3, options.size, options.size, device=device).contiguous(
        memory_format=torch.channels_last
    )
    ratios = []
    for number in range(options.rounds):
        pure = pure_seconds(network, images) * options.views * options.networks
        began = time.perf_counter()
        done = predict(
            root / "bundle",
            [photos],
            root / "predictions.csv",
            sources=PluginSources(),
            batch_size=BATCH,
            progress=lambda done, total: None,
            warn=print,
        )
        wall = time.perf_counter() - began
        ratios.append(pure * done.photos / wall)
        print(
            f"round {number + 1}: passes {1000 * pure:.1f} ms per photo, predict {1000 * wall / done.photos:.1f} ms, "
            f"ratio {ratios[-1]:.3f}",
            flush=True,
        )
    print(f"{options.backbone} at {options.size} px, {options.views} views, {options.networks} networks, on {device}")
    print(f"prediction efficiency {statistics.median(ratios):.3f} (median of {options.rounds} rounds)")
    peak = peak_megabytes(root, write_list(root / "data", options.memory_images))
    print(f"peak memory with {options.memory_images} images: {peak:.0f} MB")


def peak_megabytes(root: Path, photos: Path) -> float:
    """Of `automl-car predict`, by its own VmHWM (Linux): what is counted for children begins at the parent's."""
    command = [sys.executable, "-c", TELLING, "predict", str(photos), "--bundle", str(root / "bundle")]
    told = subprocess.run([*command, "--output", str(root / "p.csv")], check=True, capture_output=True, text=True)
    return int(told.stdout.split()[-1]) / 1000


def pure_seconds(network, images) -> float:
    """Of one picture."""
    import torch

    with torch.inference_mode():
        network.forward(images).sum().item()
        began = time.perf_counter()
        for _ in range(PURE_BATCHES):
            network.forward(images).sum().item()
        return (time.perf_counter() - began) / PURE_BATCHES / len(images)


def write_bundle(folder: Path, catalog: Catalog, options: argparse.Namespace) -> None:
    """One member with as many equal networks as asked for."""
    folder.mkdir()
    backbone = catalog.backbone(options.backbone)
    networks = [BundleNetwork(f"weights/{number}.safetensors", backbone.name) for number in range(options.networks)]
    state = to_safetensors(backbone.build(options.classes).state_dict())
    names = tuple(f"class {number}" for number in range(options.classes))
    member = BundleMember(
        "benchmark",
        1.0,
        1.0,
        tuple(networks),
        "",
        options.size,
        backbone.mean,
        backbone.std,
        backbone.interpolation,
        options.views,
        flip=True,
        power=1.0,
    )
    bundle = Bundle(
        study="benchmark",
        class_names=names,
        class_shares=(1 / options.classes,) * options.classes,
        form=plain_form(names),
        members=(member,),
        pool="arithmetic",
        temperature=1.0,
        uniform=0.001,
        short_side=max(260, options.size),
        plugins=(),
        measured=Measured(0.0, 0.0, 0, ""),
        versions=versions(),
    )
    write_manifest(folder, bundle, write_files(folder, ((network.file, state) for network in networks)))


def write_list(data: Path, count: int) -> Path:
    """A CSV that lists the sample photos as often as is needed."""
    photos = itertools.cycle(sorted(data.rglob("*.jpg")))
    lines = [f"{number},{next(photos).relative_to(data).as_posix()}" for number in range(count)]
    path = data / "photos.csv"
    path.write_text("\n".join(["ID,img_path", *lines, ""]))
    return path


if __name__ == "__main__":
    main()
