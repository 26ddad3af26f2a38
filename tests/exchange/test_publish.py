"""What the driver puts into an exchange: all that a fold needs, once."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from automl_car.catalog.records import PluginSources
from automl_car.data.prepare import Prepared, open_prepared
from automl_car.errors import MachineError, StudyError
from automl_car.exchange.bucket import Bucket, open_bucket
from automl_car.exchange.listing import LONGEST, Listing
from automl_car.exchange.node import Node
from automl_car.exchange.publish import Hashes, data_name, publish, sources_of


@pytest.fixture
def place(tiny_prepared: Prepared, tmp_path: Path) -> Path:
    """A copy of a prepared study, in `study` and `cache`."""
    shutil.copytree(tiny_prepared.images.directory.parents[2], tmp_path / "place")
    return tmp_path / "place"


def _publish(bucket: Bucket, place: Path, **changes: object) -> str:
    values = {"plugins": PluginSources(), "weights": {}} | changes
    return publish(bucket, sources_of(place / "study", place / "cache", **values), Hashes(place / "cache"))  # type: ignore[arg-type]


def _listing(bucket: Bucket, sha256: str) -> Listing:
    return Listing.from_bytes(bucket.read(sha256, data_name(sha256), LONGEST))


def test_a_study_opens_from_what_the_exchange_holds(bucket: Bucket, place: Path, tmp_path: Path) -> None:
    parts = _listing(bucket, _publish(bucket, place)).parts
    shutil.rmtree(place)
    node = Node(tmp_path / "node", 1e9)
    opened = open_prepared(*(node.bring(bucket, part, parts[part]) for part in ("study", "images")))
    assert opened.folds.count == 3
    assert opened.train_image(0).shape[2] == 3


def test_nothing_is_put_there_twice(tmp_path: Path, place: Path) -> None:
    bucket = open_bucket(f"file://{tmp_path}/exchange")
    first = _publish(bucket, place)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "exchange").rglob("*") if path.is_file()}
    assert _publish(bucket, place) == first
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "exchange").rglob("*") if path.is_file()}


def test_changed_photos_are_another_file_under_another_hash(bucket: Bucket, place: Path) -> None:
    before = _listing(bucket, _publish(bucket, place)).parts
    pixels = next((place / "cache" / "images").glob("*/pixels.bin"))
    data = bytearray(pixels.read_bytes())
    data[0] ^= 1
    pixels.write_bytes(data)
    after = _listing(bucket, _publish(bucket, place)).parts
    assert before["study"] == after["study"]
    assert before["images"][0].sha256 != after["images"][0].sha256


def test_hashes_of_files_that_did_not_change_are_remembered(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = place / "study" / "folds.csv"
    hashes = Hashes(place / "cache")
    known = hashes.of(path)
    hashes.save()
    monkeypatch.setattr("automl_car.exchange.publish.file_digest", lambda path: pytest.fail("read again"))
    assert Hashes(place / "cache").of(path) == known


def test_damaged_memories_of_hashes_are_forgotten(place: Path) -> None:
    known = Hashes(place / "cache").of(place / "study" / "folds.csv")
    (place / "cache" / "exchange.json").write_text('{"a": 3}')
    assert Hashes(place / "cache").of(place / "study" / "folds.csv") == known


def test_features_go_along_where_they_are_of_as_many_photos(place: Path, bucket: Bucket) -> None:
    for key, rows in (("ours", (36, 5)), ("others", (35, 5))):
        view = place / "cache" / "features" / key / "whole"
        view.mkdir(parents=True)
        for name, count in zip(("train.npy", "test.npy"), rows, strict=True):
            np.save(view / name, np.zeros((count, 4), np.float16))
        (view / "sha256.txt").write_text("")
    parts = _listing(bucket, _publish(bucket, place)).parts
    assert [part for part in parts if part.startswith("features")] == ["features/ours/whole"]


def test_plugins_and_weights_that_are_named_by_path_go_along(place: Path, bucket: Bucket) -> None:
    for path in ("plugins/mine.py", "other/theirs.py", "w.safetensors"):
        (place / path).parent.mkdir(exist_ok=True)
        (place / path).write_text(path)
    plugins = PluginSources(place / "plugins", (place / "other" / "theirs.py",))
    parts = _listing(
        bucket, _publish(bucket, place, plugins=plugins, weights={"a" * 64: place / "w.safetensors"})
    ).parts
    assert [entry.name for entry in parts["plugins"]] == ["workspace/mine.py", "files/0/theirs.py"]
    assert [entry.name for entry in parts[f"weights/{'a' * 64}"]] == ["weights.safetensors"]


def test_a_study_that_is_not_prepared_is_an_error(bucket: Bucket, place: Path) -> None:
    (place / "study" / "prepared.json").unlink()
    with pytest.raises(StudyError, match="not prepared"):
        _publish(bucket, place)


def test_a_cache_that_is_gone_is_an_error_that_names_the_file(bucket: Bucket, place: Path) -> None:
    next((place / "cache" / "images").glob("*/pixels.bin")).unlink()
    with pytest.raises(MachineError, match=r"pixels\.bin"):
        _publish(bucket, place)
