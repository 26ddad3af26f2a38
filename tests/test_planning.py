"""What a search will cost: measured on real photos and networks, added up by hand, printed."""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from automl_car import cli, pipeline
from automl_car.config import load_config
from automl_car.data.images import read_image
from automl_car.data.survey import Survey, survey_photos
from automl_car.fold_records import Machine
from automl_car.pipeline.planning import Plan, PlanRow
from automl_car.report.plan import plan_json, print_plan
from automl_car.workspace import Workspace

SETTINGS = """
data: {folds: 2}
search: {tuning: both, backbones: [toy, toy_large], augmentations: [none], trials: 20}
training: {weights: random, epochs: 2, batch_size: 8}
plugins: {files: [toy_networks.py]}
"""
ROW = PlanRow(
    "lite0",
    "full",
    160,
    30,
    images_per_second=74.0,
    features_seconds=20.0,
    epoch_seconds=24.0,
    trial_seconds=3600.0,
    peak_memory_bytes=1_500_000_000,
)
PLAN = Plan(
    photos=1980,
    test_photos=660,
    classes=60,
    folds=5,
    trials=50,
    machine=Machine("cpu", "CPU", 2),
    survey=Survey(213, 12.0, 340_000_000),
    rows=(ROW,),
    longest=7200.0,
    shortest=3600.0,
    timeout=None,
)


class Silent:
    """A view that shows nothing; notes are kept."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None


@pytest.fixture(scope="module")
def workspace(
    tmp_path_factory: pytest.TempPathFactory, tiny_photos: Callable[[Path], Path], toy_plugin_text: str
) -> Workspace:
    root = tmp_path_factory.mktemp("workspace")
    tiny_photos(root / "data")
    (root / "toy_networks.py").write_text(toy_plugin_text)
    (root / "automl-car.yaml").write_text(SETTINGS)
    return Workspace(root)


def _plan(workspace: Workspace, **overrides: Any) -> Plan:
    config = load_config(workspace.config_file, {name.replace("__", "."): value for name, value in overrides.items()})
    log = workspace.root / "worker.log"
    return pipeline.plan(workspace, config, sample=False, view=Silent(), log=log)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def planned(workspace: Workspace) -> Plan:
    return _plan(workspace)


# ---- measuring ------------------------------------------------------------------------------------------------------


def test_every_backbone_is_measured_with_every_way_of_tuning(planned: Plan) -> None:
    assert {(row.backbone, row.tuning) for row in planned.rows} == {
        (backbone, tuning) for backbone in ("toy", "toy_large") for tuning in ("full", "head")
    }
    for row in planned.rows:
        assert min(row.images_per_second, row.epoch_seconds, row.trial_seconds, row.peak_memory_bytes) > 0


def test_nothing_is_trained_and_no_study_begins(planned: Plan, workspace: Workspace) -> None:
    assert not list(workspace.studies.glob("*.db"))
    assert not list(workspace.root.glob("checkpoints/*/*/fold-*"))


def test_a_trial_is_all_epochs_of_all_folds_and_the_test_photos(planned: Plan) -> None:
    for row in planned.rows:
        least = planned.folds * row.epochs * row.epoch_seconds
        assert least <= row.trial_seconds < 100 * least


def test_without_pruning_every_fold_of_every_trial_is_paid_for(planned: Plan) -> None:
    trial = sum(row.trial_seconds for row in planned.rows) / 4
    once = planned.survey.seconds + sum(row.features_seconds for row in planned.rows)
    assert planned.longest == pytest.approx(once + 20 * trial)
    # With pruning, at the best: 5 trials with both folds, 15 with one.
    assert planned.shortest == pytest.approx(once + trial / 2 * (2 * 5 + 15))


def test_with_pruning_switched_off_both_sums_are_equal(workspace: Workspace) -> None:
    plan = _plan(workspace, pruning__enabled=False, search__backbones=["toy"], search__tuning="head")
    assert plan.shortest == pytest.approx(plan.longest)


def test_a_backbone_that_cannot_be_measured_says_why_and_the_others_are_measured(
    workspace: Workspace, tmp_path: Path
) -> None:
    broken = tmp_path / "broken_network.py"
    broken.write_text(
        "from automl_car import Backbone, hookimpl\n"
        "def build(num_classes, *, pretrained=True): raise RuntimeError('no such layer')\n"
        "@hookimpl\ndef register_backbones(): return [Backbone('broken', build, image_size=16, source='here')]\n"
    )
    files = [broken, workspace.root / "toy_networks.py"]
    plan = _plan(workspace, plugins__files=files, search__backbones=["broken", "toy"], search__tuning="full")
    problems = {row.backbone: row.problem for row in plan.rows}
    assert "no such layer" in problems["broken"]
    assert problems["toy"] == ""
    assert math.isfinite(plan.longest)


def test_the_command_prints_the_plan_and_nothing_else_on_stdout(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["search", "--plan", "--json", "--tuning", "head", "--workspace", str(workspace.root)]
    monkeypatch.setattr(sys, "argv", ["automl-car", *words])
    monkeypatch.setattr("sys.excepthook", sys.excepthook)  # the command line sets its own
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 0
    assert json.loads(capsys.readouterr().out)["trials"] == 20
    assert not list(workspace.studies.glob("*.db"))


# ---- the glance at the photos ---------------------------------------------------------------------------------------


def test_the_survey_knows_the_size_that_the_photos_will_take(workspace: Workspace) -> None:
    files = sorted(workspace.root.glob("data/train/*/*"))[:30]
    sizes = [read_image(file).shape[:2] for file in files]
    survey = survey_photos(workspace.root, [str(file.relative_to(workspace.root)) for file in files], short_side=512)
    assert survey.bytes == sum(3 * height * width for height, width in sizes)
    assert survey.short_side == int(statistics.median(min(size) for size in sizes))
    assert survey.seconds > 0


def test_the_survey_looks_at_some_photos_and_speaks_of_all(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "a.jpg")
    Image.new("RGB", (60, 30)).save(tmp_path / "b.jpg")
    survey = survey_photos(tmp_path, ["a.jpg"] * 500 + ["b.jpg"] * 500, short_side=30)
    assert survey.bytes == pytest.approx(1000 * 3 * 50 * 30, rel=0.05)


def test_broken_photos_do_not_stop_the_survey(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no photo")
    assert survey_photos(tmp_path, ["a.jpg"], short_side=16) == Survey(0, 0.0, 0)


def test_without_photos_there_is_nothing_to_survey(tmp_path: Path) -> None:
    assert survey_photos(tmp_path, [], short_side=16) == Survey(0, 0.0, 0)


# ---- printing -------------------------------------------------------------------------------------------------------


def test_the_printed_plan_names_what_a_person_decides_by(capsys: pytest.CaptureFixture[str]) -> None:
    print_plan(PLAN)
    out = capsys.readouterr().out
    assert "1980 training and 660 test photos, 60 classes, 5 folds, 50 trials on CPU with 2 cores" in out
    assert "reading the photos, once: 12 s, 0.34 GB on the disk" in out
    assert "the whole search: 2 h 00 min without pruning, between 1 h 00 min and that with it" in out
    (row,) = [line.split() for line in out.splitlines() if line.startswith("lite0")]
    assert row == [
        "lite0",
        "full",
        "160",
        "74",
        "20",
        "s",
        "24",
        "s",
        "1",
        "h",
        "00",
        "min",
        "(30",
        "epochs)",
        "1.5",
        "GB",
    ]


def test_a_time_limit_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    print_plan(replace(PLAN, timeout=1800.0))
    assert "the time limit ends it after 30 min 00 s" in capsys.readouterr().out


def test_without_any_measurement_there_is_no_sum(capsys: pytest.CaptureFixture[str]) -> None:
    broken = replace(ROW, problem="no such layer")
    print_plan(replace(PLAN, rows=(broken,), longest=math.inf, shortest=math.inf))
    out = capsys.readouterr().out
    assert "lite0, full: no such layer" in out
    assert "nothing could be measured" in out


def test_the_plan_as_json_holds_every_number() -> None:
    assert json.loads(json.dumps(plan_json(PLAN)))["rows"][0]["epoch_seconds"] == 24.0
