"""Studies in a real MariaDB: the same trials, nothing lost when it is killed, one driver at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from database_servers import MariaDB
from server_studies import refuses_in_one_line, search, search_through_an_outage, told, undisturbed

from automl_car.errors import StudyError
from automl_car.search import holding
from automl_car.search.holding import held
from automl_car.search.outage import Waiting
from automl_car.search.overview import list_studies
from automl_car.search.server import close_servers

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


def test_a_search_gives_the_same_trials_as_in_a_file(team: Desk) -> None:
    search(team, 4)
    assert told(search(team, 6)) == undisturbed(team, 6)
    assert [row.complete for row in list_studies(team.folder / "studies", team.storage)] == [6]


def test_a_server_that_is_killed_in_the_middle_pauses_the_search_and_loses_nothing(team: Desk, server: MariaDB) -> None:
    found = search_through_an_outage(team, 6, server.stop, server.start, seconds=1)
    assert found == undisturbed(team, 6)
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
    refuses_in_one_line(
        {
            server.url("test_1", "wrong-pass"): ("Access denied", "password"),
            server.url("nowhere"): ("Unknown database", "CREATE DATABASE"),
            server.url("test_1").replace(f":{server.port}/", ":1/"): ("cannot be used", "server runs"),
        }
    )
