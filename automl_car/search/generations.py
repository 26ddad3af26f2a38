"""A study's generations: one for each space that it was searched in.

Optuna cannot add a choice to a parameter that has trials. So a study whose space has changed goes on in a new Optuna
study of the same storage, into which all its trials are copied (`growth.py`):

    main      the first generation
    main#2    the second one; no study that a person names can hold a `#`
A study is always called `main`, and is its newest generation that was not undone. A generation counts from the moment
it has the attribute `generation`, which is written last: what a killed process was copying counts for nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import optuna
from optuna.storages import BaseStorage

from automl_car.search.patient import PatientStorage
from automl_car.search.server import names_in

GENERATION = "generation"  # user attribute: number, when, trials and why
CARRIED_FROM = "carried_from"  # user attribute, written first: the Optuna study that the trials were copied from
SUPERSEDED_BY = "superseded_by"  # user attribute: the Optuna study that goes on with these trials; for people
UNDONE = "undone"  # user attribute: when a person went back to the generation before
_NAME = re.compile(r"(?P<study>.+)#(?P<number>\d+)")


@dataclass(frozen=True)
class Generation:
    """One generation of a study.

    Attributes:
        optuna_name: of the Optuna study that holds it.
        number: from 1.
        when: UTC time at which it began, in ISO format; empty for the first one.
        trials: that had ended by then, all carried over.
        why: what had changed in the space; empty for the first one.
        undone: whether a person went back from it.
    """

    optuna_name: str
    number: int
    when: str = ""
    trials: int = 0
    why: str = ""
    undone: bool = False


def study_of(optuna_name: str) -> str:
    """The study that an Optuna study is a generation of.

    Example:
        >>> study_of("main#2")
        'main'
    """
    match = _NAME.fullmatch(optuna_name)
    return match["study"] if match else optuna_name


def study_names(storage: BaseStorage) -> tuple[str, ...]:
    """All studies of a storage, however many generations they have, sorted."""
    names = _all_names(storage)
    return tuple(sorted({study_of(name) if _is_ours(storage, name) else name for name in names}))


def generations(storage: BaseStorage, study: str) -> tuple[Generation, ...]:
    """All generations of a study, by number; none when there is no such study."""
    found = []
    for name, number in _numbered(storage, study).items():
        attributes = attributes_of(storage, name)
        if name == study:
            found.append(Generation(name, number))
        elif GENERATION in attributes:
            told = attributes[GENERATION]
            undone = bool(attributes.get(UNDONE))
            found.append(Generation(name, number, told["when"], told["trials"], told["why"], undone))
    return tuple(sorted(found, key=lambda generation: generation.number))


def current_generation(storage: BaseStorage, study: str) -> Generation | None:
    """The newest generation that was not undone; None when there is no such study."""
    return next((found for found in reversed(generations(storage, study)) if not found.undone), None)


def next_name(storage: BaseStorage, study: str) -> tuple[str, int]:
    """Name in the storage and number of the generation that comes next: also an undone one keeps its number."""
    number = max(_numbered(storage, study).values()) + 1
    return f"{study}#{number}", number


def remove_half_copied(storage: BaseStorage, study: str) -> None:
    """Delete what a process that was killed had begun to copy."""
    for name in _numbered(storage, study):
        attributes = attributes_of(storage, name)
        begun = CARRIED_FROM in attributes or not (attributes or _has_trials(storage, name))
        if name != study and begun and GENERATION not in attributes:
            optuna.delete_study(study_name=name, storage=storage)


def attributes_of(storage: BaseStorage, optuna_name: str) -> Mapping[str, Any]:
    """User attributes of an Optuna study, without reading its trials."""
    attributes: dict[str, Any] = storage.get_study_user_attrs(storage.get_study_id_from_name(optuna_name))
    return attributes


def utc_now() -> str:
    """The time, in ISO format and whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def optuna_names(storage: BaseStorage, study: str) -> tuple[str, ...]:
    """The Optuna studies of a study's generations, half-copied ones among them; nobody else's with a `#`."""
    names = _numbered(storage, study)
    return tuple(name for name in names if name == study or _is_ours(storage, name))


def _numbered(storage: BaseStorage, study: str) -> dict[str, int]:
    """The Optuna studies that are, or were to become, a generation of this study, with their numbers."""
    numbers = {}
    for name in _all_names(storage):
        match = _NAME.fullmatch(name)
        if name == study:
            numbers[name] = 1
        elif match and match["study"] == study:
            numbers[name] = int(match["number"])
    return numbers


def _all_names(storage: BaseStorage) -> list[str]:
    return storage.study_names() if isinstance(storage, PatientStorage) else names_in(storage)


def _has_trials(storage: BaseStorage, optuna_name: str) -> bool:
    return storage.get_n_trials(storage.get_study_id_from_name(optuna_name)) > 0


def _is_ours(storage: BaseStorage, optuna_name: str) -> bool:
    """Whether a name with a `#` is that of a generation: somebody else's study may have one too."""
    return _NAME.fullmatch(optuna_name) is not None and CARRIED_FROM in attributes_of(storage, optuna_name)
