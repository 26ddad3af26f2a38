"""What a wheel carries: the package, the bundled plugins, the typing marker and the command."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names of the files in a wheel that is built from this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # building in the checkout would leave a build/ there, and find that of an earlier one
    for name in ("automl_car", "plugins"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(source)]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def test_the_wheel_carries_every_bundled_plugin(names: set[str]) -> None:
    plugins = {f"automl_car/plugins/{path.name}" for path in (ROOT / "plugins").glob("*.py")}
    assert plugins
    assert plugins <= names


def test_the_wheel_carries_every_module_of_the_package(names: set[str]) -> None:
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "automl_car").rglob("*.py")}
    assert modules <= names


def test_the_wheel_carries_the_templates_of_new_plugins(names: set[str]) -> None:
    kinds = ("backbone", "augmentation", "test")
    assert {f"automl_car/templates/{kind}.py.txt" for kind in kinds} <= names


def test_the_wheel_says_that_it_is_typed(names: set[str]) -> None:
    assert "automl_car/py.typed" in names


def test_the_wheel_brings_nothing_but_the_package(names: set[str]) -> None:
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"automl_car"}
