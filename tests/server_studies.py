"""Searches whose studies are on a real database server: run, compared, and refused."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from database_servers import PASSWORD
from optuna.trial import FrozenTrial

from automl_car.errors import DatabaseAwayError
from automl_car.fold_records import FoldTask
from automl_car.search.holding import held
from automl_car.search.outage import Waiting
from automl_car.search.study import connect

Desk = Any  # see search/conftest.py


def search(desk: Desk, trials: int, seconds: float = 30.0) -> list[FrozenTrial]:
    """Run the command once."""
    with held(desk.storage, "main", Waiting(seconds, None, desk.view.note)):
        found: list[FrozenTrial] = desk.go(trials)
        return found


def told(trials: list[FrozenTrial]) -> list[tuple[Any, ...]]:
    """All of the trials but times."""
    return [
        (trial.number, trial.state, trial.values, trial.params, trial.intermediate_values, trial.user_attrs)
        for trial in trials
    ]


def undisturbed(desk: Desk, trials: int) -> list[tuple[Any, ...]]:
    """What the same search comes to in a SQLite file."""
    return told(type(desk)(desk.folder / "undisturbed").go(trials))


def search_through_an_outage(
    desk: Desk, trials: int, stop: Callable[[], object], start: Callable[[], object], seconds: float
) -> list[tuple[Any, ...]]:
    """All of the trials but times of a search whose server stops at its tenth fold, for so many seconds."""
    made_up = desk.executor.train
    back: list[threading.Thread] = []

    def train(task: FoldTask) -> Any:
        if len(desk.executor.submitted) == 10:
            stop()
            back.append(threading.Thread(target=lambda: (time.sleep(seconds), start())))
            back[0].start()
        return made_up(task)

    desk.executor.train = train
    found = told(search(desk, trials))
    back[0].join()
    desk.executor.train = made_up
    return found


def refuses_in_one_line(wrong: Mapping[str, tuple[str, str]]) -> None:
    """Each URL is refused with these words and this hint, and without its password."""
    for url, (said, hint) in wrong.items():
        with pytest.raises(DatabaseAwayError, match=said) as refused:
            connect(url)
        assert "\n" not in refused.value.message
        assert hint in str(refused.value.hint)
        assert PASSWORD not in refused.value.message + str(refused.value.hint)
        assert "wrong-pass" not in refused.value.message
