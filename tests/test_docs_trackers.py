"""What docs/trackers.md shows is true: its settings are read, its plugin keeps the contract and writes what it says."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from automl_car import cli
from automl_car.catalog.manager import load_catalog
from automl_car.catalog.records import PluginSources
from automl_car.config import Config, load_config
from automl_car.contract import check_plugin_file
from automl_car.following import CAPACITY
from automl_car.pipeline import tracking
from automl_car.pipeline.tracking import pick_trackers
from automl_car.tracker_rules import EVENTS

PAGE = (Path(__file__).parents[1] / "docs" / "trackers.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)
SETTINGS = [text for language, text in BLOCKS if language == "yaml"]
(PLUGIN,) = [text for language, text in BLOCKS if language == "python"]


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    path = tmp_path / "plugins" / "diary.py"
    path.parent.mkdir()
    path.write_text(PLUGIN)
    return path


def read(text: str, tmp_path: Path) -> Config:
    (tmp_path / "automl-car.yaml").write_text(text)
    return load_config(tmp_path / "automl-car.yaml")


@pytest.mark.parametrize("text", SETTINGS)
def test_the_settings_switch_their_trackers_on(
    text: str, tmp_path: Path, plugin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("automl_car.pipeline.plugin_settings.missing_modules", lambda tracker: ())
    chosen = pick_trackers(load_catalog(PluginSources(plugin.parent)), read(text, tmp_path))
    assert [one.tracker.name for one in chosen] == sorted(re.findall(r"^  (\w+):", text, re.MULTILINE))


def test_the_plugin_keeps_the_contract(plugin: Path) -> None:
    assert check_plugin_file(plugin) == ("diary",)


def test_the_command_that_checks_it_says_so(
    plugin: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (command,) = [line for _, text in BLOCKS for line in text.splitlines() if line.startswith("automl-car ")]
    monkeypatch.chdir(plugin.parents[1])
    monkeypatch.setattr("sys.argv", command.split())
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    assert re.search(r"diary +kept", capsys.readouterr().out)


def test_the_plugin_writes_a_line_for_each_trial(plugin: Path, tmp_path: Path) -> None:
    from automl_car.catalog.events import SearchBegan

    tracker = load_catalog(PluginSources(plugin.parent)).trackers["diary"]
    tell = tracker.begin(SearchBegan("main", tmp_path), {"file": "trials.csv"})
    for event in EVENTS:
        tell(event)
    with (tmp_path / "main-trials.csv").open(newline="") as lines:
        assert [row[:3] for row in csv.reader(lines)] == [
            ["0", "complete", "0.9"],
            ["1", "pruned", ""],
            ["2", "failed", ""],
        ]


def test_the_numbers_in_the_text_are_those_of_the_code() -> None:
    assert f"{CAPACITY:,} may wait" in PAGE
    assert tracking.CLOSING == 10
    assert tracking.CLOSING_AT_ONCE == 2
    assert "have ten seconds to close their files, after Ctrl-C two" in PAGE.replace("\n", " ")
