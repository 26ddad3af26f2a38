"""The picture of a search at one moment: trials with their folds, the best so far, what is in flight, the time left."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from automl_car.console import duration, time_left
from automl_car.report.tables import STATE_STYLES

FOLDS = 8  # in flight, that are shown
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
class Flying:
    """One fold of several that are in flight."""

    key: tuple[int, int]  # trial and fold
    activity: str
    done: int = 0
    total: int = 0
    since: float | None = None
    curve: tuple[float, ...] = ()


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
    notes: tuple[str, ...] = ()
    flying: tuple[Flying, ...] = ()


def render(state: State, now: float) -> RenderableType:
    """The state at the time `now`."""
    parts: list[RenderableType] = [_headline(state, now)]
    if state.trials:
        parts.append(_table(state))
        parts += _why(state)
    works: tuple[State | Flying, ...] = state.flying[:FOLDS] or (state,)
    parts += [_activity(work, now) for work in works]
    if len(state.flying) > FOLDS:
        parts.append(Text(f"  and {len(state.flying) - FOLDS} folds more", style="cyan"))
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
    table.add_column("folds", width=max(5, *(len(_folds(row)) for row in state.trials)), no_wrap=True)
    table.add_column("log loss", justify="right", width=8)
    table.add_column("", ratio=2, no_wrap=True)
    for row in state.trials:
        loss = f"{row.log_loss:.4f}" if row.log_loss is not None else ""
        words = row.state if row.state in ("complete", "running") else f"{row.state}: {row.reason}"
        table.add_row(str(row.number), row.recipe, _folds(row), loss, Text(words, style=STATE_STYLES[row.state]))
    return table


def _folds(row: TrialRow) -> str:
    return " ".join(f"{loss:.3f}" for loss in row.folds)


def _why(state: State) -> list[RenderableType]:
    """Why the last trial that ended early did so, whole: the table has little room for it."""
    early = [row for row in state.trials if row.reason]
    return [
        Text(f"· trial {row.number} {row.state}: {row.reason}", style=STATE_STYLES[row.state]) for row in early[-1:]
    ]


def _activity(state: State | Flying, now: float) -> RenderableType:
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
