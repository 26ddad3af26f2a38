"""Tells trackers what happens, each in a thread of its own: one that raises, blocks or is slow holds up nothing."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import threading
import time
from collections.abc import Callable, Mapping
from queue import SimpleQueue

from automl_car.catalog.events import Event, SearchBegan, SearchEnded
from automl_car.catalog.params import ParamValue
from automl_car.catalog.records import ExecutorKind, Tracker
from automl_car.catalog.words import describe_error

CAPACITY = 1000  # events that may wait for a tracker; epochs come at some a second at most


class Follower:
    """One tracker that follows a search.

    Args:
        tracker, values: who, and its settings that are not at their default.
        search: what it is opened with; its folder is made.
        title: what it is called when it fails.
    """

    def __init__(self, tracker: Tracker, values: Mapping[str, ParamValue], search: SearchBegan, title: str) -> None:
        self._tracker = tracker
        self._values = values
        self._search = search
        self._title = title
        self._waiting: SimpleQueue[Event] = SimpleQueue()
        self._left_out = 0
        self._failure = ""
        # A daemon: a tracker that never returns does not keep the command from its end.
        self._thread = threading.Thread(target=self._run, name=f"tracker {tracker.name}", daemon=True)
        self._thread.start()

    def tell(self, event: Event) -> None:
        """Hand on an event, at once; it is left out where too many wait already."""
        if not self._thread.is_alive():
            return
        if self._waiting.qsize() >= CAPACITY:
            self._left_out += 1
        else:
            self._waiting.put(event)

    def end(self, reason: str) -> None:
        """Hand on the last event; there is always room for it."""
        self._waiting.put(SearchEnded(reason))

    def news(self) -> tuple[str, ...]:
        """That it has failed, once."""
        failure, self._failure = self._failure, ""
        return (failure,) if failure else ()

    def wait(self, until: float) -> tuple[str, ...]:
        """Wait for its end, at most until `time.monotonic()` is so far; what went wrong, in sentences."""
        self._thread.join(max(0.0, until - time.monotonic()))
        said = list(self.news())
        if self._left_out:
            said.append(f"{self._title} could not keep up: {_events(self._left_out)} left out")
        if self._thread.is_alive():
            said.append(f"{self._title} is not done and is left behind: {_events(self._waiting.qsize())} not taken in")
        return tuple(said)

    def _run(self) -> None:
        try:
            tell = self._open()
            event = None
            while not isinstance(event, SearchEnded):
                event = self._waiting.get()
                tell(event)
        except BaseException as error:  # foreign code: it may call sys.exit(), or worse
            self._failure = f"{self._title} failed, and is off for the rest of this search: {describe_error(error)}"

    def _open(self) -> Callable[[Event], object]:
        self._search.folder.mkdir(parents=True, exist_ok=True)
        tell = self._tracker.begin(self._search, self._values)
        if not callable(tell):
            raise TypeError(f"`open` returned {type(tell).__name__}, not a function that takes an event")
        return tell


def _events(count: int) -> str:
    return f"{count} event was" if count == 1 else f"{count} events were"


def missing_modules(record: Tracker | ExecutorKind) -> tuple[str, ...]:
    """Modules that a tracker or an executor needs and that are not installed; nothing is imported."""
    return tuple(name for name in record.needs if not _is_installed(name))


def _is_installed(module: str) -> bool:
    spec: importlib.machinery.ModuleSpec | None = importlib.util.find_spec(module.partition(".")[0])
    # Without an origin it is a mere folder of that name, such as the `wandb/` that W&B makes where it runs.
    return spec is not None and spec.origin is not None
