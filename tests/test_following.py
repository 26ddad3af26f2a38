"""A tracker that fails, blocks or is slow: it is told of, and nothing waits for it."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from automl_car import Tracker
from automl_car.catalog.events import EpochEnded, Event, FoldEnded, SearchBegan, SearchEnded
from automl_car.following import CAPACITY, Follower, missing_modules

TITLE = "tracker `toy` of plugin `mine` (/plugins/mine.py)"


def epoch(number: int) -> EpochEnded:
    return EpochEnded(0, 0, number, 9, 1.0, 1.0)


def soon() -> float:
    return time.monotonic() + 10


@pytest.fixture
def follow(tmp_path: Path) -> Callable[..., Follower]:
    def start(open_: Callable[..., Any], **values: Any) -> Follower:
        return Follower(Tracker("toy", open_), values, SearchBegan("main", tmp_path / "new" / "toy"), TITLE)

    return start


def test_every_event_arrives_in_order_and_the_end_is_the_last(follow: Callable[..., Follower]) -> None:
    heard: list[Event] = []
    follower = follow(lambda search: heard.append)
    for number in range(1, 100):
        follower.tell(epoch(number))
    follower.end("interrupted")
    assert follower.wait(soon()) == ()
    assert heard == [*(epoch(number) for number in range(1, 100)), SearchEnded("interrupted")]


def test_it_is_opened_with_its_folder_and_its_settings(follow: Callable[..., Follower]) -> None:
    found: dict[str, Any] = {}

    def open_(search: SearchBegan, **settings: Any) -> Callable[[Event], None]:
        found.update(settings, exists=search.folder.is_dir())
        return lambda event: None

    follower = follow(open_, project="cars")
    follower.end("")
    follower.wait(soon())
    assert found == {"project": "cars", "exists": True}


def raises(error: BaseException) -> Any:
    raise error


@pytest.mark.parametrize(
    ("open_", "words"),
    [
        (lambda search: raises(ValueError("no server")), "ValueError: no server"),
        (lambda search: lambda event: raises(OSError("disk full")), "OSError: disk full"),
        (lambda search: lambda event: raises(SystemExit(3)), r"it called sys.exit\(3\)"),
        (lambda search: lambda event: raises(KeyboardInterrupt()), "KeyboardInterrupt"),
        (lambda search: None, "`open` returned NoneType, not a function that takes an event"),
        (lambda search, project: print, "missing 1 required positional argument: 'project'"),
    ],
    ids=["open raises", "an event raises", "exit", "interrupt", "nothing to call", "arguments"],
)
def test_a_tracker_that_fails_is_told_of_once_with_its_plugin_and_hears_no_more(
    open_: Callable[..., Any], words: str, follow: Callable[..., Follower]
) -> None:
    follower = follow(open_)
    follower.tell(epoch(1))
    until = soon()
    while not (news := follower.news()) and time.monotonic() < until:
        time.sleep(0.001)
    (text,) = news
    assert text.startswith(f"{TITLE} failed, and is off for the rest of this search: ")
    assert re.search(words, text), text
    follower.tell(epoch(2))
    follower.end("")
    assert follower.wait(soon()) == ()


def test_what_a_slow_tracker_has_no_room_for_is_left_out_and_counted(follow: Callable[..., Follower]) -> None:
    heard: list[Event] = []
    go = threading.Event()
    follower = follow(lambda search: lambda event: (go.wait(), heard.append(event)))
    began = time.monotonic()
    for number in range(CAPACITY + 50):
        follower.tell(epoch(number))
    assert time.monotonic() - began < 1, "nobody waited"
    go.set()
    follower.end("")
    (text,) = follower.wait(soon())
    left_out = CAPACITY + 50 - (len(heard) - 1)
    assert text == f"{TITLE} could not keep up: {left_out} events were left out"
    assert 49 <= left_out <= 50, "the one that it is busy with makes room for another"
    assert isinstance(heard[-1], SearchEnded), "there is always room for the end"


def test_a_tracker_that_blocks_is_left_behind_when_time_is_up(follow: Callable[..., Follower]) -> None:
    go = threading.Event()
    follower = follow(lambda search: lambda event: go.wait())
    follower.tell(FoldEnded(0, 0, 1.0, 2.0))
    follower.tell(FoldEnded(0, 1, 1.0, 2.0))
    follower.end("")
    began = time.monotonic()
    (text,) = follower.wait(began + 0.2)
    assert 0.15 < time.monotonic() - began < 2
    assert text == f"{TITLE} is not done and is left behind: 2 events were not taken in"
    go.set()


def test_a_library_is_looked_for_without_importing_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "loud.py").write_text("raise AssertionError('imported')")
    (tmp_path / "a_folder").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert missing_modules(Tracker("toy", dict, needs=("loud", "json"))) == ()
    assert missing_modules(Tracker("toy", dict, needs=("loud", "absent.part"))) == ("absent.part",)
    assert missing_modules(Tracker("toy", dict, needs=("a_folder",))) == ("a_folder",), "W&B leaves a folder `wandb`"
