"""Which Optuna studies a study consists of, and which of them counts."""

from __future__ import annotations

import optuna
import pytest
from optuna.storages import InMemoryStorage

from automl_car.search.generations import (
    CARRIED_FROM,
    GENERATION,
    UNDONE,
    current_generation,
    generations,
    next_name,
    remove_half_copied,
    study_names,
    study_of,
)


@pytest.fixture
def storage() -> InMemoryStorage:
    return InMemoryStorage()


def _add(storage: InMemoryStorage, name: str, **attributes: object) -> None:
    study = optuna.create_study(study_name=name, storage=storage)
    for key, value in attributes.items():
        study.set_user_attr(key, value)


def _add_generation(storage: InMemoryStorage, name: str, **attributes: object) -> None:
    told = {"when": "2030-01-02T03:04:05+00:00", "trials": 7, "why": "backbone `foo` added"}
    _add(storage, name, **{CARRIED_FROM: "main", GENERATION: told, **attributes})


def _current(storage: InMemoryStorage, study: str = "main") -> str | None:
    found = current_generation(storage, study)
    return found and found.optuna_name


@pytest.mark.parametrize(
    ("name", "study"), [("main", "main"), ("main#2", "main"), ("a.b@g2#12", "a.b@g2"), ("main#", "main#")]
)
def test_the_name_of_a_generation_tells_its_study(name: str, study: str) -> None:
    assert study_of(name) == study


def test_a_study_that_is_not_there_has_no_generation(storage: InMemoryStorage) -> None:
    _add(storage, "other")
    assert (generations(storage, "main"), current_generation(storage, "main")) == ((), None)


def test_a_study_that_never_grew_is_its_first_generation(storage: InMemoryStorage) -> None:
    _add(storage, "main")
    (only,) = generations(storage, "main")
    assert (only.optuna_name, only.number, only.why, only.undone) == ("main", 1, "", False)


def test_the_newest_generation_counts_and_numbers_are_no_words(storage: InMemoryStorage) -> None:
    for name in ("main#10", "main#2", "main#9"):
        _add_generation(storage, name)
    _add(storage, "main")
    assert [found.number for found in generations(storage, "main")] == [1, 2, 9, 10]
    assert _current(storage) == "main#10"


def test_a_generation_tells_what_had_changed(storage: InMemoryStorage) -> None:
    _add_generation(storage, "main#2")
    (found,) = generations(storage, "main")
    assert (found.when, found.trials, found.why) == ("2030-01-02T03:04:05+00:00", 7, "backbone `foo` added")


def test_an_undone_generation_does_not_count(storage: InMemoryStorage) -> None:
    _add(storage, "main")
    _add_generation(storage, "main#2")
    _add_generation(storage, "main#3", **{UNDONE: "2030-02-02T03:04:05+00:00"})
    assert _current(storage) == "main#2"


def test_a_half_copied_generation_does_not_count_and_is_removed(storage: InMemoryStorage) -> None:
    _add(storage, "main")
    _add(storage, "main#2", **{CARRIED_FROM: "main"})
    _add(storage, "main#3")  # killed before anything could be said of it
    assert _current(storage) == "main"
    remove_half_copied(storage, "main")
    assert optuna.get_all_study_names(storage) == ["main"]


def test_only_what_was_half_copied_is_removed(storage: InMemoryStorage) -> None:
    _add(storage, "main")  # a search that was killed right after it began
    _add_generation(storage, "main#2")
    _add_generation(storage, "main#3", **{UNDONE: "2030-02-02T03:04:05+00:00"})
    _add(storage, "main#4", made_by="another program")
    _add(storage, "other#2", **{CARRIED_FROM: "other"})
    optuna.create_study(study_name="main#5", storage=storage).enqueue_trial({})
    before = optuna.get_all_study_names(storage)
    remove_half_copied(storage, "main")
    assert optuna.get_all_study_names(storage) == before


@pytest.mark.parametrize(("others", "expected"), [([], 2), (["main#2"], 3), (["main#2", "main#7"], 8), (["ma#9"], 2)])
def test_the_next_generation_has_the_next_free_number(
    storage: InMemoryStorage, others: list[str], expected: int
) -> None:
    for name in ("main", *others):
        _add(storage, name)
    assert next_name(storage, "main") == (f"main#{expected}", expected)


def test_a_study_whose_first_generation_was_deleted_is_still_there(storage: InMemoryStorage) -> None:
    _add_generation(storage, "main#2")
    assert _current(storage) == "main#2"
    assert study_names(storage) == ("main",)


def test_a_study_is_listed_once_and_somebody_elses_as_it_is_called(storage: InMemoryStorage) -> None:
    for name in ("other", "main", "issue#2"):
        _add(storage, name)
    _add_generation(storage, "main#2")
    _add(storage, "main#3", **{CARRIED_FROM: "main#2"})
    assert study_names(storage) == ("issue#2", "main", "other")
