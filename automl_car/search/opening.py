"""Opens the database of a study; where it is lost or damaged, the ledger (`ledger.py`) says what was in it.

A search, which holds the study's lock, writes it anew. Whoever only reads gets the same study in memory.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import optuna
from optuna.storages import BaseStorage

from automl_car.errors import AutomlCarError, DatabaseAwayError, NoStudyError, StudyError
from automl_car.search.database import is_damage, remove_beside, set_database_aside, sqlite_path, unusable, why_damaged
from automl_car.search.generations import generations, optuna_names, remove_half_copied
from automl_car.search.holding import held_storage
from automl_car.search.ledger import Ledger, ledger_of
from automl_car.search.restoring import in_memory, is_another, restore, what_is_missing
from automl_car.search.study import connect, connect_file, load_study, storage_url
from automl_car.urls import without_password

logger = logging.getLogger("automl_car")
Note = Callable[[str], None]


# ---- to search ------------------------------------------------------------------------------------------------------


def open_storage(name: str, url: str, ledger: Ledger, note: Note) -> BaseStorage:
    """The storage of a study, with all that its ledger knows of it. The caller holds the study's lock.

    A damaged SQLite file is set aside. Where it is the database that is whole and belongs to another study of the same
    name, the ledger is.

    Args:
        note: is told, on one line each, what was damaged and what was rebuilt.

    Raises:
        StudyError: the database is locked, or cannot be opened, or it is on a server and was searched elsewhere.
    """
    path = sqlite_path(url)
    missing = path is not None and not path.is_file()
    storage = connect(url) if path is None else _connect_whole(name, path, note)
    remove_half_copied(storage, name)
    if path is None:
        _require_same_workspace(ledger, storage, name, url)
    if not ledger.generations(name):
        return storage
    if is_another(ledger, storage, name):
        aside = ledger.set_aside()
        where = without_password(url)
        note(f"study `{name}` in {where} is not the one that was searched here before: its records went to `{aside}`")
        return storage
    lost = what_is_missing(ledger, storage, name)
    if not lost:
        return storage
    if path is not None and optuna_names(storage, name) and _is_alone(storage, name):
        storage = _without_file(storage, path)
    count = restore(ledger, storage, name)
    note(_told(name, ledger, "its database is not there" if missing else lost, count))
    return storage


def _require_same_workspace(ledger: Ledger, storage: BaseStorage, study: str, url: str) -> None:
    """Refuse a study whose folds are on another machine: they would all be trained again, without a word."""
    if is_another(ledger, storage, study) and not any(ledger.directory.glob("*/fold-*/record.json")):
        raise StudyError(
            f"Study `{study}` in {without_password(url)} was searched in another workspace: none of its folds is in "
            f"`{ledger.directory}`.",
            hint="work in that workspace, or bring its folder here; `--study NAME` begins another study, and with "
            f"`--warm-start {study}` it begins with the best recipes of this one.",
        )


def _connect_whole(name: str, path: Path, note: Note) -> optuna.storages.RDBStorage:
    """The storage in a SQLite file, every value of which can be read; an empty one where they cannot."""
    if not path.is_file() or not path.stat().st_size:
        path.unlink(missing_ok=True)
        remove_beside(path)
        return connect_file(path)
    why = why_damaged(path)
    if not why:
        try:
            return _read_all(name, connect_file(path))
        except AutomlCarError:
            raise
        except Exception as error:  # a flipped bit can lead to any of them
            if not is_damage(error):
                raise unusable(path, error) from error
            why = f"{type(error).__name__}: {error}".partition("\n")[0]
    aside = set_database_aside(path)
    note(f"the database `{path}` is damaged ({why}); it went to `{aside.name}`")
    return connect_file(path)


def _read_all(name: str, storage: optuna.storages.RDBStorage) -> optuna.storages.RDBStorage:
    try:
        generations(storage, name)
        for one in optuna_names(storage, name):
            study = storage.get_study_id_from_name(one)
            storage.get_study_system_attrs(study)
            storage.get_all_trials(study, deepcopy=False)
    except BaseException:
        _close(storage)
        raise
    return storage


def _is_alone(storage: BaseStorage, name: str) -> bool:
    return set(optuna.get_all_study_names(storage)) == set(optuna_names(storage, name))


def _without_file(storage: BaseStorage, path: Path) -> optuna.storages.RDBStorage:
    """An empty storage in place of one that lacks something: nothing of the old one is deleted."""
    assert isinstance(storage, optuna.storages.RDBStorage)  # it is a file
    _close(storage)
    set_database_aside(path)
    return connect_file(path)


def _close(storage: optuna.storages.RDBStorage) -> None:
    storage.remove_session()
    storage.engine.dispose()


def _told(name: str, ledger: Ledger, lost: str, count: int) -> str:
    trials = f"{count} trial{'' if count == 1 else 's'}"
    return (
        f"study `{name}` was rebuilt with {trials} from the records in `{ledger.directory}`, as {lost}; "
        f"to begin it anew, delete that folder, too"
    )


# ---- to read --------------------------------------------------------------------------------------------------------


def read_study(studies: Path, name: str, storage: str | None) -> optuna.Study:
    """An existing study, for reading: its current generation; nothing is written.

    Args:
        studies: folder `studies/` of the workspace.
        storage: URL of the studies, or None for the folder.

    Raises:
        StudyError: there is none of that name, or neither its database nor its ledger can be read.
    """
    url, ledger = storage_url(studies, name, storage), Ledger(ledger_of(studies, name))  # before the database
    try:
        study = load_study(name, url)
        lost = ledger.generations(name) and not is_another(ledger, study._storage, name)
        if not lost or not (why := what_is_missing(ledger, study._storage, name)):
            return study
    except DatabaseAwayError as error:
        if held_storage(url) is None or not ledger.generations(name):
            raise
        why = error.message.rstrip(".")  # a search that ends without its database ends with a submission
    except StudyError as error:
        if not ledger.generations(name):
            raise
        why = "its database is not there" if isinstance(error, NoStudyError) else error.message.rstrip(".")
    logger.warning("study `%s` is read from `%s`, until the next search mends it: %s", name, ledger.directory, why)
    return in_memory(ledger, name)
