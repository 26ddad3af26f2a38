"""Wrong labels that were planted in the sample photos lead the suspects of a real search."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from automl_car.data.sample import write_sample

PLANTED = 5
SETTINGS = """
space: {image_size: 288, views: 2}
search: {tuning: head, backbones: [efficientnet_lite0], augmentations: [none]}
"""


def plant(root: Path, seed: int) -> set[str]:
    """Move a photo of each of five classes into the folder of another class; returns their new paths."""
    random = np.random.default_rng(seed)
    classes = sorted(path.name for path in (root / "train").iterdir())
    order = random.permutation(len(classes))
    moved = set()
    for source, target in zip(order[:PLANTED], order[PLANTED : 2 * PLANTED], strict=True):  # ten distinct classes
        photos = sorted((root / "train" / classes[source]).glob("*.jpg"))
        photo = photos[random.integers(len(photos))]
        moved.add(f"train/{classes[target]}/{photo.name}")
        photo.rename(root / "train" / classes[target] / photo.name)
    return moved


def automl_car(folder: Path, *arguments: str) -> None:
    command = [sys.executable, "-W", "error", "-m", "automl_car", *arguments]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_planted_wrong_labels_are_in_the_first_fiftieth_of_the_suspects(seed: int, tmp_path: Path) -> None:
    write_sample(tmp_path / "data")
    moved = plant(tmp_path / "data", seed)
    (tmp_path / "automl-car.yaml").write_text(SETTINGS)
    automl_car(tmp_path, "search", "--trials", "6", "--study", "planted")
    automl_car(tmp_path, "report", "--study", "planted")
    report = tmp_path / "studies" / "planted" / "report"
    with (report / "suspects.csv").open(encoding="utf-8", newline="") as file:
        suspects = [row["path"] for row in csv.DictReader(file)]
    photos = len(list((tmp_path / "data" / "train").glob("*/*.jpg")))
    assert moved <= set(suspects[: photos // 50])
