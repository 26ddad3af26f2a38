"""The fold store: what is written comes back, and what is damaged is named."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from automl_car import store
from automl_car.errors import StoreError
from automl_car.fold_records import Epoch, FoldResult, FoldTask
from automl_car.records import Recipe, fingerprint
from automl_car.store import (
    FoldLogits,
    read_logits,
    read_model,
    read_oof,
    read_recipe,
    read_result,
    set_aside,
    store_fold,
    write_fold,
)

FILES = ("model.safetensors", "oof.npz", "test.npz")
MODEL = bytes(range(256)) * 4
RESULT = FoldResult(
    recipe_id="abc",
    fold=1,
    status="finished",
    log_loss=0.1 + 0.2,  # needs all 17 digits
    raw_log_loss=0.5,
    temperature=0.75,
    curve=(Epoch(1, 2, 1.5, 0.9, 3.25), Epoch(2, 2, 1.0, 0.5, 6.5)),
    seconds=6.75,
    peak_memory_bytes=2**40,
    images_per_second=12.5,
    versions={"torch": "2.10.0"},
    view_losses=((1, 0.4), (2, 0.1 + 0.2)),
)


@pytest.fixture
def task(tmp_path: Path) -> FoldTask:
    return FoldTask(Recipe("toy", params=(("toy.width", 8),)), "abc", 1, tmp_path / "main", tmp_path / "cache")


def _logits(test_rows: int = 4) -> FoldLogits:
    random = np.random.default_rng(0)
    oof = random.normal(size=(3, 2)).astype(np.float32)
    return FoldLogits(np.array([1, 4, 7]), oof, random.normal(size=(test_rows, 2)).astype(np.float32))


@pytest.fixture
def stored(task: FoldTask) -> Path:
    """The folder of a finished fold."""
    write_fold(task, RESULT, _logits(), MODEL)
    return task.fold_directory


def _flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


# ---- the validation rows alone --------------------------------------------------------------------------------------


def test_validation_rows_are_read_without_any_other_file_of_the_fold(stored: Path) -> None:
    for name in ("model.safetensors", "test.npz"):
        (stored / name).unlink()
    result, rows, logits = read_oof(stored)
    assert (result, rows.tolist()) == (RESULT, [1, 4, 7])
    np.testing.assert_array_equal(logits, _logits().oof)


@pytest.mark.parametrize("name", ["oof.npz", "record.json"])
@pytest.mark.parametrize("damage", [_flip_a_byte, _truncate])
def test_damaged_validation_rows_are_named(stored: Path, name: str, damage: Callable[[Path], None]) -> None:
    damage(stored / name)
    with pytest.raises(StoreError, match=name):
        read_oof(stored)


def test_validation_rows_of_a_fold_that_is_not_there_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no finished fold"):
        read_oof(tmp_path)


# ---- round trips ----------------------------------------------------------------------------------------------------


def test_the_result_comes_back_exactly(stored: Path) -> None:
    assert read_result(stored) == RESULT


def test_the_logits_come_back_bit_by_bit(stored: Path) -> None:
    logits, expected = read_logits(stored), _logits()
    np.testing.assert_array_equal(logits.rows, expected.rows)
    np.testing.assert_array_equal(logits.oof, expected.oof, strict=True)
    np.testing.assert_array_equal(logits.test, expected.test, strict=True)


def test_the_model_comes_back_byte_by_byte(stored: Path) -> None:
    assert read_model(stored) == MODEL


def _fewer(scale: float = 1.0) -> FoldLogits:
    random = np.random.default_rng(1)
    oof, test = (scale * random.normal(size=(rows, 5)).astype(np.float32) for rows in (3, 4))
    return FoldLogits(np.array([1, 4, 7]), oof, test, views=1)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3, 1e6])
def test_logits_from_fewer_views_come_back_with_the_probabilities_that_they_had(task: FoldTask, scale: float) -> None:
    fewer = _fewer(scale)
    write_fold(task, RESULT, _logits(), MODEL, [fewer])
    again = read_logits(task.fold_directory, views=1)
    np.testing.assert_array_equal(again.rows, fewer.rows)
    for found, expected in ((again.oof, fewer.oof), (again.test, fewer.test)):
        distance = expected - expected.max(1, keepdims=True)
        near = distance > -6e4  # farther from the largest one, a class has no probability left
        np.testing.assert_allclose((found - found.max(1, keepdims=True))[near], distance[near], rtol=5e-4, atol=1e-7)
        assert np.isfinite(found).all()


def test_they_change_nothing_in_the_logits_from_all_views(task: FoldTask) -> None:
    write_fold(task, RESULT, _logits(), MODEL, [_fewer()])
    np.testing.assert_array_equal(read_logits(task.fold_directory).oof, _logits().oof, strict=True)


def test_as_many_views_as_the_recipe_has_are_all(stored: Path, task: FoldTask) -> None:
    logits = read_logits(stored, views=task.recipe.views)
    np.testing.assert_array_equal(logits.oof, _logits().oof, strict=True)


def test_a_number_of_views_that_is_not_there_is_an_error(stored: Path) -> None:
    with pytest.raises(StoreError, match=r"views-1\.npz"):
        read_logits(stored, views=1)


def test_a_result_of_an_earlier_version_has_no_view_losses(stored: Path) -> None:
    path = stored / "record.json"
    record = json.loads(path.read_text())
    del record["result"]["view_losses"]
    record["fingerprint"] = fingerprint({key: value for key, value in record.items() if key != "fingerprint"})
    path.write_text(json.dumps(record))
    result = read_result(stored)
    assert result == dataclasses.replace(RESULT, view_losses=())


def test_without_a_test_set_the_test_logits_have_no_rows_and_all_classes(task: FoldTask) -> None:
    write_fold(task, RESULT, _logits(test_rows=0), MODEL)
    assert not (task.fold_directory / "test.npz").exists()
    assert read_logits(task.fold_directory).test.shape == (0, 2)


def test_the_record_holds_the_recipe_for_whoever_finds_the_folder(stored: Path, task: FoldTask) -> None:
    record = json.loads((stored / "record.json").read_text(encoding="utf-8"))
    assert Recipe.from_json(record["recipe"]) == task.recipe


# ---- a fold is finished when its record is there --------------------------------------------------------------------


def test_the_recipe_comes_back(stored: Path, task: FoldTask) -> None:
    assert read_recipe(stored) == task.recipe


def test_a_fold_that_is_not_there_has_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no finished fold"):
        read_recipe(tmp_path)


def test_a_folder_with_everything_but_the_record_is_no_fold(stored: Path) -> None:
    (stored / "record.json").unlink()
    assert read_result(stored) is None


def test_a_folder_that_does_not_exist_is_no_fold(tmp_path: Path) -> None:
    assert read_result(tmp_path / "nowhere") is None


@pytest.mark.parametrize("writes", range(4))
def test_a_disk_that_fails_at_any_file_leaves_no_record(
    task: FoldTask, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    replace, names = Path.replace, []

    def failing(path: Path, target: Path) -> Path:
        names.append(target.name)
        if len(names) > writes:
            raise OSError(28, "No space left on device")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(OSError, match="No space"):
        write_fold(task, RESULT, _logits(), MODEL)
    assert read_result(task.fold_directory) is None
    assert sorted(path.name for path in task.fold_directory.iterdir()) == sorted(names[:writes])


def test_the_record_is_written_after_all_that_it_lists(task: FoldTask, monkeypatch: pytest.MonkeyPatch) -> None:
    replace, names = Path.replace, []
    monkeypatch.setattr(Path, "replace", lambda path, target: (names.append(target.name), replace(path, target))[1])
    write_fold(task, RESULT, _logits(), MODEL)
    assert names[-1] == "record.json"
    assert set(names[:-1]) == set(FILES)


# ---- damage ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", [_flip_a_byte, _truncate, Path.unlink])
@pytest.mark.parametrize("name", FILES)
def test_whoever_asks_for_the_result_learns_which_file_is_damaged(
    stored: Path, name: str, damage: Callable[[Path], None]
) -> None:
    damage(stored / name)
    with pytest.raises(StoreError, match=name):
        read_result(stored)


@pytest.mark.parametrize("damage", [_flip_a_byte, _truncate, Path.unlink])
@pytest.mark.parametrize("name", ["oof.npz", "test.npz"])
def test_damaged_logits_are_refused_by_name(stored: Path, name: str, damage: Callable[[Path], None]) -> None:
    damage(stored / name)
    with pytest.raises(StoreError, match=name):
        read_logits(stored)


@pytest.mark.parametrize("damage", [_flip_a_byte, _truncate, Path.unlink])
def test_a_damaged_model_is_refused_by_name(stored: Path, damage: Callable[[Path], None]) -> None:
    damage(stored / "model.safetensors")
    with pytest.raises(StoreError, match=r"model\.safetensors"):
        read_model(stored)


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", "[]", '{"format": 1}', '{"format": 1, "result": {}, "sha256": {}}', '{"format": 1, "result": 3}'],
)
def test_a_damaged_record_is_refused_by_name(stored: Path, text: str) -> None:
    (stored / "record.json").write_text(text)
    with pytest.raises(StoreError, match=r"record\.json"):
        read_result(stored)


def test_a_changed_number_in_the_record_is_noticed(stored: Path) -> None:
    path = stored / "record.json"
    path.write_text(path.read_text().replace('"raw_log_loss": 0.5', '"raw_log_loss": 0.1'))
    with pytest.raises(StoreError, match=r"record\.json"):
        read_result(stored)


def test_a_record_cut_off_anywhere_is_refused(stored: Path) -> None:
    path = stored / "record.json"
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(StoreError) as caught:
            read_result(stored)
        assert "record.json" in caught.value.message


def test_a_record_with_any_flipped_bit_is_refused_or_says_the_same(stored: Path) -> None:
    path = stored / "record.json"
    whole, same = path.read_bytes(), 0
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        with contextlib.suppress(StoreError):
            assert read_result(stored) == RESULT
            same += 1  # one white space for another
    assert same < 5


def test_a_record_of_a_later_format_is_refused_with_a_way_out(stored: Path) -> None:
    path = stored / "record.json"
    path.write_text(path.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(StoreError, match="format 2") as caught:
        read_result(stored)
    assert "version" in (caught.value.hint or "")


def test_a_fold_that_is_not_there_has_no_logits(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no finished fold"):
        read_logits(tmp_path)


class _Canary:
    """An object whose unpickling writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_in_place_of_logits_does_not_run(stored: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    np.savez(stored / "oof.npz", rows=np.array([1]), logits=np.array([_Canary(canary)], dtype=object))
    record = json.loads((stored / "record.json").read_text())
    record["sha256"]["oof.npz"] = hashlib.sha256((stored / "oof.npz").read_bytes()).hexdigest()
    record["fingerprint"] = fingerprint({key: value for key, value in record.items() if key != "fingerprint"})
    (stored / "record.json").write_text(json.dumps(record))
    with pytest.raises(StoreError, match="allow_pickle"):
        read_logits(stored)
    assert not canary.exists()
    pickle.loads(pickle.dumps(_Canary(canary)))
    assert canary.exists(), "the canary must be able to sing"


# ---- setting aside --------------------------------------------------------------------------------------------------


def test_a_fold_set_aside_keeps_its_files_and_frees_its_place(stored: Path) -> None:
    aside = set_aside(stored)
    assert not stored.exists()
    assert (aside / "oof.npz").is_file()


def test_two_damaged_folds_of_one_place_are_both_kept(stored: Path, task: FoldTask) -> None:
    first = set_aside(stored)
    write_fold(task, dataclasses.replace(RESULT, log_loss=0.2), _logits(), MODEL)
    second = set_aside(stored)
    assert first != second
    assert first.exists()
    assert second.exists()


def test_a_fold_can_be_written_again_where_an_unfinished_one_lies(stored: Path, task: FoldTask) -> None:
    (stored / "record.json").unlink()
    write_fold(task, dataclasses.replace(RESULT, log_loss=0.25), _logits(), MODEL)
    result = read_result(stored)
    assert result is not None
    assert result.log_loss == 0.25


# ---- power ----------------------------------------------------------------------------------------------------------


def test_each_file_is_on_the_disk_before_its_name_and_the_record_comes_last(
    task: FoldTask, disk_calls: list[tuple[str, str]]
) -> None:
    write_fold(task, RESULT, _logits(), MODEL)
    folder = task.fold_directory.name
    files = ["model.safetensors", "oof.npz", "test.npz", "record.json"]
    called = [("fsync", "") if name.endswith(".tmp") else (call, name) for call, name in disk_calls if call != "mkdir"]
    written = [call for name in files for call in (("fsync", ""), ("replace", name), ("fsync", folder))]
    assert called[-len(written) :] == written


def test_the_folders_of_a_fold_are_on_the_disk_before_what_is_in_them(
    task: FoldTask, disk_calls: list[tuple[str, str]]
) -> None:
    write_fold(task, RESULT, _logits(), MODEL)
    missing = [task.fold_directory.parent, task.fold_directory.parent.parent]
    first_file = next(place for place, (_, name) in enumerate(disk_calls) if name.endswith(".tmp"))
    synced = [name for call, name in disk_calls[:first_file] if call == "fsync"]
    assert synced[-2:] == [folder.name for folder in reversed(missing)]


# ---- two attempts at one fold ---------------------------------------------------------------------------------------


def test_the_first_attempt_that_finishes_counts_and_a_late_one_changes_nothing(task: FoldTask) -> None:
    first = store_fold(task, RESULT, _logits(), MODEL)
    before = {path.name: path.read_bytes() for path in task.fold_directory.iterdir()}
    late = store_fold(task, dataclasses.replace(RESULT, log_loss=0.9), _logits(), b"other weights")
    assert first == late == RESULT
    assert {path.name: path.read_bytes() for path in task.fold_directory.iterdir()} == before


def test_attempts_that_write_at_one_time_leave_no_mixture(task: FoldTask, monkeypatch: pytest.MonkeyPatch) -> None:
    write = store.write_fold
    others = iter([b"weights of another attempt"])

    def write_while_another_does(task: FoldTask, *arguments: Any) -> None:
        write(task, *arguments)
        for weights in others:  # once, after our record: that does not match any more
            (task.fold_directory / "model.safetensors").write_bytes(weights)

    monkeypatch.setattr(store, "write_fold", write_while_another_does)
    assert store_fold(task, RESULT, _logits(), MODEL) == RESULT
    assert read_result(task.fold_directory) == RESULT
    assert read_model(task.fold_directory) == MODEL


def test_what_a_killed_attempt_left_half_written_is_replaced(task: FoldTask) -> None:
    write_fold(task, RESULT, _logits(), MODEL)
    (task.fold_directory / "oof.npz").write_bytes(b"half")
    assert store_fold(task, RESULT, _logits(), MODEL) == RESULT
    assert read_result(task.fold_directory) == RESULT
