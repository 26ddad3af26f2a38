"""A new plugin works as it is, and nothing of a person's is overwritten."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from automl_car.contract import check_plugin_file
from automl_car.errors import ConfigError
from automl_car.plugin_kit import Kind, write_plugin


@pytest.mark.parametrize("kind", get_args(Kind))
def test_a_new_plugin_keeps_the_contract_as_it_is(kind: Kind, tmp_path: Path) -> None:
    plugin, _ = write_plugin("mine", kind, tmp_path, taken=())
    assert check_plugin_file(plugin) == ("mine",)


@pytest.mark.parametrize("kind", get_args(Kind))
def test_a_new_plugin_is_short(kind: Kind, tmp_path: Path) -> None:
    plugin, _ = write_plugin("mine", kind, tmp_path, taken=())
    assert 20 <= len(plugin.read_text(encoding="utf-8").splitlines()) <= 50


def test_its_test_passes_where_it_was_written(tmp_path: Path) -> None:
    _, test = write_plugin("mine", "augmentation", tmp_path, taken=())
    written: dict[str, object] = {"__file__": str(test)}
    exec(compile(test.read_text(encoding="utf-8"), test, "exec"), written)
    checks = [value for name, value in written.items() if name.startswith("test_")]
    assert len(checks) == 1
    checks[0]()  # type: ignore[operator]


@pytest.mark.parametrize("name", ["class", "my-net", "2nd", "_hidden", "Net", "", "a/b", "é"])
def test_what_is_no_name_of_a_python_module_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be the name"):
        write_plugin(name, "backbone", tmp_path, taken=())
    assert not list(tmp_path.iterdir())


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`heavy` is taken"):
        write_plugin("heavy", "augmentation", tmp_path, taken=("heavy",))


@pytest.mark.parametrize("there", ["plugins/mine.py", "tests/test_mine.py"])
def test_a_file_that_is_there_stays_and_nothing_is_written_beside_it(there: str, tmp_path: Path) -> None:
    path = tmp_path / there
    path.parent.mkdir()
    path.write_text("precious")
    with pytest.raises(ConfigError, match="is there already"):
        write_plugin("mine", "backbone", tmp_path, taken=())
    assert [file.read_text() for file in tmp_path.rglob("*.py")] == ["precious"]
