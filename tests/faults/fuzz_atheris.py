"""Fuzzing that is guided by coverage, for who has a night: what reaches new lines of Python is mutated further.

    pip install 'automl-car[fuzz]'
    python tests/faults/fuzz_atheris.py image|settings|table [-max_total_time=SECONDS] [-runs=N] [FOLDER]

Inputs that reached new lines are kept in FOLDER. A crash, a hang of 20 s, more than 2 GB, or any exception but
the project's own ends it, and leaves the input as a file `crash-…`.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import warnings
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["automl_car", "PIL", "yaml"]):
    from automl_car.config import load_config
    from automl_car.data.images import decode_image
    from automl_car.data.tables import read_table
    from automl_car.ensemble.predictions import parse_predictions
    from automl_car.errors import AutomlCarError

FILE = Path(tempfile.mkdtemp()) / "any"


def image(data: bytes) -> None:
    """A photo."""
    decode_image(data, short_side=32)


def settings(data: bytes) -> None:
    """automl-car.yaml."""
    FILE.write_bytes(data)
    load_config(FILE)


def table(data: bytes) -> None:
    """A CSV, and a prediction file."""
    FILE.write_bytes(data)
    read_table(FILE)
    parse_predictions(data, "any")


def _one(data: bytes) -> None:
    with contextlib.suppress(AutomlCarError):  # the answer to most inputs
        TARGET(data)


if __name__ == "__main__":
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    TARGET = {"image": image, "settings": settings, "table": table}[sys.argv.pop(1)]
    atheris.Setup([*sys.argv, "-timeout=20", "-rss_limit_mb=2048"], _one)
    atheris.Fuzz()
