"""docs/example-plugin is a plugin that pip installs and a search finds."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from automl_car.catalog.manager import Catalog, load_catalog
from automl_car.contract import check_augmentation, check_backbone

EXAMPLE = Path(__file__).parents[1] / "docs" / "example-plugin"


@pytest.fixture
def catalog(monkeypatch: pytest.MonkeyPatch) -> Catalog:
    """The catalog where the example's entry point is installed."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    points = [EntryPoint(*point, "automl_car") for point in project["entry-points"]["automl_car"].items()]
    monkeypatch.syspath_prepend(EXAMPLE / "src")
    monkeypatch.setattr("automl_car.catalog.finding.entry_points", lambda group: points)
    return load_catalog()


def test_its_entry_point_brings_a_backbone_and_an_augmentation(catalog: Catalog) -> None:
    (row,) = catalog.others
    assert (row.origin, row.backbones, row.augmentations) == ("installed", ("small_cnn",), ("weather",))


def test_both_keep_the_contract(catalog: Catalog) -> None:
    check_backbone(catalog.backbone("small_cnn"))
    check_augmentation(catalog.augmentation("weather"))


@pytest.mark.slow
def test_a_wheel_of_it_is_installed_and_searched(tmp_path: Path, tiny_dataset: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    shutil.copytree(EXAMPLE, source)
    _python(tmp_path, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(source))
    (wheel,) = tmp_path.glob("*.whl")
    _python(tmp_path, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target), str(wheel))
    options = (
        "--backbone small_cnn --augmentation weather --weights random --tuning full --epochs 1 --folds 2 --trials 2"
    )
    told = _python(tmp_path, "-m", "automl_car", "search", *options.split(), path=target)
    assert "plugin `automl_car_example` (automl-car-example" in told
    assert (tmp_path / "studies" / "main" / "submission.csv").is_file()


def _python(folder: Path, *arguments: str, path: Path | None = None) -> str:
    """Run Python in a folder; returns what it wrote to stderr."""
    here = {**os.environ, "PYTHONPATH": str(path)} if path else None
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=here, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stderr
