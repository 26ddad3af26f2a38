"""What decoding told about each file, kept beside the image cache for the audit.

<folder>/facts.npz       sha1s, perceptual hashes, sizes and colour modes
         problems.json   [row, path, reason] of each file that cannot be used
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from automl_car.data.duplicates import HASH_WORDS
from automl_car.errors import StoreError
from automl_car.files import write_atomically
from automl_car.records import IntArray

_FACTS, _PROBLEMS = "facts.npz", "problems.json"


@dataclass(frozen=True)
class Problem:
    """A file that cannot be used: its row in the list of files, its path and why."""

    row: int
    path: str
    reason: str


@dataclass(frozen=True, eq=False)
class FileFacts:
    """Facts about N files; a file that cannot be used has "", 0 and "".

    Attributes:
        sha1s: of the bytes, in hex.
        hashes: uint64 (N, HASH_WORDS), perceptual, see `duplicates`.
        sizes: int64 (N, 2), width and height in the file.
        modes: Pillow's colour mode in the file.
    """

    sha1s: tuple[str, ...]
    hashes: NDArray[np.uint64]
    sizes: IntArray
    modes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class FileFact:
    """One row of `FileFacts`."""

    sha1: str
    hash: NDArray[np.uint64]
    size: tuple[int, int]
    mode: str


NO_FACT = FileFact("", np.zeros(HASH_WORDS, dtype=np.uint64), (0, 0), "")


def write_facts(directory: Path, facts: Sequence[FileFact], problems: Sequence[Problem]) -> None:
    """Write both files into an existing folder."""
    np.savez(
        directory / _FACTS,
        sha1s=np.array([fact.sha1 for fact in facts], dtype="U40"),
        hashes=np.array([fact.hash for fact in facts], dtype=np.uint64).reshape(-1, HASH_WORDS),
        sizes=np.array([fact.size for fact in facts], dtype=np.int64).reshape(-1, 2),
        modes=np.array([fact.mode for fact in facts], dtype="U16"),
    )
    rows = [[problem.row, problem.path, problem.reason] for problem in problems]
    write_atomically(directory / _PROBLEMS, json.dumps(rows))


def read_facts(directory: Path) -> tuple[FileFacts, tuple[Problem, ...]]:
    """Read both files.

    Args:
        directory: of an image cache, with its key as its name.

    Raises:
        StoreError: a file is missing or damaged.
    """
    try:
        with np.load(directory / _FACTS, allow_pickle=False) as arrays:
            facts = FileFacts(
                tuple(arrays["sha1s"].tolist()), arrays["hashes"], arrays["sizes"], tuple(arrays["modes"].tolist())
            )
        rows = json.loads((directory / _PROBLEMS).read_text(encoding="utf-8"))
        return facts, tuple(Problem(*row) for row in rows)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise StoreError(f"The image cache {directory} is damaged or incomplete: {error}.") from error
