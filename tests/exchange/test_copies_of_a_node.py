"""A machine's own copies: fetched once, checked, kept while they are used, and removed when there are too many."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import shutil
import time
from pathlib import Path

import pytest

from automl_car.errors import TransferError
from automl_car.exchange.bucket import Bucket, open_bucket
from automl_car.exchange.listing import Entry, Files
from automl_car.exchange.node import VARIABLE, Node, this_node
from automl_car.exchange.publish import data_name


def _put(bucket: Bucket, **files: bytes) -> Files:
    entries = tuple(
        Entry(name.replace("__", "/"), hashlib.sha256(data).hexdigest(), len(data)) for name, data in files.items()
    )
    for entry, data in zip(entries, files.values(), strict=True):
        bucket.put_bytes(data, data_name(entry.sha256))
    return entries


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path / "node", 1e9)


def test_files_are_where_their_names_say(bucket: Bucket, node: Node) -> None:
    folder = node.bring(bucket, "study", _put(bucket, a=b"1", b__c=b"22"))
    assert ((folder / "a").read_bytes(), (folder / "b" / "c").read_bytes()) == (b"1", b"22")


def test_a_part_without_files_is_an_empty_folder(bucket: Bucket, node: Node) -> None:
    assert node.bring(bucket, "plugins", ()).is_dir()


def test_what_is_there_is_not_fetched_again(bucket: Bucket, tmp_path: Path) -> None:
    files = _put(bucket, a=b"1")
    folder = Node(tmp_path / "node", 1e9).bring(bucket, "study", files)
    bucket.remove("data")
    assert Node(tmp_path / "node", 1e9).bring(bucket, "study", files) == folder


def test_other_content_is_another_folder(bucket: Bucket, node: Node) -> None:
    first, second = (node.bring(bucket, "images", _put(bucket, a=data)) for data in (b"1", b"2"))
    assert ((first / "a").read_bytes(), (second / "a").read_bytes()) == (b"1", b"2")


def test_a_file_that_changed_on_the_disk_is_fetched_again_and_the_rest_stays(bucket: Bucket, tmp_path: Path) -> None:
    files = _put(bucket, a=b"1", b=b"2")
    folder = Node(tmp_path / "node", 1e9).bring(bucket, "study", files)
    (folder / "a").write_bytes(b"x")
    (folder / "fold").write_bytes(b"trained here")
    Node(tmp_path / "node", 1e9).bring(bucket, "study", files)
    assert ((folder / "a").read_bytes(), (folder / "fold").read_bytes()) == (b"1", b"trained here")


def test_damage_is_found_when_it_is_looked_for(bucket: Bucket, node: Node) -> None:
    files = _put(bucket, a=b"1")
    folder = node.bring(bucket, "images", files)
    assert not node.drop_damaged("images", files)
    (folder / "a").write_bytes(b"x")
    assert node.drop_damaged("images", files)
    assert (node.bring(bucket, "images", files) / "a").read_bytes() == b"1"


def test_a_file_that_the_exchange_has_wrong_is_named_and_no_folder_is_left(bucket: Bucket, node: Node) -> None:
    files = _put(bucket, a=b"1", b=b"2")
    bucket.put_bytes(b"3", data_name(files[1].sha256))
    with pytest.raises(TransferError, match="`b`"):
        node.bring(bucket, "study", files)
    assert not node.folder_of("study", files).exists()


def _bring_in_a_process(exchange: str, folder: str, files: Files, barrier: object) -> None:
    barrier.wait()  # type: ignore[attr-defined]
    node = Node(Path(folder), 1e9)

    def fetched(done: int, total: int) -> None:
        (Path(folder).parent / f"fetched-by-{os.getpid()}").touch()
        time.sleep(0.5)  # so that the others come while this goes on

    path = node.bring(open_bucket(exchange), "images", files, fetched)
    assert (path / "a").read_bytes() == b"1" * 1000


def test_several_processes_that_start_at_once_fetch_once(tmp_path: Path) -> None:
    exchange = f"file://{tmp_path}/exchange"
    files = _put(open_bucket(exchange), a=b"1" * 1000)
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(3)
    processes = [
        context.Process(target=_bring_in_a_process, args=(exchange, str(tmp_path / "node"), files, barrier))
        for _ in range(3)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert len(list(tmp_path.glob("fetched-by-*"))) == 1


# ---- the budget -----------------------------------------------------------------------------------------------------


def _with_ages(folder: Path, *names: Path) -> None:
    for age, path in enumerate(reversed(names)):
        os.utime(path / "used", (1e9 - age, 1e9 - age))


def test_the_least_recently_used_copies_are_removed_first(bucket: Bucket, tmp_path: Path) -> None:
    parts = [_put(bucket, a=bytes([number]) * 1000) for number in range(3)]
    old, new = (Node(tmp_path / "node", 2500).bring(bucket, "images", files) for files in parts[:2])
    _with_ages(tmp_path, old, new)
    third = Node(tmp_path / "node", 2500).bring(bucket, "images", parts[2])
    assert (old.exists(), new.exists(), third.exists()) == (False, True, True)


def test_what_a_process_works_with_is_never_removed(
    bucket: Bucket, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = [_put(bucket, a=bytes([number]) * 1000) for number in range(3)]
    works = Node(tmp_path / "node", 1500)
    used = works.bring(bucket, "images", files[0])
    other = Node(tmp_path / "node", 1500).bring(bucket, "images", files[1])
    _with_ages(tmp_path, used, other)
    third = Node(tmp_path / "node", 1500).bring(bucket, "images", files[2])
    assert (used.exists(), third.exists()) == (True, True)
    assert "more than search.node_gb" in caplog.text
    del works


def test_the_folder_is_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "scratch"))
    assert this_node(1.0).verdicts.is_relative_to(tmp_path / "scratch")


def test_the_folder_is_nobody_else_s_to_write_to(tmp_path: Path) -> None:
    Node(tmp_path / "node", 1e9)
    assert (tmp_path / "node").stat().st_mode & 0o077 == 0


def test_a_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    from automl_car.errors import MachineError

    (tmp_path / "real").mkdir()
    (tmp_path / "node").symlink_to(tmp_path / "real")
    with pytest.raises(MachineError, match="belongs to somebody else"):
        Node(tmp_path / "node", 1e9)


def test_a_copy_that_was_removed_by_hand_is_fetched_again(bucket: Bucket, node: Node) -> None:
    files = _put(bucket, a=b"1")
    shutil.rmtree(node.bring(bucket, "study", files))
    assert (node.bring(bucket, "study", files) / "a").read_bytes() == b"1"
