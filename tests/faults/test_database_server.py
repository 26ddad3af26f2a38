"""Whole searches with a real PostgreSQL that stops in the middle, by command: I1 to I6, and no password anywhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from database_servers import PASSWORD, Postgres
from fault_scene import Scene


@pytest.mark.slow
def test_a_server_that_stops_and_starts_pauses_a_search_which_comes_to_the_same(
    scene: Scene, postgres: Postgres, assert_as_undisturbed: Callable[[Scene], None]
) -> None:
    url = postgres.new_database()
    process = scene.start("search", "--storage", url)
    scene.wait_for_folds(2, process)
    postgres.stop("immediate")
    time.sleep(3)
    assert process.poll() is None, scene.output
    postgres.start()
    assert process.wait(120) == 0, scene.output
    assert "The search waits for it; what is trained is kept." in scene.output
    assert "the database is back after" in scene.output
    assert_as_undisturbed(scene)
    assert not (scene.root / "studies" / "main.db").exists()

    # What reads a study finds it by URL; a wrong one is one line.
    for command in (["studies", "list"], ["studies", "show"], ["report"], ["ensemble"]):
        assert scene.run(*command, "--storage", url) == 0, scene.output
    before = len(scene.output)
    assert scene.run("studies", "list", "--storage", url.replace(PASSWORD, "wrong-pass")) == 2
    (error, hint) = scene.output[before:].splitlines()
    assert error.startswith("error: The database postgresql+psycopg://car:***@127.0.0.1")
    assert hint.startswith("hint: look at user and password")
    assert traces(scene.root, PASSWORD) == []
    assert traces(scene.root, "wrong-pass") == []
    in_database = postgres.execute("SELECT value_json FROM study_user_attributes", url.rpartition("/")[2])
    assert PASSWORD not in str(in_database)


def test_settings_are_shown_without_the_password(scene: Scene) -> None:
    text = (scene.root / "automl-car.yaml").read_text()
    url = f"postgresql://car:{PASSWORD}@db/cars"
    (scene.root / "automl-car.yaml").write_text(text.replace("study: main,", f'study: main, storage: "{url}",'))
    assert scene.run("config", "show") == 0, scene.output
    assert scene.run("config", "show", "--json") == 0, scene.output
    assert "car:***@db/cars" in scene.output
    assert PASSWORD not in scene.output


def traces(root: Path, secret: str) -> list[str]:
    """Files of the workspace that a secret is in."""
    files = [path for path in root.rglob("*") if path.is_file()]
    return [str(path.relative_to(root)) for path in files if secret.encode() in path.read_bytes()]
