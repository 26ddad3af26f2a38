"""What decoding told about each file, kept beside the image cache for the audit.

<folder>/facts.npy       one record a file: sha1, perceptual hash, size and colour mode
         problems.json   [row, path, reason] of each file that cannot be used

Records go to the disk one by one and come back memory-mapped: 100,000 photos take no more memory than one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from automl_car.data.duplicates import HASH_WORDS
from automl_car.errors import StoreError
from automl_car.files import write_atomically
from automl_car.records import IntArray

_FACTS, _PROBLEMS = "facts.npy", "problems.json"
_RECORD = np.dtype([("sha1", "S20"), ("hash", "<u8", (HASH_WORDS,)), ("size", "<i8", (2,)), ("mode", "<U8")])


@dataclass(frozen=True)
class Problem:
    """A file that cannot be used: its row in the list of files, its path and why."""

    row: int
    path: str
    reason: str


@dataclass(frozen=True, eq=False)
class FileFacts:
    """Facts about N files; a file that cannot be used has b"", 0 and "".

    Attributes:
        sha1s: bytes (N,): digests of the files.
        hashes: uint64 (N, HASH_WORDS), perceptual, see `duplicates`.
        sizes: int64 (N, 2), width and height in the file.
        modes: str (N,): Pillow's colour mode in the file.
    """

    sha1s: NDArray[np.bytes_]
    hashes: NDArray[np.uint64]
    sizes: IntArray
    modes: NDArray[np.str_]


@dataclass(frozen=True, eq=False)
class FileFact:
    """One row of `FileFacts`."""

    sha1: bytes
    hash: NDArray[np.uint64]
    size: tuple[int, int]
    mode: str


NO_FACT = FileFact(b"", np.zeros(HASH_WORDS, dtype=np.uint64), (0, 0), "")


class FactsWriter:
    """Appends facts to a new facts.npy; use it in a `with` block, in which all of them are appended."""

    def __init__(self, directory: Path, count: int) -> None:
        self._file = (directory / _FACTS).open("xb")
        header = {"descr": np.lib.format.dtype_to_descr(_RECORD), "fortran_order": False, "shape": (count,)}
        np.lib.format.write_array_header_1_0(self._file, header)

    def append(self, fact: FileFact) -> None:
        """Write the next record.

        Raises:
            OSError: the disk is full.
        """
        record = np.array((fact.sha1, fact.hash, fact.size, fact.mode), dtype=_RECORD)
        self._file.write(record.tobytes())

    def __enter__(self) -> FactsWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file as file:
            if kind is None:
                file.flush()
                os.fsync(file.fileno())


def write_problems(directory: Path, problems: Sequence[Problem]) -> None:
    """Write problems.json into an existing folder."""
    rows = [[problem.row, problem.path, problem.reason] for problem in problems]
    write_atomically(directory / _PROBLEMS, json.dumps(rows))


def read_facts(directory: Path) -> FileFacts:
    """Map the facts of an image cache into memory.

    Raises:
        StoreError: the file is missing or damaged.
    """
    try:
        records = np.load(directory / _FACTS, mmap_mode="r", allow_pickle=False)
        if records.dtype != _RECORD:
            raise ValueError(f"{_FACTS} holds {records.dtype}")
    except (OSError, ValueError, EOFError) as error:
        raise _damaged(directory, error) from error
    return FileFacts(records["sha1"], records["hash"], records["size"], records["mode"])


def read_problems(directory: Path) -> tuple[Problem, ...]:
    """The files that an image cache has no picture of.

    Raises:
        StoreError: the file is missing or damaged.
    """
    try:
        rows = json.loads((directory / _PROBLEMS).read_text(encoding="utf-8"))
        return tuple(Problem(*row) for row in rows)
    except (OSError, ValueError, TypeError) as error:
        raise _damaged(directory, error) from error


def _damaged(directory: Path, error: Exception) -> StoreError:
    return StoreError(f"The image cache {directory} is damaged or incomplete: {error}.")
