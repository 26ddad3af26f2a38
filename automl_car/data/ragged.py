"""The image cache on disk: pictures of different sizes one after the other in one file, memory-mapped.

    <folder>/pixels.bin    all entries in order: pixels uint8 (H, W, 3) row by row, or a JPEG, see `stored`
             index.npz     offsets int64 (N + 1,) into pixels.bin; shapes int32 (N, 2): height and width;
                           is_jpeg bool (N,); checksums uint32 (N,): CRC-32 of each entry
A picture that could not be decoded has an entry of 0 bytes, so that entries keep the numbers of the list of files.

An entry is compared with its checksum when a process reads it for the first time: reading all of a cache of 16 GB at
each start would take minutes from a slow disk, and an entry that nobody reads harms nobody. The CRC of a picture of
224 x 298 pixels takes 0.06 ms, a hundredth of what a small network takes for it on a CPU.

The file is written with ordinary writes, never through the memory map: on a full disk a write is an OSError, where
touching a page of a sparse map would kill the process with SIGBUS. Its space is taken first, so that a disk that is too
small is known before hours of decoding.
"""

from __future__ import annotations

import errno
import os
import shutil
import zlib
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from automl_car.data.stored import Stored, load_jpeg
from automl_car.errors import StoreError
from automl_car.files import load_arrays

_PIXELS, _INDEX = "pixels.bin", "index.npz"


@dataclass(frozen=True, eq=False)
class ImageCache:
    """Decoded pictures, shared between processes through the page cache. A copy in another process opens the file anew.

    Attributes:
        directory: where it lies; its name is the key of the pictures.
        pixels: uint8 (bytes,), read-only: pixels.bin.
        offsets: int64 (N + 1,).
        shapes: int32 (N, 2).
        is_jpeg: bool (N,): which entries are kept as JPEG.
        checksums: uint32 (N,): of each entry.
        checked: bool (N,): the entries that this process has compared with their checksum.
    """

    directory: Path
    pixels: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    shapes: NDArray[np.int32]
    is_jpeg: NDArray[np.bool_]
    checksums: NDArray[np.uint32]
    checked: NDArray[np.bool_]

    @classmethod
    def open(cls, directory: Path) -> ImageCache:
        """Map an existing cache into memory.

        Raises:
            StoreError: a file is missing, damaged or shorter than it should be.
        """
        try:
            index = load_arrays(directory / _INDEX)
            offsets, shapes, is_jpeg = index["offsets"], index["shapes"], index["is_jpeg"]
            checksums = index["checksums"]
            pixels = _map(directory / _PIXELS)
        except (OSError, ValueError, KeyError) as error:
            raise _damaged(directory, str(error)) from error
        if not _is_consistent(offsets, shapes, is_jpeg) or len(checksums) != len(shapes):
            raise _damaged(directory, f"{_INDEX} contradicts itself")
        if len(pixels) != offsets[-1]:
            raise _damaged(directory, f"{_PIXELS} has {len(pixels)} bytes, not {offsets[-1]}")
        return cls(directory, pixels, offsets, shapes, is_jpeg, checksums, np.zeros(len(shapes), dtype=np.bool_))

    def __len__(self) -> int:
        return len(self.shapes)

    def __reduce__(self) -> tuple[object, ...]:
        # The default would copy gigabytes of pixels into every loader process.
        return (ImageCache.open, (self.directory,))

    def image(self, row: int) -> NDArray[np.uint8]:
        """The picture of an entry: uint8 (H, W, 3), read-only; a view without a copy unless it is kept as JPEG.

        Raises:
            IndexError: there is no such entry, or its file could not be decoded.
            StoreError: the entry is damaged.
        """
        if not 0 <= row < len(self):
            raise IndexError(f"Entry {row} of the image cache {self.directory}, which has {len(self)} entries.")
        data = self.pixels[self.offsets[row] : self.offsets[row + 1]]
        if not len(data):
            raise IndexError(f"Entry {row} of the image cache {self.directory} is empty: its file is broken.")
        if not self.checked[row]:
            if zlib.crc32(data.data) != self.checksums[row]:
                raise _damaged(self.directory, f"entry {row} of {_PIXELS} does not match its checksum")
            self.checked[row] = True
        return load_jpeg(data) if self.is_jpeg[row] else data.reshape(*self.shapes[row], 3)


class RaggedWriter:
    """Appends pictures to a new cache; use it in a `with` block, which writes the index at the end.

    Args:
        directory: an existing folder.
        entries: how many there will be.
        space: bytes that they take at most.

    Raises:
        OSError: the disk has less space.
    """

    def __init__(self, directory: Path, *, entries: int, space: int) -> None:
        self._directory = directory
        self._offsets = np.zeros(entries + 1, dtype=np.int64)
        self._shapes = np.zeros((entries, 2), dtype=np.int32)
        self._is_jpeg = np.zeros(entries, dtype=np.bool_)
        self._checksums = np.zeros(entries, dtype=np.uint32)
        self._row = 0
        self._file = (directory / _PIXELS).open("xb")
        try:
            _take_space(self._file.fileno(), directory, space)
        except OSError:
            self._file.close()
            raise

    def append(self, picture: Stored | None) -> None:
        """Write the next entry; None for a picture that could not be decoded.

        Raises:
            OSError: the disk is full.
        """
        row, self._row = self._row, self._row + 1
        self._offsets[row + 1] = self._offsets[row]
        if picture is not None:
            self._offsets[row + 1] += self._file.write(picture.data)
            self._shapes[row] = picture.shape
            self._is_jpeg[row] = picture.is_jpeg
            self._checksums[row] = zlib.crc32(picture.data)

    def __enter__(self) -> RaggedWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file as file:
            if kind is None:
                file.truncate()  # gives back what was taken and not needed
                os.fsync(file.fileno())
        if kind is None:
            self._write_index()

    def _write_index(self) -> None:
        with (self._directory / _INDEX).open("xb") as file:
            index = {"offsets": self._offsets, "shapes": self._shapes, "is_jpeg": self._is_jpeg}
            np.savez(file, **index, checksums=self._checksums)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())


def _take_space(descriptor: int, directory: Path, space: int) -> None:
    """Make sure that so many bytes can be written; where system and file system can, they are set aside."""
    if hasattr(os, "posix_fallocate") and space:  # 0 bytes would be an error
        try:
            os.posix_fallocate(descriptor, 0, space)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # how some file systems say that they cannot
                raise
        else:
            return
    if shutil.disk_usage(directory).free < space:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _is_consistent(offsets: NDArray[np.int64], shapes: NDArray[np.int32], is_jpeg: NDArray[np.bool_]) -> bool:
    if not len(offsets) - 1 == len(shapes) == len(is_jpeg):
        return False
    sizes = np.diff(offsets)
    as_pixels = shapes.astype(np.int64).prod(axis=1) * 3
    return bool(np.where(is_jpeg, sizes > 0, sizes == as_pixels).all())


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
