from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from automl_car.catalog.offering import bundled_executors
from automl_car.config import Config, load_config
from automl_car.errors import DataError
from automl_car.init import settings_text, write_workspace

SETTING = "  # "


def written(tmp_path: Path, text: str) -> Config:
    (tmp_path / "c.yaml").write_text(text)
    return load_config(tmp_path / "c.yaml")


def with_executors_at_default(config: Config) -> Config:
    """Without the settings of executors, which are their plugins' defaults: no plugin is asked when a file is read."""
    declared = {kind.name: {setting.name: setting.default for setting in kind.settings} for kind in bundled_executors()}
    assert {name: declared[name] for name in config.executors.given} == config.executors.given
    return config.model_copy(update={"executors": Config().executors})


def test_the_file_as_it_is_written_leaves_every_default(tmp_path: Path) -> None:
    assert written(tmp_path, settings_text()) == Config()


def test_with_all_comment_marks_off_every_setting_is_there_at_its_default(tmp_path: Path) -> None:
    bare = settings_text().replace(f"\n{SETTING}", "\n  ")
    config = with_executors_at_default(written(tmp_path, bare))
    assert config == Config()
    for name, section in config:
        assert section.model_fields_set == set(type(section).model_fields), name


def test_the_comment_mark_may_be_taken_off_any_single_line(tmp_path: Path) -> None:
    lines = settings_text().splitlines()
    settings = [number for number, line in enumerate(lines) if line.startswith(SETTING)]
    assert len(settings) > 30
    for number in settings:
        bare = [line.replace("# ", "", 1) if row == number else line for row, line in enumerate(lines)]
        assert with_executors_at_default(written(tmp_path, "\n".join(bare))) == Config()


def test_every_setting_is_explained() -> None:
    for line in settings_text().splitlines():
        if line.startswith(SETTING):
            _, explanation = line.removeprefix(SETTING).split("  # ")
            assert explanation, line


def test_the_folders_and_the_settings_are_made_and_named(tmp_path: Path) -> None:
    made, _ = write_workspace(tmp_path / "new" / "cars")
    names = ["automl-car.schema.json", "automl-car.yaml", "checkpoints", "data", "plugins", "studies"]
    assert sorted(path.name for path in made) == names
    assert all(path.exists() for path in made)


def test_what_is_there_already_is_neither_touched_nor_named(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.csv").write_text("kept")
    made, _ = write_workspace(tmp_path)
    assert tmp_path / "data" not in made
    assert (tmp_path / "data" / "mine.csv").read_text() == "kept"


def test_settings_that_are_there_are_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "automl-car.yaml").write_text("search: {trials: 3}")
    with pytest.raises(DataError, match=r"automl-car\.yaml` is there already"):
        write_workspace(tmp_path)
    assert (tmp_path / "automl-car.yaml").read_text() == "search: {trials: 3}"
    assert [path.name for path in tmp_path.iterdir()] == ["automl-car.yaml"], "nothing else was made"


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cars").write_text("a file")
    with pytest.raises(DataError, match="is a file"):
        write_workspace(tmp_path / "cars")


def test_a_contest_that_lies_elsewhere_stands_in_the_settings(
    tiny_photos: Callable[[Path], Path], tmp_path: Path
) -> None:
    root = tiny_photos(tmp_path / "open")
    (root / "test.csv").rename(root / "test_list.csv")
    write_workspace(tmp_path)
    data = load_config(tmp_path / "automl-car.yaml").data
    assert data.model_dump(exclude_defaults=True) == {"directory": Path("open"), "test": "test_list.csv"}


def test_editors_find_the_schema_by_the_first_line(tmp_path: Path) -> None:
    write_workspace(tmp_path)
    first = (tmp_path / "automl-car.yaml").read_text().splitlines()[0]
    schema = first.removeprefix("# yaml-language-server: $schema=")
    assert "search" in json.loads((tmp_path / schema).read_text())["properties"]
