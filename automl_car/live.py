"""A search in a terminal, drawn anew a few times a second; see `picture.py` for what is drawn."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live

from automl_car.console import Lines, describe_recipe, label_of
from automl_car.fold_records import Progress
from automl_car.picture import Flying, State, TrialRow, render

if TYPE_CHECKING:
    from collections.abc import Callable

    from automl_car.fold_records import Epoch, FoldResult, FoldTask, Machine
    from automl_car.records import Recipe
    from automl_car.search.job import Outcome

ROWS = 10


class LiveView:
    """Shows the state, redrawn a few times a second, and tells the log every event."""

    def __init__(self, console: Console) -> None:
        self._lines = Lines()
        self._state = State(began=time.monotonic())
        self._rows: dict[int, TrialRow] = {}  # trials in flight; of many, not all are in the picture
        self._changing = threading.RLock()  # folds in flight are told of by other threads
        self._live = Live(
            get_renderable=lambda: render(self._state, time.monotonic()), console=console, refresh_per_second=4
        )

    def __enter__(self) -> LiveView:
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(OSError):  # a terminal that was closed
            self._live.stop()

    def note(self, text: str) -> None:
        self._lines.note(text)
        with self._changing:
            self._change(notes=(*self._state.notes, text)[-3:])

    def progress(self, text: str, done: int, total: int) -> None:
        self._lines.progress(text, done, total)
        since = self._state.since if text == self._state.activity else time.monotonic()
        self._change(activity=text, done=done, total=total, since=since, curve=())

    def search_begins(self, study: str, trials: int, deadline: float | None, machine: Machine) -> None:
        self._lines.search_begins(study, trials, deadline, machine)
        name = f"{machine.name}, {machine.cores} cores" if machine.device == "cpu" else machine.name
        self._change(study=study, machine=name, wanted=trials, deadline=deadline, activity="choosing", total=0)

    def trial_began(self, number: int, recipe: Recipe) -> None:
        self._lines.trial_began(number, recipe)
        row = self._rows[number] = TrialRow(number, describe_recipe(recipe))
        with self._changing:
            self._change(trials=(*self._state.trials, row)[-ROWS:])

    def fold_began(self, number: int, fold: int) -> None:
        self._lines.fold_began(number, fold)
        activity = f"trial {number}, fold {fold}"
        with self._changing:
            self._change(activity=activity, done=0, total=0, since=None, curve=())
            self._change(flying=(*self._state.flying, Flying((number, fold), activity)))

    def trained(self, task: FoldTask, message: Epoch | Progress) -> None:
        self._lines.trained(task, message)
        with self._changing:
            self._follow(task, message)

    def _follow(self, task: FoldTask, message: Epoch | Progress) -> None:
        if isinstance(message, Progress):
            news: dict[str, Any] = {
                "activity": message.text,
                "done": message.done,
                "total": message.total,
                "curve": (),
            }
        else:
            news = {"activity": label_of(task, ", "), "done": message.number, "total": message.total}
        # A refit has no photos to be judged by.
        losses = () if isinstance(message, Progress) or math.isnan(message.log_loss) else (message.log_loss,)
        self._change(**{"curve": (*self._state.curve, *losses), **news})
        flying = [
            replace(one, **{"curve": (*one.curve, *losses), **news}) if one.key == (task.trial, task.fold) else one
            for one in self._state.flying
        ]
        self._change(flying=tuple(flying))

    def fold_ended(self, number: int, result: FoldResult, *, stored: bool) -> None:
        self._lines.fold_ended(number, result, stored=stored)
        self._land(lambda key: key == (number, result.fold))
        if result.status == "finished":
            self._change_row(number, folds=(*self._rows[number].folds, result.log_loss))

    def trial_ended(self, number: int, outcome: Outcome) -> None:
        self._lines.trial_ended(number, outcome)
        kind = outcome.word
        self._land(lambda key: key[0] == number)
        self._change_row(number, state=kind, log_loss=outcome.log_loss, reason=outcome.reason)
        row, best = self._rows.pop(number), self._state.best
        with self._changing:
            if kind in ("complete", "pruned", "failed"):
                self._change(**{kind: getattr(self._state, kind) + 1})
            if row.log_loss is not None and (best is None or best.log_loss is None or row.log_loss < best.log_loss):
                self._change(best=row)

    def _land(self, of: Callable[[tuple[int, int]], bool]) -> None:
        """Show those folds no longer as in flight."""
        with self._changing:
            self._change(flying=tuple(one for one in self._state.flying if not of(one.key)))

    def _change(self, **changes: object) -> None:
        with self._changing:
            self._state = replace(self._state, **changes)  # type: ignore[arg-type]

    def _change_row(self, number: int, **changes: object) -> None:
        self._rows[number] = row = replace(self._rows[number], **changes)  # type: ignore[arg-type]
        with self._changing:
            self._change(trials=tuple(row if one.number == number else one for one in self._state.trials))
