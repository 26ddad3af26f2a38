"""A study whose database is lost or damaged is the same study afterwards (rows 3 to 5 of the fault matrix)."""

from __future__ import annotations

import contextlib
import itertools
import logging
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from optuna_dashboard import get_note

from automl_car.errors import StudyError
from automl_car.fold_records import FoldTask
from automl_car.search import driver
from automl_car.search.database import is_damage, why_damaged
from automl_car.search.growth import undo
from automl_car.search.ledger import FILE, Ledger, trial_json
from automl_car.search.opening import read_study
from automl_car.search.overview import latest_study, list_studies, show_study
from automl_car.search.space import Space
from automl_car.search.study import connect, storage_url

Desk = Any  # see conftest.py
MakeSpace = Callable[..., Space]
Damage = Callable[[Path], None]


# ---- damage ---------------------------------------------------------------------------------------------------------


def _settle(path: Path) -> None:
    """Write the log of the database into it, as the last process that closes it does."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _delete(path: Path) -> None:
    path.unlink()


def _delete_all_but_the_log(path: Path) -> None:
    """What SQLite left beside the database stays, and must not be taken for the log of the new one."""
    shutil.copy(path, path.with_name("main.db-wal"))
    path.unlink()


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _other_file(path: Path) -> None:
    path.write_text("<html>404</html>" * 1000)


def _garbage_in_the_header(path: Path) -> None:
    path.write_bytes(b"\xff" * 100 + path.read_bytes()[100:])


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def _a_torn_page(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-4096:] = bytes(4096)
    path.write_bytes(data)


def _execute(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()


def _another_log_loss(path: Path) -> None:
    """What a flipped bit in a value comes to: the file's form is right."""
    _execute(path, "UPDATE trial_values SET value = value + 0.001 WHERE trial_id = 1")


def _no_json_in_an_attribute(path: Path) -> None:
    _execute(path, "UPDATE trial_user_attributes SET value_json = '{' WHERE trial_id = 2 AND key = 'recipe'")


def _no_such_table(path: Path) -> None:
    _execute(path, "DROP TABLE trial_values")


def _older(path: Path) -> None:
    """What a power cut leaves that takes the last commits away."""
    _execute(path, "UPDATE trials SET state = 'RUNNING' WHERE trial_id = 3")
    _execute(path, "DELETE FROM trial_values WHERE trial_id = 3")


def _without_the_study(path: Path) -> None:
    optuna.delete_study(study_name="main", storage=f"sqlite:///{path}")


WAYS: list[Damage] = [
    _delete,
    _delete_all_but_the_log,
    _empty,
    _other_file,
    _garbage_in_the_header,
    _cut,
    _a_torn_page,
    _another_log_loss,
    _no_json_in_an_attribute,
    _no_such_table,
    _older,
    _without_the_study,
]


def _database(desk: Desk) -> Path:
    return Path(desk.folder / "studies" / "main.db")


def _told(study: optuna.Study) -> list[Any]:
    """All that is known of the trials but their ids."""
    return [(trial_json(trial), get_note(optuna.trial.Trial(study, trial._trial_id))) for trial in study.get_trials()]


def _choices(trials: list[optuna.trial.FrozenTrial]) -> list[Any]:
    return [(trial.number, trial.state, trial.value, trial.params) for trial in trials]


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders for copies: where a search of four trials was made; it is made once, by the first test that asks."""
    return {"root": tmp_path_factory.mktemp("searched")}


@pytest.fixture
def four(desk: Desk, searched: dict[str, Path]) -> Desk:
    """A search of four trials, two of them chosen by the sampler, and nothing open."""
    kept = searched["root"] / "four"
    if not kept.exists():
        desk.go(4)
        _settle(_database(desk))
        shutil.copytree(desk.folder, kept)
    else:
        shutil.copytree(kept, desk.folder, dirs_exist_ok=True)
    return desk


# ---- a search goes on as if nothing had happened --------------------------------------------------------------------


@pytest.mark.parametrize("damage", WAYS)
def test_a_lost_or_damaged_database_is_rebuilt_exactly(four: Desk, damage: Damage) -> None:
    before = _told(four.study())
    _settle(_database(four))
    damage(_database(four))
    study = four.study()
    assert _told(study) == before
    assert study.user_attrs["folds"] == "photos"
    assert "was rebuilt with 4 trials" in four.view.notes[-1]
    assert "to begin it anew, delete" in four.view.notes[-1]


def test_the_sampler_goes_on_as_in_a_search_that_lost_nothing(four: Desk, tmp_path: Path) -> None:
    undisturbed = type(four)(tmp_path / "other")
    shutil.copytree(four.folder, undisturbed.folder, ignore=shutil.ignore_patterns("other"))
    _database(four).unlink()
    assert _choices(four.go(6)) == _choices(undisturbed.go(6))


@pytest.mark.parametrize("damage", [_other_file, _cut, _another_log_loss, _older])
def test_what_was_damaged_is_kept_under_a_name_that_says_so(four: Desk, damage: Damage) -> None:
    damage(_database(four))
    data = _database(four).read_bytes()
    four.study()
    assert (four.folder / "studies" / "main.db.damaged-1").read_bytes() == data
    assert why_damaged(_database(four)) == ""


def test_a_stopped_search_whose_database_is_lost_goes_on_with_the_folds_that_it_had(desk: Desk) -> None:
    made_up, left = desk.executor.train, iter(range(4))

    def stop(task: FoldTask) -> Any:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return made_up(task)

    desk.executor.train = stop
    with pytest.raises(KeyboardInterrupt):
        desk.go(3)
    desk.executor.train = made_up
    _database(desk).unlink()
    trials = [trial for trial in desk.go(3) if not trial.user_attrs["interrupted"]]
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 3
    submitted = [(task.recipe_id, task.fold) for task in desk.executor.submitted]
    assert len(submitted) == len(set(submitted)) + 1  # the fold in which it was stopped


def test_a_search_killed_before_any_record_comes_to_the_same(desk: Desk, tmp_path: Path) -> None:
    """The database has been told, its ledger not; and every other time the database is lost, too."""
    undisturbed = [(trial.value, trial.params) for trial in type(desk)(tmp_path / "undisturbed").go(5)]
    append = Ledger._append
    for records in itertools.count():
        killed, left = type(desk)(tmp_path / f"killed-before-{records}"), iter(range(records))

        def stop(ledger: Ledger, lines: list[bytes], left: Iterator[int] = left) -> None:
            if lines and next(left, None) is None:
                raise KeyboardInterrupt
            append(ledger, lines)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Ledger, "_append", stop)
            patch.setattr(driver, "RECORD_SECONDS", -1)  # folds take no time here: a record for each change
            finished = False
            with contextlib.suppress(KeyboardInterrupt):
                finished = bool(killed.go(5))
        if records % 2:
            _database(killed).unlink(missing_ok=True)
        trials = [trial for trial in killed.go(5) if not trial.user_attrs["interrupted"]]
        assert [(trial.value, trial.params) for trial in trials] == undisturbed
        submitted = [(task.recipe_id, task.fold) for task in killed.executor.submitted]
        assert len(submitted) == len(set(submitted))
        if finished:
            break
    assert records >= 7


def test_a_kill_at_any_write_of_the_rebuilding_loses_nothing(four: Desk, tmp_path: Path) -> None:
    before = _told(four.study())
    _settle(_database(four))
    _database(four).unlink()
    for writes in itertools.count(0, 5):
        desk = type(four)(tmp_path / f"killed-after-{writes}")
        shutil.copytree(four.folder / "checkpoints", desk.folder / "checkpoints")
        with pytest.MonkeyPatch.context() as patch:
            finished = _kill_after(patch, writes, desk.study)
        assert _told(desk.study()) == before
        if finished:
            break
    assert writes > 10


def _kill_after(patch: pytest.MonkeyPatch, writes: int, do: Callable[[], object]) -> bool:
    """Stop `do` before the storage is written to once more than that; whether it came to its end."""
    left = iter(range(writes))
    for name in ("create_new_study", "create_new_trial", "set_study_user_attr", "set_study_system_attr"):
        write = getattr(RDBStorage, name)

        def counted(*args: Any, write: Callable[..., Any] = write, **options: Any) -> Any:
            if next(left, None) is None:
                raise KeyboardInterrupt
            return write(*args, **options)

        patch.setattr(RDBStorage, name, counted)
    try:
        do()
    except KeyboardInterrupt:
        return False
    return True


def test_a_study_that_grew_comes_back_with_its_history_and_can_be_undone(desk: Desk, make_space: MakeSpace) -> None:
    desk.go(2)
    desk.space = make_space(views=(2, 4))
    desk.go(3)
    folder = desk.folder / "studies"
    before = show_study(folder, "main", None)
    _database(desk).unlink()
    desk.study()
    assert show_study(folder, "main", None) == before
    assert [one.number for one in before.generations] == [1, 2]
    _database(desk).unlink()
    undo(folder, "main", None)
    _database(desk).unlink()
    desk.space = make_space()
    assert desk.study().study_name == "main"
    assert len(desk.study().trials) == 2


def test_other_studies_in_one_database_stay_as_they_are(four: Desk, tmp_path: Path) -> None:
    other = optuna.create_study(study_name="other", storage=f"sqlite:///{_database(four)}")
    other.add_trial(optuna.trial.create_trial(value=0.5))
    _older(_database(four))
    assert len(four.study().trials) == 4
    assert optuna.load_study(study_name="other", storage=f"sqlite:///{_database(four)}").best_value == 0.5
    assert not list((four.folder / "studies").glob("*.damaged-*"))


# ---- the ledger -----------------------------------------------------------------------------------------------------


def test_a_study_from_before_there_was_a_ledger_gets_one(four: Desk) -> None:
    before = _told(four.study())
    ledger = four.folder / "checkpoints" / "main" / FILE
    ledger.unlink()
    assert _told(four.study()) == before
    _database(four).unlink()
    assert _told(four.study()) == before


def test_a_database_of_another_study_of_the_same_name_is_left_alone(four: Desk, tmp_path: Path) -> None:
    other = type(four)(tmp_path / "other")
    other.seed = 1
    other.go(1)
    _settle(_database(other))
    shutil.copy(_database(other), _database(four))
    before = _told(other.study())
    assert _told(four.study()) == before
    assert "is not the one that was searched here before" in four.view.notes[-1]
    assert len(Ledger(four.folder / "checkpoints" / "main" / f"{FILE}.damaged-1").trials("main")) == 4


def test_without_database_and_ledger_the_study_is_rebuilt_from_its_folds(four: Desk) -> None:
    before = {(trial.value, trial.user_attrs["recipe_id"], *trial.params.items()) for trial in four.study().trials}
    _database(four).unlink()
    (four.folder / "checkpoints" / "main" / FILE).unlink()
    trials = four.study().trials
    assert {(trial.value, trial.user_attrs["recipe_id"], *trial.params.items()) for trial in trials} == before
    assert "was rebuilt from the folds in" in four.view.notes[-1]
    assert "4 trials complete, 0 to go on with" in four.view.notes[-1]
    submitted = len(four.executor.submitted)
    assert len(four.go(4)) == 4
    assert len(four.executor.submitted) == submitted


def test_a_recipe_with_some_of_its_folds_goes_on_with_them(four: Desk) -> None:
    (recipe_id,) = {trial.user_attrs["recipe_id"] for trial in four.study().trials if trial.number == 3}
    _database(four).unlink()
    (four.folder / "checkpoints" / "main" / FILE).unlink()
    shutil.rmtree(four.folder / "checkpoints" / "main" / recipe_id / "fold-1")
    four.executor.submitted.clear()
    assert [trial.state for trial in four.go(4)] == [TrialState.COMPLETE] * 4
    assert [(task.recipe_id, task.fold) for task in four.executor.submitted] == [(recipe_id, 1)]


def test_folds_of_other_photos_make_no_trials(four: Desk, tmp_path: Path) -> None:
    store = four.folder / "checkpoints" / "main"
    (recipe_id,) = {trial.user_attrs["recipe_id"] for trial in four.study().trials if trial.number == 0}
    (store / recipe_id).rename(store / "0123456789abcdef")
    _database(four).unlink()
    (store / FILE).unlink()
    assert len(four.study().trials) == 3


# ---- whoever reads --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", WAYS)
def test_whoever_reads_gets_the_study_from_its_ledger_and_writes_nothing(
    four: Desk, damage: Damage, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("automl_car"), "propagate", True)
    folder = four.folder / "studies"
    before, row = show_study(folder, "main", None), list_studies(folder, None)
    _settle(_database(four))
    damage(_database(four))
    there = sorted(path.name for path in folder.glob("*.db"))
    assert show_study(folder, "main", None) == before
    assert list_studies(folder, None) == row
    assert latest_study(folder) == "main"
    assert "until the next search mends it" in caplog.text
    assert sorted(path.name for path in folder.glob("*.db")) == there


@pytest.mark.parametrize("damage", [_other_file, _cut, _garbage_in_the_header, _no_json_in_an_attribute])
def test_a_damaged_database_without_a_ledger_is_an_error_with_a_way_out(
    four: Desk, damage: Damage, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("automl_car"), "propagate", True)
    (four.folder / "checkpoints" / "main" / FILE).unlink()
    damage(_database(four))
    with pytest.raises(StudyError, match="is damaged") as caught:
        read_study(four.folder / "studies", "main", None)
    assert "run the same `automl-car search` again" in (caught.value.hint or "")
    assert list_studies(four.folder / "studies", None) == ()
    assert "is damaged" in caplog.text


def test_a_database_that_knows_more_than_its_ledger_is_read_as_it_is(four: Desk) -> None:
    study = four.study()
    study.add_trial(optuna.trial.create_trial(value=0.01))
    assert len(read_study(four.folder / "studies", "main", None).trials) == 5


# ---- what is no damage ----------------------------------------------------------------------------------------------


def test_a_locked_database_is_not_taken_for_a_damaged_one(four: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    real = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path, timeout: real(path, timeout=0.1))
    with closing(real(_database(four))) as connection:
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StudyError, match="cannot be used: database is locked"):
            four.study()
    assert not list((four.folder / "studies").glob("*.damaged-*"))


def test_errors_of_the_machine_are_told_from_damage(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("no database" * 100)
    with pytest.raises(sqlite3.DatabaseError) as not_a_database, closing(sqlite3.connect(tmp_path / "text.db")) as one:
        one.execute("SELECT * FROM sqlite_schema")
    with pytest.raises(sqlite3.OperationalError) as no_folder:
        sqlite3.connect(tmp_path / "nowhere" / "a.db")
    assert is_damage(not_a_database.value)
    assert not is_damage(no_folder.value)
    assert is_damage(ValueError("Invalid isoformat string"))
    assert not is_damage(OSError(28, "No space left on device"))


def test_a_new_study_says_nothing_of_rebuilding(desk: Desk) -> None:
    desk.study()
    assert desk.view.notes == []
    assert connect(storage_url(desk.folder / "studies", "main", None)).get_all_studies()
