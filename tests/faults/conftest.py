"""Workspaces for faults: fresh ones, a finished search to damage, and one that nothing happened to."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fault_scene import SETTINGS, Scene

collect_ignore = ["fuzz_atheris.py"]  # it is run by hand, and needs what the tests do not


@pytest.fixture(scope="session")
def _photos(tmp_path_factory: pytest.TempPathFactory, tiny_photos: Callable[[Path], Path]) -> Path:
    return tiny_photos(tmp_path_factory.mktemp("photos") / "data")


@pytest.fixture(scope="session")
def make_scene(tmp_path_factory: pytest.TempPathFactory, _photos: Path, toy_plugin_text: str) -> Callable[[], Scene]:
    """Makes a fresh workspace of the tiny photos and the toy plugin."""

    def make() -> Scene:
        root = tmp_path_factory.mktemp("scene")
        shutil.copytree(_photos, root / "data")
        (root / "toy_networks.py").write_text(toy_plugin_text)
        (root / "automl-car.yaml").write_text(SETTINGS)
        return Scene(root)

    return make


@pytest.fixture(scope="session")
def undisturbed(make_scene: Callable[[], Scene]) -> Scene:
    """A search that nothing happened to; tests only read it."""
    scene = make_scene()
    assert scene.run() == 0, scene.output
    scene.look()
    return scene


@pytest.fixture
def scene(make_scene: Callable[[], Scene]) -> Scene:
    """A fresh workspace."""
    return make_scene()


@pytest.fixture
def searched(undisturbed: Scene, tmp_path: Path) -> Scene:
    """A copy of the undisturbed search, to be damaged."""
    shutil.copytree(undisturbed.root, tmp_path / "copy")
    copy = Scene(tmp_path / "copy")
    (copy.root / "output.txt").unlink()
    copy.look()
    return copy


@pytest.fixture
def assert_as_undisturbed(undisturbed: Scene) -> Callable[[Scene], None]:
    """Checks I2, I3, I4 and I6 after the command that ended the search."""

    def check(scene: Scene) -> None:
        scene.look()
        ours, theirs = scene.log_losses(), undisturbed.log_losses()
        assert ours.keys() == theirs.keys(), scene.output
        assert ours == pytest.approx(theirs, abs=1e-9)
        assert np.abs(scene.probabilities() - undisturbed.probabilities()).max() < 1e-9
        assert scene.leftovers() == []
        assert scene.processes() == []

    return check
