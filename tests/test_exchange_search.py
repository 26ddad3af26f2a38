"""A whole search whose training process has none of the driver's folders: the same losses as without an exchange."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from automl_car import pipeline
from automl_car.config import load_config
from automl_car.fold_records import FoldResult, FoldTask, Machine, Speed, SpeedTask
from automl_car.records import Recipe
from automl_car.search.executor import LocalExecutor
from automl_car.store import read_logits, read_result
from automl_car.workspace import Workspace

pytestmark = pytest.mark.slow

SETTINGS = """
data: {folds: 2}
search: {study: main, trials: 4, tuning: both, backbones: [toy, toy_large], augmentations: [none]}
training: {weights: random, epochs: 2, batch_size: 8, head_multiplier: 1, step: plain}
plugins: {files: [toy_networks.py]}
"""


class FarAway:
    """A local executor whose process is told of folders that are not there, as on a machine of its own."""

    def __init__(self, watch: Any, log: Path) -> None:
        self._near = LocalExecutor(watch, log)
        self.machine, self.close = self._near.machine, self._near.close

    def slots(self) -> int:
        return 1

    def submit(self, task: FoldTask) -> Future[FoldResult]:
        gone = Path("/no/such/folder")
        return self._near.submit(replace(_far(task), directory=gone / "study"))

    def measure(self, task: SpeedTask) -> Future[Speed]:
        return self._near.measure(_far(task))


def _far(task: Any) -> Any:
    gone = Path("/no/such/folder")
    plugins = replace(
        task.plugins,
        workspace_folder=gone / "plugins",
        files=tuple(gone / file.name for file in task.plugins.files),
        verdicts=gone / "verdicts",
    )
    return replace(task, cache=gone / "cache", plugins=plugins)


class View:
    """Says nothing."""

    def note(self, text: str) -> None: ...
    def trial_began(self, number: int, recipe: Recipe) -> None: ...
    def fold_began(self, number: int, fold: int) -> None: ...
    def fold_ended(self, number: int, result: FoldResult, *, stored: bool) -> None: ...
    def trial_ended(self, number: int, outcome: Any) -> None: ...
    def progress(self, text: str, done: int, total: int) -> None: ...
    def trained(self, task: Any, message: Any) -> None: ...
    def search_begins(self, study: str, trials: int, deadline: float | None, machine: Machine) -> None: ...


def _search(root: Path, **overrides: Any) -> pipeline.Outcome:
    place = Workspace(root)
    config = load_config(place.config_file, {name.replace("__", "."): value for name, value in overrides.items()})
    return pipeline.search(place, config, sample=False, view=View(), log=root / "logs" / "worker.log")


def _folds(root: Path) -> dict[str, Path]:
    store = root / "checkpoints" / "main"
    return {str(path.parent.relative_to(store)): path.parent for path in store.glob("*/fold-*/record.json")}


@pytest.fixture(scope="module")
def near(
    tmp_path_factory: pytest.TempPathFactory, tiny_photos: Callable[[Path], Path], toy_plugin_text: str
) -> tuple[Path, pipeline.Outcome]:
    """A workspace, and what its search came to without an exchange."""
    root = tmp_path_factory.mktemp("near")
    tiny_photos(root / "data")
    (root / "toy_networks.py").write_text(toy_plugin_text)
    (root / "automl-car.yaml").write_text(SETTINGS)
    return root, _search(root)


@pytest.fixture(params=["file", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty exchange: a folder, or one of a bucket of a server that speaks S3."""
    if request.param == "file":
        yield f"file://{tmp_path}/exchange"
        return
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    values = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "verysecret", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in {**values, "AWS_ENDPOINT_URL": f"http://{host}:{port}", "NO_PROXY": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    import boto3
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    boto3.client("s3").create_bucket(Bucket="cars")
    yield "s3://cars/main"
    server.stop()


def test_a_search_through_an_exchange_comes_to_the_same_losses_and_submission(
    near: tuple[Path, pipeline.Outcome], url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = tmp_path / "far"
    shutil.copytree(near[0], far, ignore=shutil.ignore_patterns("checkpoints", "studies", "logs", "bundles"))
    monkeypatch.setenv("AUTOML_CAR_NODE_DIR", str(tmp_path / "machine"))
    opened = "automl_car.pipeline.searching.open_executor"
    monkeypatch.setattr(opened, lambda _, __, view, log: FarAway(view.trained, log))
    without, through = near[1], _search(far, search__exchange=url)

    expected, found = _folds(near[0]), _folds(far)
    assert len(expected) == 8
    assert found.keys() == expected.keys()
    for name, folder in expected.items():
        ours, theirs = read_result(folder), read_result(found[name])
        assert ours is not None
        assert theirs is not None
        assert theirs.log_loss == pytest.approx(ours.log_loss, abs=1e-9)
        assert read_logits(found[name]).rows.tolist() == read_logits(folder).rows.tolist()
    assert through.ensemble is not None
    assert without.ensemble is not None
    assert through.ensemble.nested_log_loss == pytest.approx(without.ensemble.nested_log_loss, abs=1e-9)
    submissions = [Workspace(root).reports("main") / "submission.csv" for root in (near[0], far)]
    assert submissions[0].read_bytes() == submissions[1].read_bytes()
    assert len(list((tmp_path / "machine").rglob("record.json"))) == 8  # it was trained there, and nowhere else
    for path in (path for path in far.rglob("*") if path.is_file()):
        assert b"verysecret" not in path.read_bytes()
