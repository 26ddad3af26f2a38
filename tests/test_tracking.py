"""Which trackers follow a search, and what they are told."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from automl_car import Setting, Tracker
from automl_car.catalog.events import EpochEnded, Event, FoldEnded, SearchEnded, TrialBegan, TrialEnded
from automl_car.catalog.manager import Catalog, PluginInfo
from automl_car.config import Config, load_config
from automl_car.console import Lines
from automl_car.errors import ConfigError
from automl_car.fold_records import Epoch, FoldResult, FoldTask, Machine
from automl_car.pipeline import tracking
from automl_car.pipeline.tracking import Chosen, Tracked, pick_trackers, tracked
from automl_car.records import Recipe
from automl_car.search.job import Outcome

SETTINGS = (Setting("project", "cars", "a name"), Setting("rows", 10, "a number"), Setting("rate", 0.5, "a share"))
MODE = Setting("mode", "offline", "where", choices=("offline", "online"))


def catalog(**changes: Any) -> Catalog:
    tracker = Tracker("diary", dict, settings=(*SETTINGS, MODE), **changes)
    row = PluginInfo("mine", "workspace", "/plugins/mine.py", "1234abcd", trackers=("diary",))
    return Catalog({}, {}, (row,), {"diary": tracker})


def settings(text: str, tmp_path: Path) -> Config:
    (tmp_path / "c.yaml").write_text(text)
    return load_config(tmp_path / "c.yaml")


# ---- which ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["{}", "trackers:", "trackers: {diary: }", "trackers: {diary: {enabled: false, x: 1}}"]
)
def test_no_tracker_is_on_unless_the_settings_say_so(text: str, tmp_path: Path) -> None:
    config = settings(text, tmp_path)
    assert config == Config()
    assert pick_trackers(catalog(), config) == ()


def test_a_tracker_that_is_on_has_its_settings_and_names_its_plugin(tmp_path: Path) -> None:
    config = settings("trackers: {diary: {enabled: true, project: vans, rate: 1, mode: online}}", tmp_path)
    (chosen,) = pick_trackers(catalog(), config)
    assert dict(chosen.values) == {"project": "vans", "rate": 1, "mode": "online"}
    assert chosen.title == "tracker `diary` of plugin `mine` (/plugins/mine.py, version 1234abcd)"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("dairy: {enabled: true}", r"name `trackers\.dairy`\. Did you mean `diary`\?"),
        ("diary: {enabled: true, projct: x}", r"unknown setting `trackers\.diary\.projct`\. Did you mean `project`\?"),
        ("diary: {enabled: true, zzz: 1}", "Known here: project, rows, rate, mode"),
        ("diary: {enabled: true, project: 7}", r"trackers\.diary\.project: `7` is wrong: write a text"),
        ("diary: {enabled: true, rows: 1.5}", r"trackers\.diary\.rows: `1.5` is wrong: write a whole number"),
        ("diary: {enabled: true, rows: yes}", "`True` is wrong: write a whole number"),
        ("diary: {enabled: true, mode: onlin}", "write one of offline, online"),
        ("diary: {enabled: maybe}", r"line 1: trackers\.diary\.enabled: `maybe` is wrong: write true or false"),
        ("diary: true", r"trackers\.diary: `true` is wrong: a section holds"),
        ("diary: {enabled: true, project: 2024-01-01}", r"trackers\.diary\.project: .*a date goes in quotes"),
        ("diary: {enabled: true, project: [a]}", r"trackers\.diary\.project: .*write a text, a number"),
    ],
)
def test_wrong_settings_are_told_with_what_is_near_or_expected(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        pick_trackers(catalog(), settings(f"trackers: {{{text}}}", tmp_path))


def test_a_missing_library_is_told_with_the_command_that_brings_it(tmp_path: Path) -> None:
    config = settings("trackers: {diary: {enabled: true}}", tmp_path)
    with pytest.raises(
        ConfigError, match=r"`trackers\.diary` is switched on, and `no_such_thing` is not installed"
    ) as told:
        pick_trackers(catalog(needs=("json", "no_such_thing"), install="automl-car[diary]"), config)
    assert (told.value.hint or "").startswith("pip install 'automl-car[diary]'")


# ---- what they are told ---------------------------------------------------------------------------------------------


@pytest.fixture
def heard() -> list[Event]:
    return []


@pytest.fixture
def view(heard: list[Event], tmp_path: Path) -> Iterator[Tracked]:
    chosen = Chosen(Tracker("ear", lambda search: heard.append), {}, "tracker `ear`")
    with tracked(Lines(), (chosen,), tmp_path, Config()) as listening:
        listening.search_begins("main", 9, None, Machine("cpu", "CPU", 2))
        yield listening


def task(fold: int, trial: int | None = None) -> FoldTask:
    return FoldTask(Recipe("toy"), "abc", fold, Path("d"), Path("c"), trial=trial)


def result(fold: int, status: Any = "finished") -> FoldResult:
    return FoldResult("abc", fold, status, 1.25, 1.3, 1.0, (), 3.0)


def wait_for(heard: list[Event], count: int) -> None:
    until = time.monotonic() + 10
    while len(heard) < count and time.monotonic() < until:
        time.sleep(0.001)
    assert len(heard) == count


def test_epochs_are_told_with_the_trial_whose_fold_is_in_flight(view: Tracked, heard: list[Event]) -> None:
    view.trial_began(3, Recipe("toy", params=(("toy.width", 8),)))
    view.trial_began(4, Recipe("toy"))
    view.fold_began(3, 1)
    view.trained(task(1, trial=3), Epoch(2, 5, 0.7, 0.9, 4.0, 0.8))
    view.fold_ended(3, result(1), stored=False)
    wait_for(heard, 4)
    first, _, *others = heard
    assert isinstance(first, TrialBegan)
    assert (first.trial, first.params["backbone"], first.params["toy.width"]) == (3, "toy", 8)
    assert others == [EpochEnded(3, 1, 2, 5, 0.7, 0.9, 0.8, 4.0), FoldEnded(3, 1, 1.25, 3.0, stored=False)]


def test_of_several_folds_in_flight_each_epoch_is_told_with_its_own_trial(view: Tracked, heard: list[Event]) -> None:
    view.fold_began(3, 1)
    view.fold_began(4, 1)
    view.trained(task(1, trial=4), Epoch(1, 5, 0.7, 0.9, 4.0))
    view.trained(task(1, trial=3), Epoch(2, 5, 0.7, 0.9, 4.0))
    wait_for(heard, 2)
    assert [(event.trial, event.epoch) for event in heard if isinstance(event, EpochEnded)] == [(4, 1), (3, 2)]


def test_a_fold_that_goes_on_after_its_trial_is_not_told(view: Tracked, heard: list[Event]) -> None:
    view.fold_began(3, 1)
    view.fold_began(3, 2)
    view.trial_ended(3, Outcome(TrialState.PRUNED, reason="worse"))
    view.trained(task(2, trial=3), Epoch(1, 5, 0.7, 0.9, 4.0))
    wait_for(heard, 1)
    assert isinstance(heard[0], TrialEnded)


def test_a_fold_that_belongs_to_no_trial_of_this_run_is_not_told(view: Tracked, heard: list[Event]) -> None:
    view.trained(task(0), Epoch(1, 5, 0.7, 0.9, 4.0))
    view.fold_began(0, 1)
    view.trained(task(0), Epoch(2, 5, 0.7, 0.9, 4.0))
    view.fold_ended(0, result(1, "beaten"), stored=False)
    view.trial_ended(0, Outcome(TrialState.PRUNED, reason="too slow"))
    wait_for(heard, 1)
    assert heard == [TrialEnded(0, "pruned", None, "too slow", {})]


@pytest.mark.parametrize(
    ("error", "reason"),
    [(None, ""), (KeyboardInterrupt(), "interrupted"), (ConfigError("bad"), "bad"), (OSError("full"), "OSError: full")],
)
def test_the_end_says_why(error: BaseException | None, reason: str, heard: list[Event], tmp_path: Path) -> None:
    def search() -> None:
        chosen = Chosen(Tracker("ear", lambda search: heard.append), {}, "tracker `ear`")
        with tracked(Lines(), (chosen,), tmp_path, Config()) as listening:
            listening.search_begins("main", 9, None, Machine("cpu", "CPU", 2))
            if error is not None:
                raise error

    if error is None:
        search()
    else:
        with pytest.raises(type(error)):
            search()
    assert heard == [SearchEnded(reason)]


def test_what_a_tracker_prints_does_not_reach_stdout(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    chosen = Chosen(Tracker("loud", lambda search: print), {}, "tracker `loud`")
    with tracked(Lines(), (chosen,), tmp_path, Config()) as listening:
        listening.search_begins("main", 9, None, Machine("cpu", "CPU", 2))
    out, err = capfd.readouterr()
    assert out == ""
    assert "SearchEnded" in err


def test_a_password_in_the_storage_is_told_to_nobody(tmp_path: Path) -> None:
    found: list[Any] = []

    def open_(search: Any) -> Callable[[Event], None]:
        found.append(search)
        return lambda event: None

    config = Config()
    config = config.model_copy(
        update={"search": config.search.model_copy(update={"storage": "postgresql://me:secret@host/db"})}
    )
    with tracked(Lines(), (Chosen(Tracker("ear", open_), {}, "t"),), tmp_path, config) as listening:
        listening.search_begins("main", 9, None, Machine("cpu", "CPU", 2))
    (search,) = found
    assert "secret" not in repr(search)
    assert search.settings["search"]["trials"] == 50
    assert search == replace(search, study="main", folder=tmp_path / "ear", trials=9, machine="CPU", cores=2)


def test_all_trackers_together_have_some_seconds_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "CLOSING", 0.3)
    blocking = [Chosen(Tracker(name, lambda search: lambda event: time.sleep(3)), {}, name) for name in "abc"]
    began = time.monotonic()
    with tracked(Lines(), tuple(blocking), tmp_path, Config()) as listening:
        listening.search_begins("main", 9, None, Machine("cpu", "CPU", 2))
    assert time.monotonic() - began < 2
