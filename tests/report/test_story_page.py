from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from automl_car.ensemble_records import Alternative, Ensemble, Estimate, Member
from automl_car.report.story import Story, ToldTrial
from automl_car.report.story_page import again_sections, story_sections

ENSEMBLE = Ensemble(
    members=(Member("trial 0", "toy", 1.0, 0.75, 0.31, 0.02), Member("trial 2", "toy_large", 1.0, 0.25, 0.4, 0.01)),
    pool="geometric",
    temperature=0.8,
    uniform=1e-6,
    log_loss=0.24,
    nested_log_loss=0.25,
    standard_error=0.02,
    best_single=0.31,
    oof_probabilities=np.zeros((0, 3)),
    test_probabilities=np.zeros((0, 3)),
    rows=600,
    estimate=Estimate(0.251, (0.21, 0.29), averaging=0.01, test_rows=200, test_range=(0.18, 0.31)),
    calibration="temperature",
    alternatives=(Alternative("plain mean", 0.27),),
)


def _trial(number: int, state: str, losses: dict[int, float], seconds: float, reason: str = "") -> ToldTrial:
    value = 0.3 if state == "complete" else None
    return ToldTrial(number, state, "toy at 16 px", "head", value, 0.0, 1.0, seconds, losses, reason)


STORY = Story(
    study="cars",
    folds=5,
    trials=(
        _trial(0, "complete", dict.fromkeys(range(5), 0.3), 110.0),  # 100 s of them for features
        _trial(1, "complete", dict.fromkeys(range(5), 0.3), 10.0),
        _trial(2, "complete", dict.fromkeys(range(5), 0.4), 10.0),
        _trial(3, "pruned", {1: 0.9}, 2.0, "too bad | by far"),
        _trial(4, "pruned", {2: 0.9, 3: 0.8}, 4.0, "too bad"),
    ),
    ensemble=ENSEMBLE,
    partial="",
    importances=(("backbone", 0.7), ("head.power", 0.3)),
    audit=("600 training photos",),
    versions={"torch": "2.10.0"},
    machine="CPU",
    command="automl-car search --trials 5",
    settings={"data.folds": "5"},
)


@pytest.fixture
def text() -> str:
    return "\n\n".join(story_sections(STORY, ()))


def test_the_result_comes_with_its_interval_and_what_to_expect(text: str) -> None:
    for number in ("0.2510", "0.2100 … 0.2900", "0.3100", "0.2410", "0.1800 … 0.3100"):
        assert number in text


def test_folds_that_were_spared_are_counted_at_the_usual_pace(text: str) -> None:
    assert STORY.saved == (7, 14.0)  # 4 + 3 folds, at 2 s each
    assert "Pruning spared 7 of 25 folds, about 14 s of training" in text


def test_each_trial_that_ended_early_says_why_in_one_cell(text: str) -> None:
    assert "| 3 | pruned | too bad \\| by far |" in text


def test_other_choices_stand_beside_the_ensemble(text: str) -> None:
    assert "| plain mean | 0.2700 |" in text
    assert "| this ensemble | 0.2500 |" in text


def test_pictures_are_shown_only_where_there_are_files(text: str) -> None:
    assert "![" not in text
    assert "(timeline.png)" in "\n".join(story_sections(STORY, {"timeline.png"}))


def test_what_mattered_is_told_in_percent(text: str) -> None:
    assert "| backbone | 70 % |" in text


def test_nothing_is_said_of_what_there_is_nothing_to_say_of() -> None:
    bare = replace(STORY, trials=STORY.trials[:3], importances=(), audit=())
    text = "\n\n".join(story_sections(bare, ()))
    for title in ("## What was not trained", "## How the members", "## What mattered", "## The photos"):
        assert title not in text


def test_the_end_says_how_to_come_to_the_same() -> None:
    text = "\n\n".join(again_sections(STORY))
    for words in ("automl-car search --trials 5", "data.folds: 5", "torch 2.10.0", "trained on CPU"):
        assert words in text
