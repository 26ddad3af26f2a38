"""Small real things that many tests need: a data set of tiny photos, and a plugin with a tiny network.

Two fixtures work by themselves: nothing of this machine's settings, caches or plugins reaches the code under test.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from database_servers import MariaDB, Postgres, mysql_binaries, postgres_binaries
from PIL import Image
from stuck_exit import pytest_unconfigure as pytest_unconfigure

from automl_car.catalog.manager import Catalog, load_catalog
from automl_car.catalog.records import PluginSources
from automl_car.data.index import read_dataset
from automl_car.data.prepare import Prepared, prepare

CLASSES = ("coupe", "hatchback", "van")
COLOURS = np.array([[160, 80, 80], [80, 160, 80], [80, 80, 160]])
PHOTOS_PER_CLASS, TEST_PHOTOS = 12, 5

TOY_PLUGIN = '''
"""A network of three layers for photos of 16 or 32 pixels."""
from functools import partial

from automl_car import Augmentation, Backbone, Param, hookimpl


def build(num_classes, *, pretrained=True, width=8):
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(3, width, 3, stride=2), nn.ReLU(),
        nn.Conv2d(width, 12, 3, stride=2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(12, num_classes),
    )


@hookimpl
def register_backbones():
    return [
        Backbone("toy", build, image_size=16, default_lr=0.01, params=(Param.int("width", 4, 12, default=8),)),
        Backbone("toy_large", partial(build, width=6), image_size=32, default_lr=0.01),
    ]
'''


@pytest.fixture(autouse=True)
def _no_settings_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in tuple(os.environ):
        if name.startswith(("HF_", "AUTOML_", "HUGGINGFACE_")) or name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _no_installed_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_installed(group: str) -> tuple[EntryPoint, ...]:
        return ()

    monkeypatch.setattr("automl_car.catalog.finding.entry_points", none_installed)


def write_tiny_photos(root: Path) -> Path:
    """Three classes of twelve JPEGs, 8 to 32 pixels a side, whose colour hints at the class; five test photos."""
    random = np.random.default_rng(0)

    def photo(path: Path, label: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        paint = COLOURS[label] + random.normal(0, 25, 3)
        blocks = np.clip(paint + random.normal(0, 40, (4, 4, 3)), 0, 255).astype(np.uint8)
        width, height = (int(side) for side in random.integers(8, 33, 2))
        Image.fromarray(blocks).resize((width, height)).save(path, quality=95)

    for label, name in enumerate(CLASSES):
        for row in range(PHOTOS_PER_CLASS):
            photo(root / "train" / name / f"{row:02}.jpg", label)
    for row in range(TEST_PHOTOS):
        photo(root / "test" / f"{row}.jpg", row % len(CLASSES))
    ids = [f"T{row}" for row in range(TEST_PHOTOS)]
    lines = [f"{name},./test/{row}.jpg" for row, name in enumerate(ids)]
    (root / "test.csv").write_text("\n".join(["ID,img_path", *lines, ""]))
    rows = [f"{name},{','.join(['0'] * len(CLASSES))}" for name in ids]
    (root / "sample_submission.csv").write_text("\n".join([f"ID,{','.join(CLASSES)}", *rows, ""]))
    return root


@pytest.fixture(scope="session")
def tiny_photos() -> Callable[[Path], Path]:
    """Writes the tiny photos into a folder, for fixtures that live longer than a test."""
    return write_tiny_photos


@pytest.fixture(scope="session")
def toy_plugin_text() -> str:
    """The toy plugin as text, for fixtures that live longer than a test."""
    return TOY_PLUGIN


@pytest.fixture
def tiny_dataset(tmp_path: Path) -> Path:
    """A folder in the contest's layout: see `write_tiny_photos`."""
    return write_tiny_photos(tmp_path / "data")


@pytest.fixture
def toy_plugin(tmp_path: Path) -> Path:
    """A plugin file with the backbones `toy` (16 pixels) and `toy_large` (32 pixels)."""
    path = tmp_path / "toy_networks.py"
    path.write_text(TOY_PLUGIN)
    return path


@pytest.fixture(scope="session")
def toy_catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """The bundled plugins and the toy one."""
    path = tmp_path_factory.mktemp("plugin") / "toy_networks.py"
    path.write_text(TOY_PLUGIN)
    return load_catalog(PluginSources(files=(path,)))


@pytest.fixture(scope="session")
def tiny_prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """The tiny photos decoded and split into three folds; nothing writes to them."""
    root = tmp_path_factory.mktemp("prepared")
    return prepare(
        read_dataset(write_tiny_photos(root / "data")),
        cache_directory=root / "cache",
        study_directory=root / "study",
        short_side=32,
        folds=3,
        seed=0,
    )


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server for all tests of a run; a test that stops it starts it again."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install automl-car[postgres]")
    if (binaries := postgres_binaries()) is None:
        pytest.skip("there is no PostgreSQL server on this machine: apt-get install postgresql")
    server = Postgres(binaries)
    yield server
    server.close()


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDB]:
    """A MariaDB server for all tests of a run."""
    pytest.importorskip("pymysql", reason="pymysql is not installed: pip install automl-car[mysql]")
    if (binaries := mysql_binaries()) is None:
        pytest.skip("there is no MariaDB server on this machine: apt-get install mariadb-server")
    server = MariaDB(binaries)
    yield server
    server.close()


@pytest.fixture
def disk_calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What the code asks of the disk from here on, in its order: ("mkdir" | "fsync" | "replace", name)."""
    calls: list[tuple[str, str]] = []
    mkdir, replace = Path.mkdir, Path.replace

    def count_mkdir(path: Path, *args: object, **options: object) -> None:
        mkdir(path, *args, **options)  # type: ignore[arg-type]
        calls.append(("mkdir", path.name))

    def count_replace(path: Path, target: Path) -> Path:
        calls.append(("replace", Path(target).name))
        return replace(path, target)

    def count_fsync(descriptor: int) -> None:
        calls.append(("fsync", Path(f"/proc/self/fd/{descriptor}").readlink().name))

    monkeypatch.setattr(Path, "mkdir", count_mkdir)
    monkeypatch.setattr(Path, "replace", count_replace)
    monkeypatch.setattr(os, "fsync", count_fsync)
    return calls
