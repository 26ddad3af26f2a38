"""Studies in a real MariaDB: the same trials, nothing lost when it is killed, one driver at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from database_servers import PASSWORD, MariaDB
from optuna.trial import FrozenTrial

from automl_car.errors import DatabaseAwayError, StudyError
from automl_car.records import FoldTask
from automl_car.search import holding
from automl_car.search.holding import held
from automl_car.search.outage import Waiting
from automl_car.search.overview import list_studies
from automl_car.search.server import close_servers
from automl_car.search.study import connect

Desk = Any  # see conftest.py


@pytest.fixture
def server(mariadb: MariaDB, monkeypatch: pytest.MonkeyPatch) -> Iterator[MariaDB]:
    """The server, which runs again after the test."""
    monkeypatch.setattr(holding, "_FIRST_SECONDS", 0.5)
    yield mariadb
    close_servers()


@pytest.fixture
def team(desk: Desk, server: MariaDB) -> Desk:
    """A desk whose studies are in an empty database."""
    desk.storage = server.new_database()
    return desk


def search(desk: Desk, trials: int) -> list[FrozenTrial]:
    """Run the command once."""
    with held(desk.storage, "main", Waiting(30, None, desk.view.note)):
        found: list[FrozenTrial] = desk.go(trials)
        return found


def told(trials: list[FrozenTrial]) -> list[tuple[Any, ...]]:
    """All of the trials but times."""
    return [
        (trial.number, trial.state, trial.values, trial.params, trial.intermediate_values, trial.user_attrs)
        for trial in trials
    ]


def test_a_search_gives_the_same_trials_as_in_a_file(team: Desk) -> None:
    search(team, 4)
    found = told(search(team, 6))
    assert found == told(type(team)(team.folder / "undisturbed").go(6))
    assert [row.complete for row in list_studies(team.folder / "studies", team.storage)] == [6]


def test_a_server_that_is_killed_in_the_middle_pauses_the_search_and_loses_nothing(team: Desk, server: MariaDB) -> None:
    made_up = team.executor.train
    back: list[threading.Thread] = []

    def train(task: FoldTask) -> Any:
        if len(team.executor.submitted) == 10:
            server.stop()
            back.append(threading.Thread(target=lambda: (time.sleep(1), server.start())))
            back[0].start()
        return made_up(task)

    team.executor.train = train
    found = told(search(team, 6))
    back[0].join()
    assert found == told(type(team)(team.folder / "undisturbed").go(6))
    assert sum("waits for it" in note or "is back" in note for note in team.view.notes) == 2


def test_two_drivers_of_one_study_exclude_each_other(team: Desk) -> None:
    waiting = Waiting(1, None, team.view.note)
    refused = pytest.raises(StudyError, match="Another search is running")
    with held(team.storage, "main", waiting), refused, held(team.storage, "main", waiting):
        pass
    with held(team.storage, "main", waiting):
        pass


def test_what_is_wrong_with_a_connection_is_one_line_and_a_hint(server: MariaDB) -> None:
    server.new_database()
    wrong = {
        server.url("test_1", "wrong-pass"): ("Access denied", "password"),
        server.url("nowhere"): ("Unknown database", "CREATE DATABASE"),
        server.url("test_1").replace(f":{server.port}/", ":1/"): ("cannot be used", "server runs"),
    }
    for url, (said, hint) in wrong.items():
        with pytest.raises(DatabaseAwayError, match=said) as refused:
            connect(url)
        assert "\n" not in refused.value.message
        assert hint in str(refused.value.hint)
        assert PASSWORD not in refused.value.message
        assert "wrong-pass" not in refused.value.message
