from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from automl_car.catalog.manager import load_catalog
from automl_car.catalog.records import PluginSources
from automl_car.ensemble_records import Alternative, Ensemble, Estimate, Member
from automl_car.pipeline import Outcome, outcome_json
from automl_car.report import tables
from automl_car.search.overview import ShownStudy, ShownTrial, StudyRow

RED = "\x1b[31m"
PRUNED_REASON = "after 2 folds it is 0.312 worse than trial 3, the 5th best, on the same folds; 0.100 is allowed " * 3
COMPLETE = ShownTrial(3, "complete", 0.61234, "lite0", "head", 224, "none", 5e-4, 12.7, (0.6, 0.62), "")
PRUNED = ShownTrial(4, "pruned", None, "lite1", "full", 160, "light", 1e-3, None, (0.9,), PRUNED_REASON)
STUDY = ShownStudy("main", {"search": {"trials": 50}}, (COMPLETE, PRUNED))
BUILT = Ensemble(
    members=(Member("trial 3", "lite0", 0.9, 0.75, 0.61, 0.02), Member("trial 7", "lite2", 1.1, 0.25, 0.65, 0.01)),
    pool="geometric",
    temperature=0.83,
    uniform=0.001,
    log_loss=0.55,
    nested_log_loss=0.5678,
    standard_error=0.01,
    best_single=0.6,
    oof_probabilities=np.full((4, 2), 0.5),
    test_probabilities=np.full((3, 2), 0.5),
    rows=4,
    estimate=Estimate(0.57, (0.5491, 0.5891), 0.0022, 0.03, test_rows=3, test_range=(0.4, 0.68)),
    alternatives=(Alternative("best trial alone", 0.6), Alternative("plain mean", 0.61)),
)


def words(line: str) -> list[str]:
    return line.split()


# ---- plugins --------------------------------------------------------------------------------------------------------


def test_every_backbone_and_augmentation_and_plugin_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    catalog = load_catalog()
    tables.print_catalog(catalog)
    first_words = [words(line)[0] for line in capsys.readouterr().out.splitlines() if line.strip()]
    for name in (*catalog.backbones, *catalog.augmentations, *(row.name for row in catalog.plugins)):
        assert name in first_words


def test_a_broken_plugin_is_a_row_and_its_whole_reason_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reason = "out of paint, " * 40
    (tmp_path / "mine.py").write_text(f"raise ValueError({reason!r})")
    tables.print_catalog(load_catalog(PluginSources(files=(tmp_path / "mine.py",))))
    out = capsys.readouterr().out.splitlines()
    assert f"plugin `mine` is broken: ValueError: {reason}".strip() in [line.strip() for line in out]
    (row,) = [line for line in out if line.startswith("mine ")]
    assert words(row)[-1] == "broken"


def test_a_path_that_looks_like_markup_is_printed_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "[bold]cars :car:"
    folder.mkdir()
    (folder / "mine.py").write_text("raise ValueError('[red]no[/red]')")
    tables.print_catalog(load_catalog(PluginSources(files=(folder / "mine.py",))))
    out = capsys.readouterr().out
    assert str(folder / "mine.py") in out
    assert "[red]no[/red]" in out


def test_a_disabled_plugin_is_called_so(capsys: pytest.CaptureFixture[str]) -> None:
    tables.print_catalog(load_catalog(PluginSources(disabled=("eva02",))))
    (row,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("eva02 ")]
    assert words(row)[-1] == "disabled"


def test_the_catalog_as_json_holds_parameters_and_whether_weights_are_here() -> None:
    catalog = load_catalog(PluginSources(files=(Path("missing.py"),), disabled=("eva02",)))
    shown = json.loads(json.dumps(tables.catalog_json(catalog)))
    lite0 = next(entry for entry in shown["backbones"] if entry["name"] == "efficientnet_lite0")
    assert lite0["weights_here"] is True
    assert lite0["params"] == [
        {"name": "drop_path", "kind": "float", "low": 0.0, "high": 0.2, "log": False, "default": 0.0}
    ]
    states = {entry["name"]: (entry["error"], entry["disabled"]) for entry in shown["plugins"]}
    assert states["missing"] == ("there is no such file.", False)
    assert states["eva02"] == (None, True)
    assert states["crops"] == (None, False)


def test_weights_that_are_not_in_the_hubs_cache_are_not_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    shown = {entry["name"]: entry["weights_here"] for entry in tables.catalog_json(load_catalog())["backbones"]}
    assert shown["resnet50"] is False


# ---- studies --------------------------------------------------------------------------------------------------------


def test_a_study_is_a_line_of_counts(capsys: pytest.CaptureFixture[str]) -> None:
    tables.print_studies((StudyRow("main", 9, 5, 3, 1, 0.61234, "2024-05-01 13:45:10"),))
    _, line = capsys.readouterr().out.splitlines()
    assert words(line) == ["main", "9", "5", "3", "1", "0.6123", "2024-05-01", "13:45:10"]


def test_a_study_without_a_complete_trial_has_no_best(capsys: pytest.CaptureFixture[str]) -> None:
    tables.print_studies((StudyRow("main", 0, 0, 0, 0, None, ""),))
    _, line = capsys.readouterr().out.splitlines()
    assert words(line) == ["main", "0", "0", "0", "0"]


def test_trials_are_shown_with_their_folds_and_the_whole_reason_of_those_that_ended_early(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tables.print_study(STUDY)
    out = capsys.readouterr().out.splitlines()
    assert words(out[1])[:5] == ["3", "0.6123", "complete", "lite0", "head"]
    assert words(out[1])[-2:] == ["0.600", "0.620"]
    assert out[-1].strip() == f"trial 4 pruned: {PRUNED_REASON}".strip()


def test_a_shown_study_as_json_holds_all_of_its_trials() -> None:
    shown = json.loads(json.dumps(tables.shown_json(STUDY)))
    assert [trial["number"] for trial in shown["trials"]] == [3, 4]
    assert shown["trials"][0]["fold_log_loss"] == [0.6, 0.62]
    assert shown["trials"][1]["reason"] == PRUNED_REASON
    assert shown["settings"] == {"search": {"trials": 50}}


def test_a_study_as_json_names_its_best_log_loss() -> None:
    row = StudyRow("main", 9, 5, 3, 1, 0.61, "now")
    counts = {"trials": 9, "complete": 5, "pruned": 3, "failed": 1}
    assert tables.study_json(row) == {"name": "main", **counts, "best_log_loss": 0.61, "last_trial": "now"}


# ---- outcomes -------------------------------------------------------------------------------------------------------


def test_an_outcome_tells_its_members_and_where_the_submission_is(capsys: pytest.CaptureFixture[str]) -> None:
    path = Path("a" * 150) / "submission.csv"
    tables.print_outcome(Outcome("main", 5, 3, 1, 3, 0.61, BUILT, path))
    out = capsys.readouterr().out
    assert "study: main, 9 trials (5 complete, 3 pruned, 1 failed)" in out
    assert "best single trial: 3, log loss 0.6100" in out
    assert "log loss 0.5678 out of fold, 95 % interval 0.5491 … 0.5891 (4 photos; best member alone 0.6000)" in out
    assert "expected on 3 test photos: 0.5400, in 95 of 100 cases within 0.4000 … 0.6800" in out
    assert out.index("plain mean") < out.index("best trial alone") < out.index("this ensemble")
    assert f"submission: {path}\n" in out


def test_each_member_is_shown_with_its_views(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = BUILT.members
    built = replace(BUILT, members=(replace(first, views=4), second))
    tables.print_outcome(Outcome("main", 5, 3, 1, 3, 0.61, built, None))
    out = [words(line) for line in capsys.readouterr().out.splitlines()]
    assert ["trial", "3", "lite0", "4", "0.750", "0.6100", "0.0200"] in out
    assert ["trial", "7", "lite2", "all", "0.250", "0.6500", "0.0100"] in out  # as many as its recipe asks for


def test_an_outcome_without_a_finished_fold_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    tables.print_outcome(Outcome("main", 0, 0, 2, None, None, None, None))
    assert "no fold is finished yet, so there is no ensemble and no submission" in capsys.readouterr().out


def test_an_outcome_as_json_holds_the_weights_of_the_members() -> None:
    shown = json.loads(json.dumps(outcome_json(Outcome("main", 5, 3, 1, 3, 0.61, BUILT, Path("s.csv")))))
    assert (shown["best_trial"], shown["submission"]) == (3, "s.csv")
    assert [member["weight"] for member in shown["ensemble"]["members"]] == [0.75, 0.25]


# ---- colour ---------------------------------------------------------------------------------------------------------


def test_a_terminal_gets_colours(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    tables.print_catalog(load_catalog(PluginSources(files=(Path("missing.py"),))))
    assert RED in capsys.readouterr().out


def test_no_color_is_obeyed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    tables.print_catalog(load_catalog(PluginSources(files=(Path("missing.py"),))))
    assert RED not in capsys.readouterr().out


def test_a_file_gets_no_escape_codes(capsys: pytest.CaptureFixture[str]) -> None:
    tables.print_catalog(load_catalog(PluginSources(files=(Path("missing.py"),))))
    tables.print_study(STUDY)
    assert "\x1b" not in capsys.readouterr().out
