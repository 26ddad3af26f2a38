"""The rules that a tracker must keep: it is opened with its defaults, and told of a small made-up search."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from automl_car.catalog.events import (
    EnsembleBuilt,
    EpochEnded,
    Event,
    FoldEnded,
    SearchBegan,
    SearchEnded,
    TrialBegan,
    TrialEnded,
)
from automl_car.catalog.records import Tracker
from automl_car.catalog.words import how_to_install
from automl_car.errors import PluginError

_PARAMS = {"backbone": "resnet50", "learning_rate": 1e-3, "epochs": 2, "flip": True, "resnet50.drop_path": 0.05}
# A trial that is complete, one that was stopped in its first fold, and a third that nothing was trained of.
EVENTS: tuple[Event, ...] = (
    TrialBegan(0, _PARAMS),
    EpochEnded(0, 1, 1, 2, 1.2, 1.1, 1.0, 2.0),
    EpochEnded(0, 1, 2, 2, 0.8, 0.9, 0.85, 4.0),
    FoldEnded(0, 1, 0.85, 4.0),
    TrialBegan(1, _PARAMS),
    EpochEnded(1, 0, 1, 2, float("nan"), 2.5, None, 2.0),
    FoldEnded(0, 0, 0.95, 4.0, stored=True),
    TrialEnded(0, "complete", 0.9, "", _PARAMS),
    EnsembleBuilt(0.88, 0.8, 0.96, {"trial 0": 1.0}),
    TrialEnded(1, "pruned", None, "after epoch 1 of 2 it is at 2.500", _PARAMS),
    TrialBegan(2, _PARAMS),
    TrialEnded(2, "failed", None, "its plugin raised", _PARAMS),
    SearchEnded(),
)


@dataclass
class TrackerBench:
    """A tracker, an empty folder, and what the rules so far have made of it."""

    tracker: Tracker
    folder: Path
    made: dict[str, Any] = field(default_factory=dict)


def _opens(bench: TrackerBench) -> None:
    search = SearchBegan("main", bench.folder, trials=3, machine="CPU", settings={"search": {"trials": 3}})
    bench.made["before"] = _state()
    tell = _in_a_thread(f"`open` of `{bench.tracker.name}`", lambda: bench.tracker.begin(search, {}))
    if not callable(tell):
        raise PluginError(
            f"`open` of `{bench.tracker.name}` returned {type(tell).__name__}, not a function that takes an event."
        )
    bench.made["tell"] = tell


def _takes_events(bench: TrackerBench) -> None:
    tell = bench.made["tell"]

    def tell_all() -> None:
        for event in EVENTS:
            try:
                tell(event)
            except BaseException as error:
                error.add_note(type(event).__name__)
                raise

    _in_a_thread(f"`{bench.tracker.name}`", tell_all)


def _leaves_the_process_alone(bench: TrackerBench) -> None:
    """It runs beside a search, so nothing can put back what it changes."""
    for name, value in _state().items():
        if value != bench.made["before"][name]:
            raise PluginError(f"`{bench.tracker.name}` changes {name}, and a search goes on beside it.")


def _state() -> dict[str, Any]:
    return {
        "the folder that the process works in": Path.cwd(),
        "`sys.stdout` or `sys.stderr`": (id(sys.stdout), id(sys.stderr)),
    }


def _in_a_thread(what: str, work: Callable[[], Any]) -> Any:
    """As in a search: where, for one, no signal can be handled."""
    answer: dict[str, Any] = {}

    def run() -> None:
        try:
            answer["value"] = work()
        except BaseException as error:  # any plugin code may run here, `sys.exit()` included
            answer["error"] = error

    thread = threading.Thread(target=run, name="tracker")
    thread.start()
    thread.join()
    if error := answer.get("error"):
        at = "".join(f" at {note}" for note in getattr(error, "__notes__", ()))
        words = f"{type(error).__name__}: {error}{how_to_install(error)}"
        raise PluginError(f"{what} raised{at} {words}") from error
    return answer["value"]


TRACKER_RULES: Mapping[str, Callable[[TrackerBench], None]] = {
    "open": _opens,
    "events": _takes_events,
    "manners": _leaves_the_process_alone,
}
