"""A fold on its way from a worker's store to the driver's: whole, once, and never two attempts in one."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from automl_car.errors import StoreError, TransferError
from automl_car.exchange.bucket import Bucket
from automl_car.exchange.folds import forget_fold, pull_fold, push_fold
from automl_car.exchange.listing import LONGEST, Entry, Listing, digest
from automl_car.fold_records import FoldResult, FoldTask
from automl_car.records import Recipe, fingerprint
from automl_car.store import FoldLogits, read_logits, read_result, record_recipe, write_fold

RESULT = FoldResult("abc", 1, "finished", 0.3, 0.5, 0.75, (), 6.75, view_losses=((1, 0.4), (2, 0.3)))
Finish = Callable[..., Path]


@pytest.fixture
def task(tmp_path: Path) -> FoldTask:
    """Of the fold store of a worker."""
    return FoldTask(Recipe("toy"), "abc", 1, tmp_path / "worker", tmp_path / "cache")


@pytest.fixture
def finish(task: FoldTask) -> Finish:
    """Writes a finished fold into a worker's store; the seed makes its logits."""

    def write(seed: int = 0, result: FoldResult = RESULT) -> Path:
        random = np.random.default_rng(seed)
        oof, test = (random.normal(size=(3, 2)).astype(np.float32) for _ in range(2))
        rows = np.array([1, 4, 7])
        write_fold(task, result, FoldLogits(rows, oof, test), b"model", [FoldLogits(rows, oof, test, 1)])
        return task.fold_directory

    return write


@pytest.fixture
def mine(task: FoldTask, tmp_path: Path) -> FoldTask:
    """The same task in the driver's fold store."""
    return replace(task, directory=tmp_path / "driver")


def _files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_a_fold_arrives_as_it_was_trained(bucket: Bucket, finish: Finish, mine: FoldTask) -> None:
    trained = finish()
    assert pull_fold(bucket, push_fold(bucket, trained), mine) == RESULT
    assert _files(mine.fold_directory) == _files(trained)
    assert [path.name for path in mine.fold_directory.parent.iterdir()] == ["fold-1"]


def test_an_unfinished_fold_is_not_pushed(bucket: Bucket, task: FoldTask) -> None:
    with pytest.raises(StoreError, match="no finished fold"):
        push_fold(bucket, task.fold_directory)


def test_a_damaged_fold_is_not_pushed(bucket: Bucket, finish: Finish) -> None:
    trained = finish()
    (trained / "oof.npz").write_bytes(b"x")
    with pytest.raises(StoreError, match=r"oof\.npz"):
        push_fold(bucket, trained)


def test_two_attempts_at_a_fold_do_not_mix(bucket: Bucket, finish: Finish, mine: FoldTask) -> None:
    first, files = push_fold(bucket, finish(seed=1)), {}
    files[first] = _files(mine.fold_directory.parents[2] / "worker" / "abc" / "fold-1")
    trained = finish(seed=2)
    second = push_fold(bucket, trained)
    pull_fold(bucket, second, mine)
    assert _files(mine.fold_directory) == _files(trained) != files[first]


def test_of_two_attempts_the_first_that_comes_is_kept(bucket: Bucket, finish: Finish, mine: FoldTask) -> None:
    trained = finish(seed=1)
    before = _files(trained)
    first = push_fold(bucket, trained)
    late = push_fold(bucket, finish(seed=2, result=replace(RESULT, log_loss=9.0)))
    pull_fold(bucket, first, mine)
    assert pull_fold(bucket, late, mine).log_loss == RESULT.log_loss
    assert _files(mine.fold_directory) == before


def test_a_fold_that_is_there_is_not_read_again(bucket: Bucket, finish: Finish, mine: FoldTask) -> None:
    pushed = push_fold(bucket, finish())
    pull_fold(bucket, pushed, mine)
    forget_fold(bucket, pushed)
    assert pull_fold(bucket, pushed, mine) == RESULT


def test_a_damaged_fold_of_the_driver_is_replaced(bucket: Bucket, finish: Finish, mine: FoldTask) -> None:
    pushed = push_fold(bucket, finish())
    pull_fold(bucket, pushed, mine)
    (mine.fold_directory / "oof.npz").write_bytes(b"x")
    pull_fold(bucket, pushed, mine)
    assert read_result(mine.fold_directory) == RESULT


def test_a_fold_of_which_a_file_is_cut_leaves_nothing(bucket: Bucket, finish: Finish, mine: FoldTask) -> None:
    trained = finish()
    pushed = push_fold(bucket, trained)
    attempt = pushed.partition("/")[0]
    data = (trained / "test.npz").read_bytes()
    bucket.put_bytes(data[:-1], f"folds/{attempt}/{digest(data)}")
    with pytest.raises(TransferError, match=r"test\.npz"):
        pull_fold(bucket, pushed, mine)
    assert not list(mine.fold_directory.parent.iterdir())


def test_forgetting_removes_one_attempt_alone(bucket: Bucket, finish: Finish, mine: FoldTask) -> None:
    first, second = push_fold(bucket, finish()), push_fold(bucket, finish())
    forget_fold(bucket, first)
    with pytest.raises(TransferError):
        pull_fold(bucket, first, mine)
    assert pull_fold(bucket, second, mine) == RESULT


@pytest.mark.parametrize("change", [{"recipe_id": "abd"}, {"fold": 2}, {"recipe": Recipe("other")}])
def test_a_fold_of_another_task_is_refused(
    bucket: Bucket, finish: Finish, mine: FoldTask, change: dict[str, object]
) -> None:
    other = replace(mine, **change)  # type: ignore[arg-type]
    with pytest.raises(StoreError, match="and not"):
        pull_fold(bucket, push_fold(bucket, finish()), other)
    assert not other.fold_directory.exists()


def test_a_recipe_can_name_its_weights_as_the_driver_does(bucket: Bucket, finish: Finish, mine: FoldTask) -> None:
    trained, theirs = finish(), Recipe("toy", weights="w.safetensors", weights_digest="a" * 64)
    record_recipe(trained, theirs)
    assert pull_fold(bucket, push_fold(bucket, trained), replace(mine, recipe=theirs)) == RESULT


# ---- strangers ------------------------------------------------------------------------------------------------------


def _push_files(bucket: Bucket, files: dict[str, bytes]) -> str:
    """What somebody could put there who does not use our functions."""
    entries = tuple(Entry(name, digest(data), len(data)) for name, data in files.items())
    for data in files.values():
        bucket.put_bytes(data, f"folds/x/{digest(data)}")
    data = Listing({"fold": entries}).to_bytes()
    bucket.put_bytes(data, f"folds/x/{digest(data)}")
    return f"x/{digest(data)}"


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/b", "record.json/x"])
def test_a_file_with_a_path_for_a_name_is_refused(bucket: Bucket, finish: Finish, mine: FoldTask, name: str) -> None:
    files = _files(finish())
    record = files.pop("record.json")
    with pytest.raises(StoreError):
        pull_fold(bucket, _push_files(bucket, {name: b"x", **files, "record.json": record}), mine)
    assert not mine.fold_directory.exists()


def test_files_that_the_record_does_not_know_are_refused(bucket: Bucket, finish: Finish, mine: FoldTask) -> None:
    files = _files(finish())
    record = files.pop("record.json")
    with pytest.raises(StoreError, match="its record lacks"):
        pull_fold(bucket, _push_files(bucket, {**files, "evil.py": b"x", "record.json": record}), mine)
    assert not mine.fold_directory.exists()


def test_what_has_no_record_at_its_end_is_no_fold(bucket: Bucket, finish: Finish, mine: FoldTask) -> None:
    files = _files(finish())
    with pytest.raises(StoreError, match="no fold"):
        pull_fold(bucket, _push_files(bucket, {"record.json": files.pop("record.json"), **files}), mine)


def test_a_list_that_was_replaced_is_not_used(bucket: Bucket, finish: Finish, mine: FoldTask) -> None:
    pushed = push_fold(bucket, finish())
    bucket.put_bytes(b'{"format": 1, "parts": {}}', f"folds/{pushed}")
    with pytest.raises(TransferError, match="checksum"):
        pull_fold(bucket, pushed, mine)


def test_a_pickle_in_place_of_logits_is_never_loaded(bucket: Bucket, finish: Finish, mine: FoldTask) -> None:
    files = _files(finish())
    record = json.loads(files.pop("record.json"))
    canary = pickle.dumps(np.array([{"a": 1}], dtype=object))
    files["oof.npz"] = canary
    record["sha256"]["oof.npz"] = digest(canary)
    del record["fingerprint"]
    record["fingerprint"] = fingerprint(record)
    pull_fold(bucket, _push_files(bucket, {**files, "record.json": json.dumps(record).encode()}), mine)
    with pytest.raises(StoreError, match="holds no arrays"):
        read_logits(mine.fold_directory)


def test_a_huge_list_is_not_read(bucket: Bucket, mine: FoldTask) -> None:
    data = b" " * (LONGEST + 1)
    bucket.put_bytes(data, f"folds/x/{digest(data)}")
    with pytest.raises(TransferError, match="at most"):
        pull_fold(bucket, f"x/{digest(data)}", mine)
