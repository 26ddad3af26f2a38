"""The live picture of a search in a terminal: trials with their folds, the best so far, and the time left."""

from __future__ import annotations

import contextlib
import math
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from automl_car.console import Lines, describe_recipe, duration, time_left
from automl_car.records import Progress
from automl_car.report.tables import STATE_STYLES

if TYPE_CHECKING:
    from automl_car.records import Epoch, FoldResult, FoldTask, Machine, Recipe
    from automl_car.search.job import Outcome

ROWS = 10
BLOCKS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class TrialRow:
    """One line of the table."""

    number: int
    recipe: str
    folds: tuple[float, ...] = ()
    state: str = "running"
    log_loss: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class State:
    """All that the picture shows."""

    study: str = ""
    machine: str = ""
    wanted: int = 0
    began: float = 0.0
    deadline: float | None = None
    complete: int = 0
    pruned: int = 0
    failed: int = 0
    best: TrialRow | None = None
    trials: tuple[TrialRow, ...] = ()
    activity: str = "starting"
    done: int = 0
    total: int = 0
    since: float | None = None
    curve: tuple[float, ...] = ()
    notes: tuple[str, ...] = field(default_factory=tuple)


class LiveView:
    """Shows the state, redrawn a few times a second, and tells the log every event."""

    def __init__(self, console: Console) -> None:
        self._lines = Lines()
        self._state = State(began=time.monotonic())
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
        row = TrialRow(number, describe_recipe(recipe))
        self._change(trials=(*self._state.trials, row)[-ROWS:])

    def fold_began(self, number: int, fold: int) -> None:
        self._lines.fold_began(number, fold)
        self._change(activity=f"trial {number}, fold {fold}", done=0, total=0, since=None, curve=())

    def trained(self, task: FoldTask, message: Epoch | Progress) -> None:
        self._lines.trained(task, message)
        if isinstance(message, Progress):
            self._change(activity=message.text, done=message.done, total=message.total, curve=())
        else:
            # A refit belongs to no trial of this run, and has no photos to be judged by.
            curve = self._state.curve if math.isnan(message.log_loss) else (*self._state.curve, message.log_loss)
            trial = f"trial {self._state.trials[-1].number}, " if self._state.trials else ""
            self._change(activity=trial + task.label, done=message.number, total=message.total, curve=curve)

    def fold_ended(self, number: int, result: FoldResult, *, stored: bool) -> None:
        self._lines.fold_ended(number, result, stored=stored)
        if result.status == "finished":
            self._change_last(folds=(*self._state.trials[-1].folds, result.log_loss))

    def trial_ended(self, number: int, outcome: Outcome) -> None:
        self._lines.trial_ended(number, outcome)
        kind = outcome.word
        self._change_last(state=kind, log_loss=outcome.log_loss, reason=outcome.reason)
        row = self._state.trials[-1]
        if kind in ("complete", "pruned", "failed"):
            self._change(**{kind: getattr(self._state, kind) + 1})
        best = self._state.best
        if row.log_loss is not None and (best is None or best.log_loss is None or row.log_loss < best.log_loss):
            self._change(best=row)

    def _change(self, **changes: object) -> None:
        self._state = replace(self._state, **changes)  # type: ignore[arg-type]

    def _change_last(self, **changes: object) -> None:
        last = replace(self._state.trials[-1], **changes)  # type: ignore[arg-type]
        self._change(trials=(*self._state.trials[:-1], last))


# ---- the picture ----------------------------------------------------------------------------------------------------


def render(state: State, now: float) -> RenderableType:
    """The state at the time `now`."""
    parts: list[RenderableType] = [_headline(state, now)]
    if state.trials:
        parts.append(_table(state))
    parts.append(_activity(state, now))
    parts += [Text(f"· {note}", style="dim") for note in state.notes]
    title = f"automl-car · {state.study}" if state.study else "automl-car"
    return Panel(Group(*parts), title=title, title_align="left", border_style="cyan")


def _headline(state: State, now: float) -> Text:
    ended = state.complete + state.pruned + state.failed
    text = Text()
    if state.wanted:
        text.append(f"{ended} of {state.wanted} trials", style="bold")
        text.append(f"  {state.complete} complete  {state.pruned} pruned")
        text.append(f"  {state.failed} failed", style="red" if state.failed else "")
    if state.best is not None:
        text.append(f"   best {state.best.log_loss:.4f}", style="bold green")
        text.append(f" (trial {state.best.number})")
    text.append(f"   {duration(now - state.began)}")
    left = _time_left(state, ended, now)
    if left is not None:
        text.append(f", about {duration(left)} left")
    if state.machine:
        text.append(f"   {state.machine}", style="dim")
    return text


def _time_left(state: State, ended: int, now: float) -> float | None:
    by_trials = (now - state.began) / ended * (state.wanted - ended) if ended else None
    by_clock = state.deadline - now if state.deadline else None
    known = [seconds for seconds in (by_trials, by_clock) if seconds is not None]
    return min(known) if known else None


def _table(state: State) -> Table:
    table = Table(box=None, pad_edge=False, expand=True, header_style="dim")
    table.add_column("trial", justify="right", width=5)
    table.add_column("recipe", ratio=3, no_wrap=True)
    table.add_column("folds", ratio=2, no_wrap=True)
    table.add_column("log loss", justify="right", width=8)
    table.add_column("", ratio=2, no_wrap=True)
    for row in state.trials:
        folds = " ".join(f"{loss:.3f}" for loss in row.folds)
        loss = f"{row.log_loss:.4f}" if row.log_loss is not None else ""
        words = row.state if row.state in ("complete", "running") else f"{row.state}: {row.reason}"
        table.add_row(str(row.number), row.recipe, folds, loss, Text(words, style=STATE_STYLES[row.state]))
    return table


def _activity(state: State, now: float) -> RenderableType:
    line = Table.grid(padding=(0, 1))
    cells: list[RenderableType] = [Text("▸ " + state.activity, style="cyan")]
    if state.total:
        cells.append(ProgressBar(total=state.total, completed=state.done, width=30))
        cells.append(f"{state.done}/{state.total}")
        left = None if state.since is None else time_left(now - state.since, state.done, state.total)
        if left is not None:
            cells.append(f"about {duration(left)} left")
    if state.curve:
        cells.append(Text(f"log loss {sparkline(state.curve)} {state.curve[-1]:.3f}"))
    line.add_row(*cells)
    return line


def sparkline(values: tuple[float, ...], width: int = 30) -> str:
    """The last values as bars, the largest of them the tallest.

    Example:
        >>> sparkline((4.0, 2.0, 1.0))
        '█▃▁'
    """
    shown = values[-width:]
    low, high = min(shown), max(shown)
    scale = (len(BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(BLOCKS[round((value - low) * scale)] for value in shown)
