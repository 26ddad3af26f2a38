"""`check`: what a search would stumble over is found in a minute, with what to do about it."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from automl_car import cli, pipeline
from automl_car.config import load_config
from automl_car.console import Lines
from automl_car.data.checkup import check_photos
from automl_car.data.index import read_dataset
from automl_car.pipeline import Finding
from automl_car.workspace import Workspace

SETTINGS = """
data: {folds: 5}
search: {backbones: [toy, toy_large]}
training: {weights: random, batch_size: 8}
plugins: {files: [toy_networks.py]}
"""


def _check(root: Path) -> list[Finding]:
    workspace = Workspace(root)
    config = load_config(workspace.config_file)
    return list(pipeline.check(workspace, config, sample=False, view=Lines(), log=root / "worker.log"))


@pytest.fixture(scope="module")
def troubled(
    tmp_path_factory: pytest.TempPathFactory, tiny_photos: Callable[[Path], Path], toy_plugin_text: str
) -> list[Finding]:
    """What is found in photos of which one is broken, one has two labels, and one is in the test set as well."""
    root = tmp_path_factory.mktemp("troubled")
    data = tiny_photos(root / "data")
    (root / "toy_networks.py").write_text(toy_plugin_text)
    (root / "automl-car.yaml").write_text(SETTINGS)
    train = data / "train"
    broken = train / "coupe" / "00.jpg"
    broken.write_bytes(broken.read_bytes()[:-200])
    shutil.copy(train / "coupe" / "01.jpg", train / "van" / "90.jpg")
    shutil.copy(train / "coupe" / "02.jpg", data / "test" / "0.jpg")
    for number in range(3, 12):
        (train / "hatchback" / f"{number:02}.jpg").unlink()
    return _check(root)


def _texts(findings: list[Finding], topic: str) -> str:
    return "\n".join(f"{finding.level}: {finding.text}" for finding in findings if finding.topic == topic)


def test_photos_and_classes_are_counted(troubled: list[Finding]) -> None:
    assert "good: 28 training photos of 3 classes (3 to 13 a class), 5 test photos" in _texts(troubled, "data")


def test_a_photo_that_cannot_be_decoded_is_named(troubled: list[Finding]) -> None:
    assert "note: all 33 decoded, 1 cannot be: `train/coupe/00.jpg" in _texts(troubled, "photos")


def test_a_photo_under_two_labels_is_named(troubled: list[Finding]) -> None:
    assert "`train/coupe/01.jpg = train/van/90.jpg`" in _texts(troubled, "copies")


def test_a_photo_in_train_and_test_is_named(troubled: list[Finding]) -> None:
    assert "`train/coupe/02.jpg = test/0.jpg`" in _texts(troubled, "copies")


def test_a_class_with_fewer_photos_than_folds_is_named_with_a_number_that_fits(troubled: list[Finding]) -> None:
    (finding,) = [finding for finding in troubled if "fewer photos than there are folds" in finding.text]
    assert "`hatchback`" in finding.text
    assert "--folds 3" in finding.todo


def test_every_backbone_makes_a_real_step(troubled: list[Finding]) -> None:
    steps = _texts(troubled, "backbones").splitlines()
    assert [line.split()[1] for line in steps] == ["toy:", "toy_large:"]
    assert all("for a step of 8 images" in line for line in steps)


def test_none_of_it_stops_a_search(troubled: list[Finding]) -> None:
    assert not any(finding.level == "problem" for finding in troubled)


def test_every_note_says_what_to_do(troubled: list[Finding]) -> None:
    assert all(finding.todo for finding in troubled if finding.level != "good")


def test_a_disk_that_is_too_small_is_a_problem(
    tmp_path: Path, tiny_dataset: Path, toy_plugin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "automl-car.yaml").write_text(SETTINGS)
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr("automl_car.pipeline.machine_check.shutil.disk_usage", lambda path: usage)
    monkeypatch.setattr("automl_car.pipeline.checking.check_machine", lambda *arguments: iter(()))
    assert _texts(_check(tmp_path), "disk").startswith("problem: at most")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, Any]]:
    """Runs `automl-car check ... --json`; returns the exit code and what was printed."""

    def command(*arguments: str) -> tuple[int, Any]:
        monkeypatch.setattr(sys, "argv", ["automl-car", "check", *arguments, "--json"])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return int(end.value.code or 0), json.loads(capsys.readouterr().out)

    return command


def test_classes_that_the_contest_does_not_know_are_a_problem_and_end_with_2(
    run: Callable[..., tuple[int, Any]], tmp_path: Path, tiny_dataset: Path, toy_plugin: Path
) -> None:
    (tmp_path / "automl-car.yaml").write_text(SETTINGS)
    (tiny_dataset / "train" / "van").rename(tiny_dataset / "train" / "lorry")
    code, findings = run("--workspace", str(tmp_path))
    assert code == 2
    assert "`lorry`" in findings[-1]["text"]
    assert findings[-1]["level"] == "problem"


def test_a_broken_plugin_is_a_problem(
    run: Callable[..., tuple[int, Any]], tmp_path: Path, tiny_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.py").write_text("import nothing_of_this_name\n")
    monkeypatch.setattr("automl_car.pipeline.checking.check_machine", lambda *arguments: iter(()))
    code, findings = run("--workspace", str(tmp_path), "--plugin", str(tmp_path / "broken.py"))
    assert code == 2
    assert any("nothing_of_this_name" in finding["text"] for finding in findings)


def test_decoding_stops_when_the_time_is_over_and_covers_all_classes(tiny_dataset: Path) -> None:
    dataset = read_dataset(tiny_dataset)
    found = check_photos(dataset, short_side=16, seconds=0.0)
    assert (found.photos, found.decoded) == (41, 32)
