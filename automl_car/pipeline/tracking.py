"""A view that trackers listen to: what a search tells the person in front of it is told to them, too."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from automl_car.catalog.events import (
    EnsembleBuilt,
    EpochEnded,
    Event,
    FoldEnded,
    SearchBegan,
    TrialBegan,
    TrialEnded,
)
from automl_car.catalog.manager import Catalog
from automl_car.catalog.params import ParamValue
from automl_car.catalog.records import Tracker
from automl_car.catalog.state import stdout_to_stderr
from automl_car.catalog.words import did_you_mean
from automl_car.config import Config
from automl_car.ensemble_records import Ensemble
from automl_car.errors import AutomlCarError, ConfigError
from automl_car.fold_records import Epoch, FoldResult, FoldTask, Machine, Progress
from automl_car.following import Follower
from automl_car.pipeline.outcome import View
from automl_car.pipeline.plugin_settings import lacks, wrong_settings
from automl_car.records import Recipe
from automl_car.search.job import Outcome

# Seconds for all trackers to close their files, at the end and after Ctrl-C, which has ten seconds for everything.
CLOSING, CLOSING_AT_ONCE = 10.0, 2.0


@dataclass(frozen=True)
class Chosen:
    """A tracker that the settings switch on, the values that they give it, and what it is called when it fails."""

    tracker: Tracker
    values: Mapping[str, ParamValue]
    title: str


def pick_trackers(catalog: Catalog, config: Config) -> tuple[Chosen, ...]:
    """The trackers that are switched on, by name.

    Raises:
        ConfigError: one is unknown or has wrong settings, or its library is not installed.
    """
    wanted = sorted(config.trackers.switched_on.items())
    if problems := [problem for name, values in wanted for problem in _problems(catalog, name, values)]:
        raise ConfigError("\n".join(problems), hint="`automl-car plugins` lists the trackers and their settings.")
    chosen = [Chosen(catalog.trackers[name], values, _title(catalog, name)) for name, values in wanted]
    for tracker in (one.tracker for one in chosen):
        if lacking := lacks(tracker):
            modules, install = lacking
            raise ConfigError(
                f"`trackers.{tracker.name}` is switched on, and {modules} is not installed.",
                hint=f"{install}, or switch it off: trackers: {{{tracker.name}: {{enabled: false}}}}",
            )
    return tuple(chosen)


def _problems(catalog: Catalog, name: str, values: Mapping[str, ParamValue]) -> Iterator[str]:
    tracker = catalog.trackers.get(name)
    if tracker is None:
        near = did_you_mean(name, tuple(catalog.trackers))
        yield f"settings: no plugin offers a tracker of the name `trackers.{name}`.{near}"
        return
    yield from wrong_settings(f"trackers.{name}", tracker, values, beside="only `enabled`")


def _title(catalog: Catalog, name: str) -> str:
    owner = next(row for row in catalog.plugins if name in row.trackers)
    return f"tracker `{name}` of {owner.title}"


@contextmanager
def tracked(view: View, chosen: tuple[Chosen, ...], folder: Path, config: Config) -> Iterator[Tracked]:
    """The view for a search that these trackers follow; afterwards they have some seconds to close their files.

    Args:
        folder: of the workspace's trackers; each has one of its name in it.
    """
    listening = Tracked(view, chosen, folder, config)
    if not chosen:
        yield listening
        return
    with stdout_to_stderr():  # `--json` has stdout for itself
        reason, patience = "", CLOSING
        try:
            yield listening
        except KeyboardInterrupt:
            reason, patience = "interrupted", CLOSING_AT_ONCE
            raise
        except AutomlCarError as error:
            reason = error.message
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise
        finally:
            listening.close(reason, patience)


class Tracked:
    """Hands on what it is told to the person's view, and to trackers; what they have to say goes to the person."""

    def __init__(self, view: View, chosen: tuple[Chosen, ...], folder: Path, config: Config) -> None:
        self._view = view
        self._chosen = chosen
        self._folder = folder
        self._config = config
        self._followers: tuple[Follower, ...] = ()
        self._in_flight: set[tuple[int, int]] = set()  # trials and their folds
        self._params: dict[int, Mapping[str, Any]] = {}

    def close(self, reason: str, patience: float) -> None:
        """Tell trackers that the search has ended, and wait so many seconds for all of them."""
        for follower in self._followers:
            follower.end(reason)
        until = time.monotonic() + patience
        for follower in self._followers:
            for text in follower.wait(until):
                self._view.note(text)

    # ---- what a view is told ----

    def note(self, text: str) -> None:
        self._view.note(text)

    def progress(self, text: str, done: int, total: int) -> None:
        self._view.progress(text, done, total)

    def trained(self, task: FoldTask, message: Epoch | Progress) -> None:
        """Comes from another thread."""
        self._view.trained(task, message)
        if task.trial is None or (task.trial, task.fold) not in self._in_flight or not isinstance(message, Epoch):
            return  # a fold that is mended belongs to no trial of this run, and a trial may end before its last fold
        event = EpochEnded(
            task.trial,
            task.fold,
            message.number,
            message.total,
            message.train_loss,
            message.log_loss,
            message.calibrated,
            message.seconds,
        )
        for follower in self._followers:
            follower.tell(event)

    def search_begins(self, study: str, trials: int, deadline: float | None, machine: Machine) -> None:
        self._view.search_begins(study, trials, deadline, machine)
        settings = self._config.model_dump(mode="json", exclude={"trackers": True, "search": {"storage"}})
        self._followers = tuple(
            Follower(
                one.tracker,
                one.values,
                SearchBegan(
                    study=study,
                    folder=(self._folder / one.tracker.name).resolve(),
                    trials=trials,
                    device=machine.device,
                    machine=machine.name,
                    cores=machine.cores,
                    settings=settings,
                ),
                one.title,
            )
            for one in self._chosen
        )
        if self._chosen:
            names = ", ".join(one.tracker.name for one in self._chosen)
            self._view.note(f"followed by {names}; files of trackers are in {self._folder}")

    def trial_began(self, number: int, recipe: Recipe) -> None:
        self._view.trial_began(number, recipe)
        values = recipe.to_json()
        self._params[number] = values.pop("params") | values
        self._tell(TrialBegan(number, self._params[number]))

    def fold_began(self, number: int, fold: int) -> None:
        self._in_flight.add((number, fold))
        self._view.fold_began(number, fold)

    def fold_ended(self, number: int, result: FoldResult, *, stored: bool) -> None:
        self._in_flight.discard((number, result.fold))
        self._view.fold_ended(number, result, stored=stored)
        if result.status == "finished":
            self._tell(FoldEnded(number, result.fold, result.log_loss, result.seconds, stored))

    def trial_ended(self, number: int, outcome: Outcome) -> None:
        self._in_flight = {(trial, fold) for trial, fold in self._in_flight if trial != number}
        self._view.trial_ended(number, outcome)
        params = self._params.pop(number, {})
        self._tell(TrialEnded(number, outcome.word, outcome.log_loss, outcome.reason, params))

    def ensemble_built(self, built: Ensemble) -> None:
        """The ensemble of the trials so far."""
        low, high = built.estimate.interval
        weights = {member.name: member.weight for member in built.members}
        self._tell(EnsembleBuilt(built.nested_log_loss, low, high, weights))

    def _tell(self, event: Event) -> None:
        for follower in self._followers:
            follower.tell(event)
            for text in follower.news():
                self._view.note(text)
