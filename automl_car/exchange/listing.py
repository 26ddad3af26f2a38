"""Lists of files: what they are called, their hashes and sizes. What comes from elsewhere is checked when read."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from automl_car.errors import StoreError
from automl_car.paths import stays_inside
from automl_car.records import fingerprint

LONGEST = 2**24  # bytes of a list
_FORMAT = 1
_DIGEST = re.compile("[0-9a-f]{64}")
_PART = re.compile(r"[a-z]+(/\w[\w.-]*)*", re.ASCII)


@dataclass(frozen=True)
class Entry:
    """One file.

    Attributes:
        name: where it belongs, relative to the folder of its part, with `/`.
        sha256: of its content.
        size: in bytes.
    """

    name: str
    sha256: str
    size: int


Files = tuple[Entry, ...]


@dataclass(frozen=True)
class Listing:
    """Files by the part that they belong to: `study`, `images`, `plugins`, `features/<key>/<view>` …"""

    parts: Mapping[str, Files]

    def to_bytes(self) -> bytes:
        """JSON, the same for the same files."""
        parts = {part: [vars(entry) for entry in files] for part, files in sorted(self.parts.items())}
        return json.dumps({"format": _FORMAT, "parts": parts}, ensure_ascii=False, sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Listing:
        """The list that `to_bytes` wrote.

        Raises:
            StoreError: it is none, of another format, or names a file that would leave its folder.
        """
        try:
            values = json.loads(data)
            if values["format"] != _FORMAT:
                raise StoreError(f"A list of the exchange has format {values['format']}; this version reads {_FORMAT}.")
            return cls({_part(part): _files(part, files) for part, files in values["parts"].items()})
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise StoreError(f"A list of the exchange is none: {type(error).__name__}: {error}.") from error


def digest(data: bytes) -> str:
    """The name of a list in the exchange."""
    return hashlib.sha256(data).hexdigest()


def key(files: Files) -> str:
    """16 hex digits that name the folder of just these files."""
    return fingerprint([vars(entry) for entry in files])


def total(files: Iterable[Entry]) -> int:
    """Bytes of all files."""
    return sum(entry.size for entry in files)


def is_whole(folder: Path, entry: Entry) -> bool:
    """Whether a folder has the file, with the content that it should have."""
    path = folder / entry.name
    return has_size(folder, entry) and file_digest(path) == entry.sha256


def has_size(folder: Path, entry: Entry) -> bool:
    """Whether a folder has the file, as far as its size tells."""
    path = folder / entry.name
    return path.is_file() and path.stat().st_size == entry.size


def file_digest(path: Path) -> str:
    """sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ---- what somebody else may have written ----------------------------------------------------------------------------


def _part(name: str) -> str:
    if not _PART.fullmatch(name):
        raise StoreError(f"A list of the exchange has a part {name!r}.")
    return name


def _files(part: str, values: Any) -> Files:
    files = tuple(_entry(part, **value) for value in values)
    names = [entry.name for entry in files]
    folders = {parent for name in names for parent in _parents(name)}
    if len(set(names)) != len(names) or folders & set(names):
        raise StoreError(f"A list of the exchange has a name twice, in its part `{part}`.")
    return files


def _parents(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts))]


def _entry(part: str, name: Any, sha256: Any, size: Any) -> Entry:
    if not isinstance(name, str) or not _is_name(name):
        raise StoreError(f"A list of the exchange names a file {name!r} in its part `{part}`, outside of its folder.")
    if not isinstance(sha256, str) or not _DIGEST.fullmatch(sha256):
        raise StoreError(f"A list of the exchange has no checksum of `{name}`: {sha256!r}.")
    if type(size) is not int or size < 0:
        raise StoreError(f"A list of the exchange says that `{name}` has {size!r} bytes.")
    return Entry(name, sha256, size)


def _is_name(name: str) -> bool:
    """Whether it is a relative path of plain names, on any system."""
    parts = name.split("/")
    return stays_inside(name) and not any(
        part in ("", ".", "..") or "\\" in part or ":" in part or not part.isprintable() for part in parts
    )
