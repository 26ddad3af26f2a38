"""Notes are as optuna-dashboard's own library writes and reads them, and are told apart by their trials."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from optuna_dashboard import get_note, save_note

from automl_car.fold_records import FoldResult
from automl_car.records import Recipe
from automl_car.search.notes import NoteNames, note_trial

RECIPE = Recipe("lite0", tuning="head", image_size=64)
LONG = "a reason that goes on and on " * 200  # the library splits what is longer than 2,045 characters


@pytest.fixture
def study() -> optuna.Study:
    return optuna.create_study()


def _fold(number: int) -> FoldResult:
    return FoldResult("abc", number, "finished", 0.25, 0.25, 1.5, (), 3.0)


def _names(study: optuna.Study) -> set[str]:
    return set(study._storage.get_study_system_attrs(study._study_id))


def test_the_dashboard_reads_what_was_noted(study: optuna.Study) -> None:
    trial = study.ask()
    note_trial(trial, RECIPE, "pruned", "it was slow", {1: _fold(1)})
    body = get_note(trial)
    assert body.startswith("**pruned**: it was slow")
    assert "| 1 | 0.2500 | 1.50 | 0 | 3.0 |" in body


def test_a_long_note_comes_back_whole(study: optuna.Study) -> None:
    trial = study.ask()
    note_trial(trial, RECIPE, "failed", LONG, {})
    assert LONG in get_note(trial)


def test_a_short_note_leaves_nothing_of_a_longer_one_before(study: optuna.Study) -> None:
    trial = study.ask()
    save_note(trial, LONG * 3)  # somebody's in the dashboard, while the trial ran
    note_trial(trial, RECIPE, "pruned", "it was slow", {})
    assert "on and on" not in get_note(trial)


def test_a_note_changes_no_other_trials_note(study: optuna.Study) -> None:
    first, second = study.ask(), study.ask()
    save_note(first, "mine")
    save_note(study, "of all")
    note_trial(second, RECIPE, "failed", LONG, {})
    assert (get_note(first), get_note(study)) == ("mine", "of all")


# ---- told apart -----------------------------------------------------------------------------------------------------


def _split(names: NoteNames, study: optuna.Study) -> tuple[dict[int, dict[str, Any]], dict[str, Any]]:
    return names.split(study, study.get_trials(deepcopy=False))


def test_notes_are_split_by_trial_and_what_is_no_trials_is_kept_apart(study: optuna.Study) -> None:
    for trial in (study.ask(), study.ask()):
        save_note(trial, f"trial {trial.number}")
    save_note(study, "of all")
    notes, others = _split(NoteNames(), study)
    assert {number: note["note_str:0"] for number, note in notes.items()} == {0: "trial 0", 1: "trial 1"}
    assert others["dashboard:note_str:0"] == "of all"
    assert sum(len(note) for note in notes.values()) + len(others) == len(_names(study))


def test_only_the_trials_that_are_asked_for_are_among_them(study: optuna.Study) -> None:
    for trial in (study.ask(), study.ask()):
        save_note(trial, "note")
    assert list(NoteNames().split(study, study.get_trials(deepcopy=False)[1:])[0]) == [1]


def test_notes_that_come_later_or_change_are_seen(study: optuna.Study) -> None:
    names, trial = NoteNames(), study.ask()
    save_note(trial, "first")
    save_note(study, "of all")
    _split(names, study)
    save_note(trial, "second")
    save_note(study, "of everything")
    other = study.ask()
    save_note(other, "later")
    notes, others = _split(names, study)
    assert {number: note["note_str:0"] for number, note in notes.items()} == {0: "second", 1: "later"}
    assert others["dashboard:note_str:0"] == "of everything"


def test_names_that_another_study_does_not_have_are_not_looked_for_in_it(study: optuna.Study) -> None:
    names = NoteNames()
    save_note(study, "of all")
    save_note(study.ask(), "note")
    _split(names, study)
    assert _split(names, optuna.create_study()) == ({}, {})
