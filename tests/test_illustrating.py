"""Pictures of trials for the dashboard: drawn once for each complete trial, from the fold store alone."""

from __future__ import annotations

import io
import json
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from optuna_dashboard import wsgi
from PIL import Image
from test_reporting import Study

from automl_car.pipeline.illustrating import artifact_store, illustrate
from automl_car.search.notes import copy_notes
from automl_car.search.study import complete_trials

PICTURES = {"reliability.png", "confusions.png", "worst_photos.jpg"}  # the made-up folds have no learning curves


@pytest.fixture
def study(tiny_dataset: Path) -> Study:
    """Two complete trials that sometimes err."""
    made = Study(tiny_dataset.parent)
    made.add("a", noise=3.0)
    made.add("b", noise=2.0)
    return made


@pytest.fixture
def served(study: Study) -> Iterator[str]:
    """The address of optuna-dashboard on this study."""
    app = wsgi(study.optuna._storage, artifact_store=artifact_store(study.workspace, "main"))

    class Quiet(WSGIRequestHandler):
        def log_message(self, *arguments: object) -> None: ...

    server = make_server("127.0.0.1", 0, app, handler_class=Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def _shown(address: str, study: Study, number: int) -> dict[str, bytes]:
    """The pictures of a trial as the dashboard gives them to a browser."""
    with urllib.request.urlopen(f"{address}/api/studies/{study.optuna._study_id}") as answer:
        trial = json.load(answer)["trials"][number]
    files = {}
    for artifact in trial["artifacts"]:
        place = f"{address}/artifacts/{study.optuna._study_id}/{trial['trial_id']}/{artifact['artifact_id']}"
        with urllib.request.urlopen(place) as answer:
            files[artifact["filename"]] = answer.read()
    return files


def test_the_dashboard_shows_the_pictures_of_each_complete_trial(study: Study, served: str) -> None:
    assert illustrate(study.workspace, "main", study.optuna) == 2
    for number in (0, 1):
        files = _shown(served, study, number)
        assert files.keys() == PICTURES
        for data in files.values():
            with Image.open(io.BytesIO(data)) as picture:
                picture.load()


def test_no_trial_is_drawn_twice(study: Study) -> None:
    assert illustrate(study.workspace, "main", study.optuna) == 2
    assert illustrate(study.workspace, "main", study.optuna) == 0
    study.add("c")
    assert illustrate(study.workspace, "main", study.optuna) == 1


def test_drawing_ends_when_the_dashboard_does(study: Study) -> None:
    stop = threading.Event()
    stop.set()
    assert illustrate(study.workspace, "main", study.optuna, stop) == 0


def test_nothing_of_the_trials_is_changed(study: Study) -> None:
    before = study.optuna.get_trials()
    illustrate(study.workspace, "main", study.optuna)
    assert study.optuna.get_trials() == before
    assert [trial.number for trial in complete_trials(study.optuna)] == [1, 0]


def test_a_study_that_grows_does_not_take_the_pictures_of_other_trials_along(study: Study) -> None:
    import optuna

    illustrate(study.workspace, "main", study.optuna)
    grown = optuna.create_study(study_name="main#2", storage=study.optuna._storage)
    grown.add_trials(study.optuna.get_trials())
    copy_notes(study.optuna, grown)
    names = study.optuna._storage.get_study_system_attrs(grown._study_id)
    assert not any("artifacts" in name for name in names)
