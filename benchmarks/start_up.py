"""How long the command line takes to start, as a multiple of an empty Python process.

python benchmarks/start_up.py
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import time

ROUNDS = 7


def seconds(command: list[str]) -> float:
    """Wall time of one whole process."""
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    """Run the commands in turn and print medians and ratios."""
    program = shutil.which("automl-car")
    if program is None:
        sys.exit("automl-car is not installed in this environment")
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "automl-car --help": [program, "--help"],
        "automl-car plugins": [program, "plugins"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS + 1):
        for name, command in commands.items():
            times[name].append(seconds(command))
    empty = statistics.median(times["python -c pass"][1:])  # the first round fills the page cache
    for name, measured in times.items():
        median = statistics.median(measured[1:])
        print(f"{name:20} {median:.3f} s, {median / empty:.1f} times an empty process")


if __name__ == "__main__":
    main()
