"""Studies in a real PostgreSQL: the same trials as in a file, nothing lost when it stops, one driver at a time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from database_servers import PASSWORD, Postgres
from optuna.trial import FrozenTrial, TrialState
from optuna_dashboard import wsgi
from server_studies import refuses_in_one_line, search, search_through_an_outage, told, undisturbed

from automl_car.errors import ConfigError, DatabaseAwayError, MachineError, StudyError
from automl_car.fold_records import FoldTask
from automl_car.search import holding, patient
from automl_car.search.holding import held
from automl_car.search.opening import read_study
from automl_car.search.outage import Waiting
from automl_car.search.overview import latest_study, list_studies, show_study
from automl_car.search.server import close_servers, with_driver
from automl_car.search.study import connect

Desk = Any  # see conftest.py


@pytest.fixture
def server(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[Postgres]:
    """The server, which runs again after the test."""
    monkeypatch.setattr(holding, "_FIRST_SECONDS", 0.5)
    monkeypatch.setattr(holding, "_AGAIN_SECONDS", 0.5)
    yield postgres
    close_servers()


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver collects nothing: each fold that has landed meets the server."""
    monkeypatch.setattr(patient, "_FLUSH_SECONDS", -1.0)


@pytest.fixture
def team(desk: Desk, server: Postgres) -> Desk:
    """A desk whose studies are in an empty database."""
    desk.storage = server.new_database()
    return desk


# ---- the same search ------------------------------------------------------------------------------------------------


def test_a_search_gives_the_same_trials_as_in_a_file(team: Desk) -> None:
    assert told(search(team, 6)) == undisturbed(team, 6)


def test_who_reads_the_database_afterwards_sees_what_the_driver_saw(team: Desk) -> None:
    def all_of(trial: FrozenTrial) -> tuple[Any, ...]:
        parts = (trial.number, trial.state, trial.values, trial.params, trial.distributions, trial.intermediate_values)
        return *parts, trial.user_attrs, trial.system_attrs

    seen = search(team, 6)
    read = connect(team.storage).get_all_trials(1)
    assert [all_of(trial) for trial in read] == [all_of(trial) for trial in seen]
    for one, other in zip(read, seen, strict=True):
        for name in ("datetime_start", "datetime_complete"):
            assert abs(getattr(one, name) - getattr(other, name)) < timedelta(milliseconds=2)


def test_a_second_run_goes_on_where_the_first_one_ended(team: Desk) -> None:
    search(team, 3)
    assert told(search(team, 6)) == undisturbed(team, 6)


def test_studies_are_listed_and_shown_by_url(team: Desk) -> None:
    search(team, 4)
    folder = team.folder / "studies"
    assert [(row.name, row.complete) for row in list_studies(folder, team.storage)] == [("main", 4)]
    assert latest_study(folder, team.storage) == "main"
    assert len(show_study(folder, "main", team.storage).trials) == 4


def test_the_dashboard_shows_it(team: Desk) -> None:
    search(team, 3)
    shown = wsgi(read_study(team.folder / "studies", "main", team.storage)._storage)

    def get(path: str) -> Any:
        environment = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "wsgi.input": BytesIO(), "wsgi.errors": sys.stderr}
        environment |= {"SERVER_NAME": "x", "SERVER_PORT": "1", "wsgi.url_scheme": "http", "QUERY_STRING": "after=0"}
        return json.loads(b"".join(shown(environment, lambda *answer: lambda data: None)))

    (study,) = get("/api/studies")["study_summaries"]
    detail = get(f"/api/studies/{study['study_id']}")
    assert [trial["state"] for trial in detail["trials"]] == ["Complete"] * 3
    assert "log loss" in detail["note"]["body"] or detail["trials"][0]["note"]["body"]


def test_a_study_that_was_deleted_is_rebuilt_from_its_ledger(team: Desk, server: Postgres) -> None:
    before = told(search(team, 5))
    server.execute("TRUNCATE studies CASCADE", database=team.storage.rpartition("/")[2])
    assert told(search(team, 5)) == before
    assert any("was rebuilt with 5 trials" in note for note in team.view.notes)


# ---- outages --------------------------------------------------------------------------------------------------------


def test_a_server_that_stops_in_the_middle_pauses_the_search_and_loses_nothing(team: Desk, server: Postgres) -> None:
    found = search_through_an_outage(team, 8, lambda: server.stop("immediate"), server.start, seconds=1.5)
    assert found == undisturbed(team, 8)
    away, again = (note for note in team.view.notes if "database" in note)
    assert "The search waits for it; what is trained is kept." in away
    assert again.startswith("the database is back after ")
    assert PASSWORD not in away


@pytest.mark.usefixtures("at_once")
def test_connections_that_are_cut_again_and_again_change_nothing(team: Desk, server: Postgres) -> None:
    made_up, cuts = team.executor.train, []
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'automl-car %'"

    def train(task: FoldTask) -> Any:
        cuts.extend(server.execute(cut))
        return made_up(task)

    team.executor.train = train
    found = told(search(team, 6))
    team.executor.train = made_up
    assert len(cuts) == len(team.executor.submitted) == 18
    assert found == undisturbed(team, 6)
    assert not [note for note in team.view.notes if "database" in note]


@pytest.mark.usefixtures("at_once")
def test_a_server_that_stays_away_ends_the_search_and_the_same_command_goes_on_later(
    team: Desk, server: Postgres
) -> None:
    made_up = team.executor.train

    def train(task: FoldTask) -> Any:
        if len(team.executor.submitted) == 10:
            server.stop("fast")
        return made_up(task)

    team.executor.train = train
    try:
        with pytest.raises(DatabaseAwayError, match="has waited for"):
            search(team, 8, seconds=0.5)
    finally:
        server.start()
    trained = len(team.executor.submitted)
    team.executor.train = made_up
    kept = [(trial.number, trial.value) for trial in search(team, 8) if trial.state == TrialState.COMPLETE]
    assert len(kept) == 8
    tasks = [(task.recipe_id, task.fold) for task in team.executor.submitted]
    assert len(tasks) == len(set(tasks)) == 24
    assert trained == 10


def test_ctrl_c_while_the_server_is_away_ends_at_once(team: Desk, server: Postgres) -> None:
    def train(task: FoldTask) -> Any:
        server.stop("fast")
        raise KeyboardInterrupt

    team.executor.train = train
    try:
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            search(team, 8, seconds=60)
        assert time.monotonic() - began < 5
    finally:
        server.start()


# ---- one driver -----------------------------------------------------------------------------------------------------


def test_two_drivers_of_one_study_exclude_each_other(team: Desk) -> None:
    waiting = Waiting(1, None, team.view.note)
    with held(team.storage, "main", waiting):
        with (
            pytest.raises(StudyError, match="Another search is running") as refused,
            held(team.storage, "main", waiting),
        ):
            pass
        assert PASSWORD not in str(refused.value)
        with held(team.storage, "second", waiting):
            pass
    with held(team.storage, "main", waiting):
        pass


def test_a_killed_driver_locks_nobody_out(team: Desk) -> None:
    code = (
        "import sys, time\n"
        "from automl_car.search.holding import held\n"
        "from automl_car.search.outage import Waiting\n"
        "with held(sys.argv[1], 'main', Waiting(1, None, print)):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)\n"
    )
    driver = subprocess.Popen([sys.executable, "-c", code, team.storage], stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    with driver.stdout:
        assert driver.stdout.readline() == "held\n"
    waiting = Waiting(1, None, print)
    with pytest.raises(StudyError, match="Another search"), held(team.storage, "main", waiting):
        pass
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    with held(team.storage, "main", waiting):
        pass


def test_a_driver_that_lost_its_lock_to_another_one_writes_no_more(team: Desk, server: Postgres) -> None:
    waiting = Waiting(5, None, team.view.note)
    with held(team.storage, "main", waiting):
        storage = connect(team.storage)
        study = team.study()
        server.stop("immediate")
        server.start()
        other = held(team.storage, "main", waiting)
        other.__enter__()  # it is quicker to come back
        try:
            with pytest.raises(MachineError, match="another search began"):
                storage.set_study_user_attr(study._study_id, "late", 1)
        finally:
            other.__exit__(None, None, None)
    assert "late" not in read_study(team.folder / "studies", "main", team.storage).user_attrs


def test_a_study_of_another_workspace_is_refused_before_its_folds_are_trained_again(team: Desk, tmp_path: Path) -> None:
    search(team, 3)
    colleague = type(team)(tmp_path / "colleague", storage=team.storage)
    with pytest.raises(StudyError, match="was searched in another workspace"):
        search(colleague, 3)
    assert colleague.executor.submitted == []


# ---- wrong URLs -----------------------------------------------------------------------------------------------------


def test_what_is_wrong_with_a_connection_is_one_line_and_a_hint(server: Postgres) -> None:
    good = server.new_database()
    wrong = {
        server.url("test_1", "wrong-pass"): ("password authentication failed", "password"),
        good.replace("car:", "nobody:"): ("password authentication failed", "password"),
        server.url("nowhere"): ('database "nowhere" does not exist', "createdb"),
        good.replace(f":{server.port}/", ":1/"): ("refused", "server runs"),
        good.replace("127.0.0.1", "no-such-host.invalid"): ("cannot be used", "host"),
    }
    refuses_in_one_line(wrong)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://ann:s3cret-pass@with@host/cars", "more than one `@`"),
        ("studies.db", "no URL"),
        ("oracle://ann:s3cret-pass@host/cars", "no kind of database"),
        ("postgresql://ann:s3cret-pass@host", "names no database"),
        ("postgresql+asyncpg://ann:s3cret-pass@host/cars", "not installed"),
    ],
)
def test_a_wrong_url_is_refused_without_its_password(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        with_driver(url)
    assert PASSWORD not in refused.value.message + str(refused.value.hint)


def test_a_missing_driver_is_named_with_the_extra_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("automl_car.search.server.find_spec", lambda name: None)
    for family, extra in (("postgresql", "postgres"), ("mysql", "mysql")):
        with pytest.raises(ConfigError, match="not installed") as refused:
            with_driver(f"{family}://ann@host/cars")
        assert f'pip install "automl-car[{extra}]"' in str(refused.value.hint)


def test_a_url_without_a_driver_gets_the_one_that_is_installed() -> None:
    pytest.importorskip("psycopg")
    assert with_driver("postgres://ann:p%40ss@host/cars") == "postgresql+psycopg://ann:p%40ss@host/cars"
