from __future__ import annotations

from pathlib import Path

import pytest

from automl_car.config import load_config
from automl_car.workspace import Workspace


def test_data_are_relative_to_the_workspace_unless_they_are_absolute(tmp_path: Path) -> None:
    place = Workspace(tmp_path)
    assert place.data(load_config(None)) == tmp_path / "data"
    assert place.data(load_config(None, {"data.directory": "/photos"})) == Path("/photos")


def test_the_cache_is_no_study_of_any_name() -> None:
    place = Workspace(Path("w"))
    assert place.cache.parent == place.checkpoints("main").parent
    with pytest.raises(ValueError, match="a study name begins"):
        load_config(None, {"search.study": place.cache.name})


def test_plugin_files_are_relative_to_the_workspace_and_absolute_for_other_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = load_config(None, {"plugins.files": ["net.py"], "plugins.disabled": ["eva02"]})
    sources = Workspace(Path("cars")).plugin_sources(config)
    assert sources.files == (tmp_path / "cars" / "net.py",)
    assert sources.workspace_folder == tmp_path / "cars" / "plugins"
    assert sources.disabled == ("eva02",)


def test_the_workspaces_plugins_can_be_left_out(tmp_path: Path) -> None:
    config = load_config(None, {"plugins.local": False})
    assert Workspace(tmp_path).plugin_sources(config).workspace_folder is None
