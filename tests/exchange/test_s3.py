"""The same against a server that speaks S3, on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from automl_car.errors import MachineError, TransferError
from automl_car.exchange.bucket import Bucket, open_bucket
from automl_car.exchange.listing import Entry, digest

pytest.importorskip("s3fs")
server = pytest.importorskip("moto.server")

DATA = bytes(range(256)) * 40_000  # 10 MB: more than one block


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    moto = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    yield f"http://{host}:{port}"
    moto.stop()


@pytest.fixture
def s3(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """An exchange in a bucket; keys and the endpoint come from the environment."""
    import boto3
    import s3fs

    values = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "verysecret", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in {**values, "AWS_ENDPOINT_URL": endpoint, "NO_PROXY": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket="cars")
    s3fs.S3FileSystem.clear_instance_cache()
    return open_bucket("s3://cars/some/folder")


def test_a_file_comes_back_as_it_went(s3: Bucket, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(DATA)
    assert not s3.has("data/x", len(DATA))
    s3.put(tmp_path / "source", "data/x")
    assert s3.has("data/x", len(DATA))
    s3.fetch(Entry("file", digest(DATA), len(DATA)), "data/x", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == DATA


def test_a_wrong_file_is_named(s3: Bucket, tmp_path: Path) -> None:
    s3.put_bytes(b"other", "data/y")
    with pytest.raises(TransferError, match="data/y"):
        s3.fetch(Entry("file", digest(b"right"), 5), "data/y", tmp_path / "copy")


def test_a_folder_is_removed_and_its_neighbour_stays(s3: Bucket) -> None:
    for name in ("folds/a/x", "folds/ab/x"):
        s3.put_bytes(b"1", name)
    s3.remove("folds/a")
    s3.remove("folds/nothing")
    assert (s3.has("folds/a/x", 1), s3.has("folds/ab/x", 1)) == (False, True)


def test_what_was_written_a_moment_ago_is_seen(s3: Bucket) -> None:
    for size in range(1, 4):
        assert not s3.has("folds/new/x", size)
        s3.put_bytes(b"1" * size, "folds/new/x")
        assert s3.has("folds/new/x", size)


def test_a_bucket_that_is_not_there_is_an_error_without_keys(s3: Bucket) -> None:
    with pytest.raises((MachineError, TransferError)) as caught:
        open_bucket("s3://nobody-has-this/folder").put_bytes(b"1", "data/x")
    assert "nobody-has-this" in caught.value.message
    assert "verysecret" not in caught.value.message
