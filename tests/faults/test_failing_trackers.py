"""Trackers that follow whole searches, and those that fail, block or exit in them: a search comes to the same."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from fault_scene import SETTINGS, Scene
from in_process import search_here

from automl_car.pipeline import tracking
from automl_car.search.overview import show_study

DIARY = """
import dataclasses, json
from automl_car import Setting, Tracker, events, hookimpl

def follow(search, *, trouble):
    {opening}
    def tell(event):
        {telling}
        values = {{"event": type(event).__name__, **dataclasses.asdict(event)}}
        with (search.folder / "events.jsonl").open("a") as file:
            print(json.dumps(values, default=str), file=file)
    return tell

@hookimpl
def register_trackers():
    return [Tracker("diary", follow, settings=(Setting("trouble", "", "what goes wrong"),))]
"""
ON = "trackers: {diary: {enabled: true}}\n"


def add(scene: Scene, *, opening: str = "pass", telling: str = "pass", settings: str = ON) -> None:
    path = scene.root / "plugins" / "diary.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(DIARY.format(opening=opening, telling=telling))
    (scene.root / "automl-car.yaml").write_text(SETTINGS + settings)


def told(scene: Scene) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (scene.root / "trackers/diary/events.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def followed(make_scene: Callable[[], Scene]) -> Scene:
    """A search that a tracker has followed; tests only read it."""
    scene = make_scene()
    add(scene)
    search_here(scene)
    return scene


def test_a_search_is_told_from_its_beginning_to_its_end(followed: Scene) -> None:
    names = [event["event"] for event in told(followed)]
    assert names[0] == "TrialBegan", "`open` was told of the search itself"
    assert names[-2:] == ["EnsembleBuilt", "SearchEnded"]
    assert {name: names.count(name) for name in ("TrialBegan", "FoldEnded", "TrialEnded", "SearchEnded")} == {
        "TrialBegan": 4,
        "FoldEnded": 8,
        "TrialEnded": 4,
        "SearchEnded": 1,
    }


def test_the_folds_that_it_is_told_of_are_those_of_the_store(followed: Scene) -> None:
    losses = sorted(event["log_loss"] for event in told(followed) if event["event"] == "FoldEnded")
    assert losses == pytest.approx(sorted(followed.log_losses().values()), abs=0)


def test_the_ensemble_that_it_is_told_of_is_the_one_that_is_kept(followed: Scene) -> None:
    last = next(event for event in reversed(told(followed)) if event["event"] == "EnsembleBuilt")
    kept = json.loads((followed.root / "studies/main/ensemble.json").read_text())
    assert last["log_loss"] == kept["log_loss"]
    assert [last["low"], last["high"]] == kept["estimate"]["interval_95"]
    assert last["weights"] == {member["name"]: member["weight"] for member in kept["members"]}


def test_epochs_come_between_the_beginning_and_the_end_of_their_trial(followed: Scene) -> None:
    events = told(followed)
    epochs = [number for number, event in enumerate(events) if event["event"] == "EpochEnded"]
    assert len(epochs) >= 8, "two fine-tunings of two folds with two epochs each"
    for at in epochs:
        own = [number for number, event in enumerate(events) if event.get("trial") == events[at]["trial"]]
        assert own[0] < at < own[-1]


@pytest.mark.slow
def test_it_changes_nothing_of_what_is_found(followed: Scene, assert_as_undisturbed: Callable[[Scene], None]) -> None:
    assert_as_undisturbed(followed)


@pytest.mark.slow
def test_a_tracker_that_is_switched_on_later_starts_no_new_generation(searched: Scene) -> None:
    add(searched, settings=ON)
    notes: list[str] = []
    search_here(searched, notes)
    assert not [note for note in notes if "generation" in note]
    assert [event["event"] for event in told(searched)] == ["EnsembleBuilt", "SearchEnded"]
    study = show_study(searched.root / "studies", "main", None)
    assert len(study.trials) == 4


@pytest.mark.slow
def test_no_tracker_is_opened_that_is_not_switched_on(scene: Scene) -> None:
    add(scene, opening="raise AssertionError('opened')", settings="trackers: {diary: {enabled: false}}\n")
    notes: list[str] = []
    search_here(scene, notes)
    assert not [note for note in notes if "followed by" in note]
    assert not (scene.root / "trackers").exists()


FAILURES = {
    "open": ({"opening": "raise OSError('no server')"}, "OSError: no server"),
    "later": ({"telling": "if isinstance(event, events.FoldEnded): raise KeyError('rank')"}, "KeyError: 'rank'"),
    "exit": ({"telling": "raise SystemExit(1)"}, "it called sys.exit(1)"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("code", "words"), FAILURES.values(), ids=FAILURES)
def test_a_search_whose_tracker_fails_comes_to_the_same(
    code: dict[str, str], words: str, scene: Scene, assert_as_undisturbed: Callable[[Scene], None]
) -> None:
    add(scene, **code)
    notes: list[str] = []
    search_here(scene, notes)
    failed = [note for note in notes if "failed, and is off" in note]
    assert len(failed) == 1
    assert failed[0].startswith(f"tracker `diary` of plugin `diary` ({scene.root}/plugins/diary.py, version ")
    assert words in failed[0]
    assert_as_undisturbed(scene)


@pytest.mark.slow
def test_a_search_whose_tracker_blocks_ends_within_seconds(
    scene: Scene, assert_as_undisturbed: Callable[[Scene], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "CLOSING", 0.2)
    add(scene, opening="import time; time.sleep(30)")
    notes: list[str] = []
    began = time.monotonic()
    search_here(scene, notes)
    assert time.monotonic() - began < 20
    assert any("is not done and is left behind" in note for note in notes)
    assert_as_undisturbed(scene)


# ---- whole processes ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_unknown_tracker_is_one_line_before_anything_is_read(scene: Scene) -> None:
    (scene.root / "automl-car.yaml").write_text(SETTINGS + "trackers: {wandbb: {enabled: true}}\n")
    assert scene.run() == 2
    assert "Did you mean `wandb`?" in scene.output
    assert "Traceback" not in scene.output
    assert not scene.store.exists()


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_tracker_that_blocks_does_not_delay_an_interruption(sent: signal.Signals, scene: Scene) -> None:
    add(scene, telling="import time; time.sleep(1000)")
    process = scene.start()
    scene.wait_for_folds(2, process)
    began = time.monotonic()
    process.send_signal(sent)
    assert process.wait(30) == 130, scene.output
    assert time.monotonic() - began < 10
    assert "left behind" in scene.output
    assert scene.processes() == []


@pytest.mark.slow
def test_the_json_of_a_search_is_all_that_stdout_gets(scene: Scene) -> None:
    add(scene, telling="import os; print('told'); os.system('echo told')")
    with (scene.root / "out.json").open("wb") as out, (scene.root / "err.txt").open("wb") as err:
        arguments = [sys.executable, "-m", "automl_car", "search", "--json", "--workspace", str(scene.root)]
        assert subprocess.run(arguments, stdout=out, stderr=err).returncode == 0
    assert json.loads((scene.root / "out.json").read_text())["complete"] == 4
    assert "told" in (scene.root / "err.txt").read_text()
