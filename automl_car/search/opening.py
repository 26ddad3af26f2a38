"""Opens the database of a study; where it is lost or damaged, the ledger (`ledger.py`) says what was in it.

A search, which holds the study's lock, writes it anew. Whoever only reads gets the same study in memory.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import optuna
from optuna.storages import BaseStorage

from automl_car.errors import AutomlCarError, NoStudyError, StudyError
from automl_car.search.database import is_damage, remove_beside, set_database_aside, sqlite_path, unusable, why_damaged
from automl_car.search.generations import generations, optuna_names, remove_half_copied
from automl_car.search.ledger import Ledger, ledger_of
from automl_car.search.restoring import in_memory, is_another, restore, what_is_missing
from automl_car.search.study import connect, load_study, storage_url

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
        StudyError: the database is locked, or cannot be opened.
    """
    path = sqlite_path(url)
    missing = path is not None and not path.is_file()
    storage = connect(url) if path is None else _connect_whole(name, url, path, note)
    remove_half_copied(storage, name)
    if not ledger.generations(name):
        return storage
    if is_another(ledger, storage, name):
        aside = ledger.set_aside()
        note(f"study `{name}` in {url} is not the one that was searched here before: its records went to `{aside}`")
        return storage
    lost = what_is_missing(ledger, storage, name)
    if not lost:
        return storage
    if path is not None and optuna_names(storage, name) and _is_alone(storage, name):
        storage = _without_file(storage, url, path)
    count = restore(ledger, storage, name)
    note(_told(name, ledger, "its database is not there" if missing else lost, count))
    return storage


def _connect_whole(name: str, url: str, path: Path, note: Note) -> optuna.storages.RDBStorage:
    """The storage in a SQLite file, every value of which can be read; an empty one where they cannot."""
    if not path.is_file() or not path.stat().st_size:
        path.unlink(missing_ok=True)
        remove_beside(path)
        return connect(url)
    why = why_damaged(path)
    if not why:
        try:
            return _read_all(name, connect(url))
        except AutomlCarError:
            raise
        except Exception as error:  # a flipped bit can lead to any of them
            if not is_damage(error):
                raise unusable(path, error) from error
            why = f"{type(error).__name__}: {error}".partition("\n")[0]
    aside = set_database_aside(path)
    note(f"the database `{path}` is damaged ({why}); it went to `{aside.name}`")
    return connect(url)


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


def _without_file(storage: optuna.storages.RDBStorage, url: str, path: Path) -> optuna.storages.RDBStorage:
    """An empty storage in place of one that lacks something: nothing of the old one is deleted."""
    _close(storage)
    set_database_aside(path)
    return connect(url)


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
    except StudyError as error:
        if not ledger.generations(name):
            raise
        why = "its database is not there" if isinstance(error, NoStudyError) else error.message.rstrip(".")
    logger.warning("study `%s` is read from `%s`, until the next search mends it: %s", name, ledger.directory, why)
    return in_memory(ledger, name)
