"""Moving files: whole ones arrive, wrong and cut ones do not, and no key is ever shown."""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from automl_car.errors import ConfigError, MachineError, TransferError
from automl_car.exchange.bucket import Bucket, open_bucket
from automl_car.exchange.listing import Entry

DATA = bytes(range(256)) * 40


def _entry(data: bytes = DATA) -> Entry:
    return Entry("file.bin", hashlib.sha256(data).hexdigest(), len(data))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.bin"
    path.write_bytes(DATA)
    return path


def test_a_file_comes_back_as_it_went(bucket: Bucket, source: Path, tmp_path: Path) -> None:
    bucket.put(source, "data/x")
    bucket.fetch(_entry(), "data/x", tmp_path / "copy.bin")
    assert (tmp_path / "copy.bin").read_bytes() == DATA
    assert bucket.read(_entry().sha256, "data/x", len(DATA)) == DATA


def test_an_empty_file_comes_back(bucket: Bucket, tmp_path: Path) -> None:
    bucket.put_bytes(b"", "data/x")
    bucket.fetch(_entry(b""), "data/x", tmp_path / "copy.bin")
    assert (tmp_path / "copy.bin").read_bytes() == b""


def test_half_a_file_counts_as_none(bucket: Bucket, source: Path) -> None:
    assert not bucket.has("data/x", len(DATA))
    bucket.put_bytes(DATA[:100], "data/x")
    assert not bucket.has("data/x", len(DATA))
    bucket.put(source, "data/x")
    assert bucket.has("data/x", len(DATA))


@pytest.mark.parametrize(
    ("there", "what"),
    [(DATA[:-1], "bytes long"), (DATA + b"x", "bytes long"), (b"x" + DATA[1:], "does not match its checksum")],
)
def test_a_wrong_file_is_an_error_that_names_it_and_leaves_nothing(
    bucket: Bucket, tmp_path: Path, there: bytes, what: str
) -> None:
    bucket.put_bytes(there, "data/x")
    with pytest.raises(TransferError, match=rf"file\.bin.*data/x.*{what}") as caught:
        bucket.fetch(_entry(), "data/x", tmp_path / "copy.bin")
    assert "remove" in str(caught.value.hint)
    assert not list(tmp_path.glob("*copy*")) + list(tmp_path.glob("*.tmp"))


def test_no_more_is_read_than_a_list_says(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.put_bytes(DATA * 1000, "data/x")
    written: list[int] = []
    with pytest.raises(TransferError):
        bucket._again(lambda: bucket._read(_entry(), "data/x", lambda block: written.append(len(block))), "data/x")
    assert max(written) <= len(DATA)
    with pytest.raises(TransferError, match="at most 9 are read"):
        bucket.read(_entry().sha256, "data/x", 9)


def test_a_file_that_is_not_there_is_an_error_at_once(
    bucket: Bucket, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(TransferError, match="data/x"):
        bucket.fetch(_entry(), "data/x", tmp_path / "copy.bin")
    assert not caplog.records


class Flaky:
    """The files of fsspec behind a network that fails now and then."""

    def __init__(self, files: Any, failures: int, error: Exception) -> None:
        self._files, self._failures, self._error = files, failures, error
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        if name not in ("open", "info", "put_file", "pipe_file"):
            return getattr(self._files, name)

        def call(*args: Any, **options: Any) -> Any:
            self.calls += 1
            if self.calls <= self._failures:
                raise self._error
            return getattr(self._files, name)(*args, **options)

        return call


@pytest.fixture
def break_network(bucket: Bucket) -> Callable[..., Flaky]:
    def flaky(failures: int, error: Exception | None = None) -> Flaky:
        bucket._files = Flaky(bucket._files, failures, error or ConnectionError("reset by peer"))
        return bucket._files

    return flaky


def test_a_cut_transfer_is_tried_again(
    bucket: Bucket, source: Path, tmp_path: Path, break_network: Callable[..., Flaky]
) -> None:
    break_network(2)
    bucket.put(source, "data/x")
    break_network(2)
    bucket.fetch(_entry(), "data/x", tmp_path / "copy.bin")
    assert (tmp_path / "copy.bin").read_bytes() == DATA


def test_a_transfer_that_is_always_cut_is_an_error_that_names_it(
    bucket: Bucket, source: Path, break_network: Callable[..., Flaky]
) -> None:
    network = break_network(9)
    with pytest.raises(TransferError, match=r"`data/x`.*ConnectionError: reset by peer") as caught:
        bucket.put(source, "data/x")
    assert network.calls == 3  # with the two pauses of these tests
    assert bucket.url in caught.value.message


def test_missing_rights_are_not_tried_again(bucket: Bucket, source: Path, break_network: Callable[..., Flaky]) -> None:
    network = break_network(9, PermissionError("Forbidden"))
    with pytest.raises(MachineError, match=r"refuses `data/x`.*Forbidden"):
        bucket.put(source, "data/x")
    assert network.calls == 1


def test_a_full_disk_is_the_machine_s_and_not_the_network_s(
    bucket: Bucket, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put(source, "data/x")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        bucket.fetch(_entry(), "data/x", tmp_path / "copy.bin")
    assert caught.value.errno == 28


# ---- URLs and keys --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "s3://AKIAKEY:verysecret@bucket/folder",
        "s3://verysecret@bucket/folder",
        "memory://bucket/folder?token=verysecret",
        "memory://bucket/folder#verysecret",
        "simplecache::memory://verysecret@bucket/x",
        "verysecret@bucket",
    ],
)
def test_a_url_with_a_key_is_refused_without_showing_it(url: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(ConfigError) as caught:
        open_bucket(url)
    assert "search.exchange" in caught.value.message
    assert "verysecret" not in f"{caught.value.message} {caught.value.hint} {caplog.text}"
    assert "AKIAKEY" not in f"{caught.value.message} {caught.value.hint} {caplog.text}"


@pytest.mark.parametrize("url", ["folder", "/folder", "nowhere://bucket/folder", "memory://", "://x"])
def test_what_is_no_url_of_a_folder_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"search\.exchange"):
        open_bucket(url)


def test_a_missing_package_is_an_error_that_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(ConfigError, match="gs://") as caught:
        open_bucket("gs://bucket/folder")
    assert 'pip install "automl-car[gs]"' in str(caught.value.hint)


def test_what_the_environment_keeps_secret_is_in_no_message(
    bucket: Bucket,
    source: Path,
    break_network: Callable[..., Flaky],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "verysecret")
    break_network(9, OSError("signature of verysecret does not match"))
    with pytest.raises(TransferError, match="signature of") as caught:
        bucket.put(source, "data/x")
    assert "verysecret" not in caught.value.message + caplog.text
    assert "signature" in caplog.text
