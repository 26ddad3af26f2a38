"""What a person sees of a search: plain lines, or a live picture of them in a terminal; both go to a log file."""

from __future__ import annotations

import logging
import math
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from automl_car.fold_records import Progress
from automl_car.paths import plain_name

if TYPE_CHECKING:
    from automl_car.fold_records import Epoch, FoldResult, FoldTask, Machine
    from automl_car.records import Recipe
    from automl_car.search.job import Outcome

logger = logging.getLogger("automl_car")


def start_logging(folder: Path, name: str, *, to_terminal: bool) -> Path:
    """Send the log to a new file in `folder`, and to stderr as well if asked for; returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{datetime.now():%Y-%m-%d-%H%M%S}-{plain_name(name, 'study')}.log"
    file = _LogFile(path, encoding="utf-8")
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    for old in logger.handlers:
        old.close()
    logger.handlers = [file]
    if to_terminal:
        stream = logging.StreamHandler(sys.stderr)
        stream.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(stream)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    return path


def log_only(text: str) -> None:
    """Write to the log file what the terminal has been told already."""
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handle(logger.makeRecord(logger.name, logging.INFO, "", 0, text, (), None))


class _LogFile(logging.FileHandler):
    """A log without which the work goes on: when it cannot be written, a person is told once, without a traceback."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Say why the log ends here. Called by `logging` within its `except`."""
        logger.handlers = [other for other in logger.handlers if other is not self]  # a new list: the old one is in use
        logger.warning("the log %s ends here: %s", self.baseFilename, sys.exception())


class Lines:
    """One line per event that a person would tell."""

    def __init__(self) -> None:
        self._progress_at = 0.0
        self._began: dict[str, float] = {}  # by what is done: several folds may be in flight

    def note(self, text: str) -> None:
        logger.info(text)

    def progress(self, text: str, done: int, total: int) -> None:
        """A line every ten seconds, and one at the end."""
        now = time.monotonic()
        began = self._began.setdefault(text, now)
        if done == total:
            del self._began[text]  # the same work may begin anew
        if done < total and now - self._progress_at < 10:
            return
        self._progress_at = now
        left = time_left(now - began, done, total)
        logger.info("%s: %d of %d%s", text, done, total, "" if left is None else f", about {duration(left)} left")

    def search_begins(self, study: str, trials: int, deadline: float | None, machine: Machine) -> None:
        left = timedelta(seconds=deadline - time.monotonic()) if deadline else None
        until = f", until {datetime.now() + left:%H:%M:%S}" if left else ""
        logger.info("study %s: up to %d trials on %s (%d cores)%s", study, trials, machine.name, machine.cores, until)

    def trial_began(self, number: int, recipe: Recipe) -> None:
        logger.info("trial %d: %s", number, describe_recipe(recipe))

    def fold_began(self, number: int, fold: int) -> None:
        logger.debug("trial %d fold %d begins", number, fold)

    def trained(self, task: FoldTask, message: Epoch | Progress) -> None:
        if isinstance(message, Progress):
            self.progress(message.text, message.done, message.total)
        elif task.recipe.tuning == "full":
            judged = math.isfinite(message.log_loss)  # a refit has no photos to be judged by
            kind, loss = ("log loss", message.log_loss) if judged else ("training loss", message.train_loss)
            logger.info("  %s epoch %d of %d: %s %.4f", label_of(task), message.number, message.total, kind, loss)

    def fold_ended(self, number: int, result: FoldResult, *, stored: bool) -> None:
        if result.status == "finished":
            source = "from the fold store" if stored else f"{result.seconds:.1f} s"
            logger.info("  trial %d fold %d: log loss %.4f (%s)", number, result.fold, result.log_loss, source)

    def trial_ended(self, number: int, outcome: Outcome) -> None:
        if outcome.log_loss is not None:
            logger.info("trial %d complete: log loss %.4f", number, outcome.log_loss)
        else:
            word = "not finished" if outcome.interrupted else outcome.word
            logger.info("trial %d %s: %s", number, word, outcome.reason)

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *error: object) -> None:
        pass


def label_of(task: FoldTask, between: str = " ") -> str:
    """Which trial's fold it is, in words."""
    return task.label if task.trial is None else f"trial {task.trial}{between}{task.label}"


def describe_recipe(recipe: Recipe) -> str:
    """A recipe in one line."""
    parts = [recipe.backbone, f"{recipe.image_size} px", recipe.tuning, f"lr {recipe.learning_rate:.2g}"]
    if recipe.tuning == "full":
        parts += [recipe.augmentation, f"{recipe.epochs} epochs"]
    else:
        parts += [f"shrinkage {recipe.shrinkage:.2f}", f"power {recipe.power:.2f}"]
    return ", ".join(parts)


def time_left(seconds: float, done: int, total: int) -> float | None:
    """Seconds that the rest takes if it goes on as in the `seconds` so far; None at the end and in the first moments.

    Example:
        >>> time_left(30.0, done=1, total=4)
        90.0
    """
    return seconds / done * (total - done) if seconds >= 2 and 0 < done < total else None


def duration(seconds: float) -> str:
    """Seconds as `1 h 05 min`, `3 min 20 s` or `12 s`.

    Example:
        >>> duration(200)
        '3 min 20 s'
    """
    whole = max(0, round(seconds))
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"
