"""What it is worth that training processes keep freed memory (glibc on a CPU): two processes in turn, one ratio.

python benchmarks/allocator.py [--backbone efficientnet_lite0] [--size 160] [--batch 64]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

STEPS, ROUNDS = 3, 3


def main() -> None:
    """Measure both ways in turn, each in a process of its own, and print the ratio of the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--only", choices=("default", "keep"), help="measure one way, in this process")
    options = parser.parse_args()
    if options.only:
        print(milliseconds(options.backbone, options.size, options.batch, keep=options.only == "keep"))
        return
    common = [sys.executable, __file__, "--backbone", options.backbone]
    common += ["--size", str(options.size), "--batch", str(options.batch), "--only"]
    times: dict[str, list[float]] = {"default": [], "keep": []}
    for _ in range(ROUNDS):
        for way, measured in times.items():
            done = subprocess.run([*common, way], check=True, capture_output=True, text=True)
            measured.append(float(done.stdout))
    default, keep = (statistics.median(measured) for measured in times.values())
    print(f"{options.backbone} at {options.size} px, forward and backward, milliseconds an image:")
    print(f"allocator's own settings {default:.1f}, keeping freed memory {keep:.1f}: {default / keep:.2f} times faster")


def milliseconds(backbone: str, size: int, batch: int, *, keep: bool) -> float:
    """Time of a training step per image."""
    import torch

    from automl_car.catalog.manager import load_catalog
    from automl_car.memory import keep_freed_memory

    if keep and not keep_freed_memory():
        sys.exit("this machine's C library is not glibc")
    model = load_catalog().backbone(backbone).build(60, pretrained=False).to(memory_format=torch.channels_last)
    images = torch.rand(batch, 3, size, size).contiguous(memory_format=torch.channels_last)
    model(images).sum().backward()  # the first step allocates
    began = time.perf_counter()
    for _ in range(STEPS):
        model(images).sum().backward()
    return (time.perf_counter() - began) / STEPS / batch * 1000


if __name__ == "__main__":
    main()
