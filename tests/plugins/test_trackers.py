"""The bundled trackers with the real libraries: what they wrote is read back by the library's own readers."""

from __future__ import annotations

import importlib.util
import json
import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from automl_car.catalog.events import EpochEnded, SearchBegan
from automl_car.catalog.manager import load_catalog
from automl_car.contract import check_tracker
from automl_car.tracker_rules import EVENTS

# Their libraries warn of many things that are not ours.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
Write = Callable[..., Path]


def needs(name: str, module: str) -> pytest.MarkDecorator:
    missing = importlib.util.find_spec(module) is None
    return pytest.mark.skipif(missing, reason=f"pip install 'automl-car[{name}]'")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Tells a tracker of a small made-up search; returns its folder."""

    def tell_all(name: str, **settings: Any) -> Path:
        tell = load_catalog().trackers[name].begin(SearchBegan("main", tmp_path, 3), settings)
        for event in EVENTS:
            tell(event)
        return tmp_path

    return tell_all


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=needs(name, name)) for name in ("tensorboard", "mlflow", "wandb")]
)
def test_a_bundled_tracker_keeps_the_contract(name: str) -> None:
    check_tracker(load_catalog().trackers[name])


@needs("tensorboard", "tensorboard")
def test_tensorboard_has_curves_trials_parameters_and_the_ensemble(write: Write) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = write("tensorboard") / "main"

    def run(name: str) -> Any:
        events = EventAccumulator(str(folder / name))
        events.Reload()
        return events

    epochs = [event for event in EVENTS if isinstance(event, EpochEnded) and event.trial == 0]
    curve = run("trial-0000/fold-1").Scalars("epoch/log loss")
    assert [point.step for point in curve] == [event.epoch for event in epochs]
    assert [point.value for point in curve] == pytest.approx([event.log_loss for event in epochs])
    search = run("search")
    assert [point.value for point in search.Scalars("ensemble/log loss")] == pytest.approx([0.88])
    assert [point.value for point in search.Scalars("trial/log loss")] == pytest.approx([0.9])
    assert "_hparams_/session_start_info" in run("trial-0000").summary_metadata
    (nan,) = run("trial-0001/fold-0").Scalars("epoch/train loss")
    assert math.isnan(nan.value)


@needs("tensorboard", "tensorboard")
def test_tensorboard_lists_the_parameters_of_each_trial(write: Write) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata

    events = EventAccumulator(str(write("tensorboard") / "main" / "trial-0000"))
    events.Reload()
    began = events.summary_metadata[metadata.SESSION_START_INFO_TAG].plugin_data.content
    params = metadata.parse_session_start_info_plugin_data(began).hparams
    assert params["backbone"].string_value == "resnet50"
    assert params["learning_rate"].number_value == 1e-3
    assert params["flip"].bool_value is True


@needs("mlflow", "mlflow")
def test_mlflow_has_a_run_per_trial_and_one_for_the_search(write: Write) -> None:
    from mlflow.tracking import MlflowClient

    folder = write("mlflow")
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("main")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert {name: run.info.status for name, run in runs.items()} == {
        "search": "FINISHED",
        "trial 0": "FINISHED",
        "trial 1": "KILLED",
        "trial 2": "FAILED",
    }
    first = runs["trial 0"]
    assert first.data.metrics["log_loss"] == 0.9
    assert first.data.params["backbone"] == "resnet50"
    curve = client.get_metric_history(first.info.run_id, "fold_1/log_loss")
    assert [(point.step, point.value) for point in curve] == [(1, 1.1), (2, 0.9)]
    assert runs["trial 1"].data.tags["state"] == "pruned"
    assert runs["search"].data.metrics["ensemble/log_loss"] == 0.88


@needs("mlflow", "mlflow")
def test_mlflow_goes_on_with_an_experiment_that_is_there(write: Write) -> None:
    from mlflow.tracking import MlflowClient

    write("mlflow", experiment="cars")
    client = MlflowClient(f"sqlite:///{write('mlflow', experiment='cars') / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("cars").experiment_id])
    assert len(runs) == 8


@needs("wandb", "wandb")
def test_wandb_leaves_an_offline_run_per_trial_and_one_of_the_ensemble(write: Write) -> None:
    folder = write("wandb", project="hecto")
    found = {}
    for file in folder.glob("wandb/offline-run-*/run-*.wandb"):
        run, history, summary = _read_run(file)
        assert (run.project, run.run_group) == ("hecto", "main")
        found[run.display_name] = (history, summary)
    assert sorted(found) == ["ensemble", "trial 0", "trial 1", "trial 2"]
    history, summary = found["trial 0"]
    assert [(row["_step"], row["fold_1/log_loss"]) for row in history] == [(1, 1.1), (2, 0.9)]
    assert summary["log_loss"] == 0.9
    assert summary["state"] == "complete"
    assert found["ensemble"][1]["log_loss"] == 0.88


def _read_run(file: Path) -> tuple[Any, list[dict[str, Any]], dict[str, Any]]:
    """The run, its history and its summary."""
    from wandb.proto import wandb_internal_pb2

    run: Any = None
    history: list[dict[str, Any]] = []
    summary: dict[str, Any] = {}
    for data in _log_records(file.read_bytes()[7:]):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.HasField("run"):
            run = record.run
        if record.HasField("history"):
            history.append(_values(record.history.item))
        if record.HasField("summary"):
            summary |= _values(record.summary.update)
    return run, history, summary


def _values(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def _log_records(log: bytes) -> list[bytes]:
    """Records of LevelDB's log format, which W&B writes after seven bytes of its own.

    See github.com/google/leveldb/blob/main/doc/log_format.md: blocks of 32 KiB, in them (checksum, length, type).
    """
    records, part, at = [], b"", 0
    while at + 7 <= len(log):
        if 32768 - (at + 7) % 32768 < 7:
            at += 32768 - (at + 7) % 32768
            continue
        _, length, kind = struct.unpack("<IHB", log[at : at + 7])
        part += log[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            records.append(part)
            part = b""
    return records


@needs("wandb", "wandb")
def test_wandb_online_asks_for_a_login_and_not_the_person(
    write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("WANDB_API_KEY", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(RuntimeError, match="run `wandb login` first"):
        write("wandb", mode="online")
