"""Lists of files: what they say comes back, and what a stranger wrote leads nowhere."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest

from automl_car.errors import StoreError
from automl_car.exchange.listing import Entry, Listing

SHA = "0" * 64


def _written(name: Any = "a.bin", sha256: Any = SHA, size: Any = 3, part: str = "study", **more: Any) -> bytes:
    entry = {"name": name, "sha256": sha256, "size": size, **more}
    return json.dumps({"format": 1, "parts": {part: [entry]}}).encode()


def test_a_list_comes_back_as_it_was_written() -> None:
    listing = Listing({"study": (Entry("folds.csv", SHA, 3),), "features/k/view-1.5": (Entry("a/b.npy", SHA, 0),)})
    assert Listing.from_bytes(listing.to_bytes()) == listing


def test_the_same_files_make_the_same_list() -> None:
    files = (Entry("folds.csv", SHA, 3),)
    assert Listing({"a": files, "b": ()}).to_bytes() == Listing({"b": (), "a": files}).to_bytes()


@pytest.mark.parametrize(
    "name",
    ["../a", "a/../../b", "/etc/passwd", "C:\\a", "c:a", "a\\..\\b", "", ".", "a//b", "./a", "a/", "a\0b", "a\nb", 3],
)
def test_a_name_that_leaves_its_folder_is_refused(name: Any) -> None:
    with pytest.raises(StoreError, match="outside of its folder"):
        Listing.from_bytes(_written(name))


@pytest.mark.parametrize("sha256", ["", "abc", "g" * 64, "0" * 63, f"{SHA}\n", "../../../x", None])
def test_a_checksum_that_is_none_is_refused(sha256: Any) -> None:
    with pytest.raises(StoreError, match="no checksum"):
        Listing.from_bytes(_written(sha256=sha256))


@pytest.mark.parametrize("size", [-1, 1.5, True, "3", None])
def test_a_size_that_is_none_is_refused(size: Any) -> None:
    with pytest.raises(StoreError, match="bytes"):
        Listing.from_bytes(_written(size=size))


@pytest.mark.parametrize("part", ["..", "/study", "study/../x", "study/", "features/..", "Study", ""])
def test_a_part_that_is_no_plain_name_is_refused(part: str) -> None:
    with pytest.raises(StoreError, match="part"):
        Listing.from_bytes(_written(part=part))


@pytest.mark.parametrize("names", [("a", "a"), ("a", "a/b"), ("a/b/c", "a/b")])
def test_two_files_in_one_place_are_refused(names: tuple[str, str]) -> None:
    entries = [{"name": name, "sha256": SHA, "size": 1} for name in names]
    with pytest.raises(StoreError, match="twice"):
        Listing.from_bytes(json.dumps({"format": 1, "parts": {"study": entries}}).encode())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"\xff",
        b"{}",
        b'{"format": 1}',
        b'{"format": 1, "parts": []}',
        b'{"format": 1, "parts": {"a": 3}}',
        b"[" * 100_000,
        pickle.dumps({"format": 1}),
        _written(more=1),
    ],
)
def test_what_is_no_list_is_refused(data: bytes) -> None:
    with pytest.raises(StoreError):
        Listing.from_bytes(data)


def test_a_list_of_another_format_is_refused_with_both_formats() -> None:
    with pytest.raises(StoreError, match=r"format 2.*reads 1"):
        Listing.from_bytes(b'{"format": 2, "parts": {}}')
