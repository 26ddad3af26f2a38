"""The image cache on disk: pictures of different sizes one after the other in one file, memory-mapped.

    <folder>/pixels.bin    uint8, all pictures in order, each (H, W, 3) row by row
             index.npz     offsets int64 (N + 1,) into pixels.bin; shapes int32 (N, 2): height and width
A picture that could not be decoded has an entry of 0 bytes, so that entries keep the numbers of the list of files.

The file is written with ordinary writes, never through the memory map: on a full disk a write is an OSError, where
touching a page of a sparse map would kill the process with SIGBUS.
"""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from automl_car.errors import StoreError

_PIXELS, _INDEX = "pixels.bin", "index.npz"


@dataclass(frozen=True, eq=False)
class ImageCache:
    """Decoded pictures, shared between processes through the page cache. A copy in another process opens the file anew.

    Attributes:
        directory: where it lies; its name is the key of the pictures.
        pixels: uint8 (bytes,), read-only.
        offsets: int64 (N + 1,).
        shapes: int32 (N, 2).
    """

    directory: Path
    pixels: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    shapes: NDArray[np.int32]

    @classmethod
    def open(cls, directory: Path) -> ImageCache:
        """Map an existing cache into memory.

        Raises:
            StoreError: a file is missing, damaged or shorter than it should be.
        """
        try:
            with np.load(directory / _INDEX, allow_pickle=False) as index:
                offsets, shapes = index["offsets"], index["shapes"]
            pixels = _map(directory / _PIXELS)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise _damaged(directory, str(error)) from error
        sizes = shapes.astype(np.int64).prod(axis=1) * 3
        if len(offsets) != len(shapes) + 1 or not np.array_equal(np.diff(offsets), sizes):
            raise _damaged(directory, f"{_INDEX} contradicts itself")
        if len(pixels) != offsets[-1]:
            raise _damaged(directory, f"{_PIXELS} has {len(pixels)} bytes, not {offsets[-1]}")
        return cls(directory, pixels, offsets, shapes)

    def __len__(self) -> int:
        return len(self.shapes)

    def __reduce__(self) -> tuple[object, ...]:
        # The default would copy gigabytes of pixels into every loader process.
        return (ImageCache.open, (self.directory,))

    def image(self, row: int) -> NDArray[np.uint8]:
        """The picture of an entry: uint8 (H, W, 3), a read-only view without a copy.

        Raises:
            IndexError: there is no such entry, or its file could not be decoded.
        """
        if not 0 <= row < len(self):
            raise IndexError(f"Entry {row} of the image cache {self.directory}, which has {len(self)} entries.")
        start, stop = self.offsets[row], self.offsets[row + 1]
        if start == stop:
            raise IndexError(f"Entry {row} of the image cache {self.directory} is empty: its file is broken.")
        return self.pixels[start:stop].reshape(*self.shapes[row], 3)


class RaggedWriter:
    """Appends pictures to a new cache; use it in a `with` block, which writes the index at the end."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file = (directory / _PIXELS).open("xb")
        self._shapes: list[tuple[int, int]] = []

    def append(self, pixels: NDArray[np.uint8] | None) -> None:
        """Write the next entry; None for a picture that could not be decoded.

        Raises:
            OSError: the disk is full.
        """
        if pixels is not None:
            self._file.write(np.ascontiguousarray(pixels).data)
        self._shapes.append((0, 0) if pixels is None else (pixels.shape[0], pixels.shape[1]))

    def __enter__(self) -> RaggedWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file as file:
            if kind is None:
                file.flush()
                os.fsync(file.fileno())
        if kind is None:
            self._write_index()

    def _write_index(self) -> None:
        shapes = np.array(self._shapes, dtype=np.int32).reshape(-1, 2)
        offsets = np.concatenate([[0], np.cumsum(shapes.astype(np.int64).prod(axis=1) * 3)])
        with (self._directory / _INDEX).open("xb") as file:
            np.savez(file, offsets=offsets.astype(np.int64), shapes=shapes)
            file.flush()
            os.fsync(file.fileno())


def _map(path: Path) -> NDArray[np.uint8]:
    if path.stat().st_size == 0:  # no file of 0 bytes can be mapped
        return np.zeros(0, dtype=np.uint8)
    # A plain view: slicing np.memmap itself costs ten times as much.
    return np.memmap(path, dtype=np.uint8, mode="r").view(np.ndarray)


def _damaged(directory: Path, reason: str) -> StoreError:
    return StoreError(
        f"The image cache {directory} is damaged or incomplete: {reason}.",
        hint="Run the search again: it builds the cache anew.",
    )
