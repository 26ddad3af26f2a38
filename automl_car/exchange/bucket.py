"""A folder of a bucket, or of any other place that fsspec knows: whole files in, whole files out, and each is checked.

What is cut is tried again with pauses. Keys and passwords come from where the place's library looks for them, such as
the environment: a URL that holds one is refused, as settings are stored with studies, and shown.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from automl_car.errors import ConfigError, MachineError, StoreError, TransferError
from automl_car.exchange.listing import Entry
from automl_car.files import open_atomically
from automl_car.leftovers import tag
from automl_car.pulse import pulse

logger = logging.getLogger("automl_car")

PAUSES = (0.5, 2.0, 8.0)  # seconds before a transfer is tried once more
_BLOCK = 2**23
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}
_SECRET = re.compile("SECRET|TOKEN|PASSWORD|ACCESS_KEY|ACCOUNT_KEY|CREDENTIAL", re.IGNORECASE)
T = TypeVar("T")


class Bucket:
    """Files by name, below one folder.

    Args:
        files: of fsspec.
        root: the folder, as `files` names it.
        url: what people call it; without keys.
    """

    def __init__(self, files: Any, root: str, url: str) -> None:
        self._files = files
        self._root = root.rstrip("/")
        self.url = url

    def has(self, name: str, size: int) -> bool:
        """Whether a file of this name and size is there; half of one is not."""

        def ask() -> bool:
            try:
                return int(self._files.info(self._path(name))["size"]) == size
            except FileNotFoundError:
                return False

        return self._again(ask, name)

    def put(self, source: Path, name: str) -> None:
        """Copy a file of this machine into the bucket.

        Raises:
            TransferError: it was cut each time.
            MachineError: the bucket is not there, or may not be written to.
        """
        self._again(lambda: self._put(lambda path: self._files.put_file(str(source), path), name), name)

    def put_bytes(self, data: bytes, name: str) -> None:
        """The same for what is in memory."""
        self._again(lambda: self._put(lambda path: self._files.pipe_file(path, data), name), name)

    def fetch(self, entry: Entry, name: str, target: Path) -> None:
        """Copy a file of the bucket to this machine; it is there whole, or not at all.

        Args:
            entry: what it has to be.
            name: of it in the bucket.
            target: in a folder that is there.

        Raises:
            TransferError: it was cut each time, or is another file than it should be.
            MachineError: it may not be read.
            OSError: of this machine's disk.
        """

        def copy() -> None:
            with open_atomically(target) as file:
                self._read(entry, name, file.write)

        self._again(copy, f"{entry.name}` (`{name}")

    def read(self, sha256: str, name: str, most: int) -> bytes:
        """A small file of the bucket.

        Args:
            sha256: what it has to be.
            most: bytes that it may have.
        """

        def load() -> bytes:
            parts: list[bytes] = []
            size = int(self._files.info(self._path(name))["size"])
            if size > most:
                raise _DamagedError(f"it has {size} bytes, and at most {most} are read")
            self._read(Entry(name, sha256, size), name, parts.append)
            return b"".join(parts)

        return self._again(load, name)

    def remove(self, folder: str) -> None:
        """Remove a folder with its files, if it is there; what cannot be removed stays, and the log says so."""
        try:
            self._files.invalidate_cache()
            self._files.rm(self._path(folder), recursive=True)
        except FileNotFoundError:
            return
        except Exception as error:
            logger.warning("`%s` of the exchange %s cannot be removed: %s", folder, self.url, _words(error))

    # ---- one try, and the others ----

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _put(self, write: Callable[[str], object], name: str) -> None:
        path = self._path(name)
        if not getattr(self._files, "local_file", False):
            write(path)  # there when all of it is
            return
        temporary = f"{path}.{tag()}.tmp"
        try:
            write(temporary)
            Path(temporary).replace(path)
        finally:
            Path(temporary).unlink(missing_ok=True)

    def _read(self, entry: Entry, name: str, write: Callable[[bytes], object]) -> None:
        """Read a file piece by piece, never more than the size that it should have."""
        digest, left = hashlib.sha256(), entry.size
        with self._files.open(self._path(name), "rb", block_size=_BLOCK, cache_type="readahead") as file:
            while left and (block := file.read(min(left, _BLOCK))):
                digest.update(block)
                write(block)
                left -= len(block)
                pulse()
            longer = bool(file.read(1))
        if left or longer:
            raise _DamagedError(f"it is not the {entry.size} bytes long that it should be")
        if digest.hexdigest() != entry.sha256:
            raise _DamagedError("it does not match its checksum")

    def _again(self, work: Callable[[], T], name: str) -> T:
        for pause in (*PAUSES, None):
            try:
                return work()
            except (StoreError, MachineError):
                raise
            except Exception as error:  # each library has its own for what a network can do
                if isinstance(error, OSError) and self._is_of_this_disk(error):
                    raise
                if isinstance(error, PermissionError):
                    raise self._refused(name, error) from None
                if pause is None or isinstance(error, FileNotFoundError):
                    raise self._cut(name, error) from None
                logger.warning("`%s` of the exchange %s is tried again: %s", name, self.url, _words(error))
                time.sleep(pause)
        raise AssertionError

    def _is_of_this_disk(self, error: OSError) -> bool:
        """Whether it names a file, and none of the bucket."""
        found = error.filename is not None and not str(error.filename).startswith(self._root)
        return found and not isinstance(error, FileNotFoundError)

    def _refused(self, name: str, error: BaseException) -> MachineError:
        return MachineError(
            f"The exchange {self.url} refuses `{name}`: {_words(error)}.",
            hint="let the credentials that this machine has read and write there, and run the same command again.",
        )

    def _cut(self, name: str, error: BaseException) -> TransferError:
        hint = (
            f"remove `{name}` from the exchange and run the same command again: it is written anew."
            if isinstance(error, _DamagedError)
            else "see to the network and the bucket, and run the same command again; what is finished is kept."
        )
        return TransferError(f"`{name}` of the exchange {self.url} cannot be moved: {_words(error)}.", hint=hint)


class _DamagedError(Exception):
    """A file is not what its hash says."""


# ---- finding one ----------------------------------------------------------------------------------------------------


def open_bucket(url: str) -> Bucket:
    """The exchange of a URL such as `s3://bucket/folder`; asks nothing of it yet.

    Raises:
        ConfigError: no such place is known, its package is missing, or the URL holds a key or a password.
    """
    refuse_secrets(url)
    protocol = url.partition("://")[0]
    from fsspec.core import url_to_fs

    try:
        # What others wrote a moment ago has to be seen: nothing is remembered of what was not there.
        files, root = url_to_fs(url, use_listings_cache=False, **({"auto_mkdir": True} if protocol == "file" else {}))
    except ImportError as error:
        extra = _EXTRAS.get(protocol)
        how = f'`pip install "automl-car[{extra}]"`' if extra else f"{error}"
        raise ConfigError(f"search.exchange: `{protocol}://` needs a package that is not here.", hint=how) from None
    except ValueError as error:
        raise ConfigError(f"search.exchange: `{url}` is no place that is known: {error}.", hint=_EXPECTED) from None
    if not root.strip("/"):
        raise ConfigError(f"search.exchange: `{url}` names no folder.", hint=_EXPECTED)
    return Bucket(files, root, url)


_EXPECTED = "write s3://bucket/folder, gs://bucket/folder, or file:///folder."


def refuse_secrets(url: str) -> None:
    """Refuse a URL that is none, or that holds a key, a password, or options.

    Raises:
        ConfigError: without the secret in it.
    """
    protocol, found, rest = url.partition("://")
    if not found or not protocol.isalnum() or "::" in url:
        shown = without_secrets(url)
        raise ConfigError(f"search.exchange: `{shown}` is no URL of a folder.", hint=_EXPECTED)
    host = rest.partition("/")[0]
    if "@" in host or "?" in rest or "#" in rest:
        raise ConfigError(
            f"search.exchange: `{without_secrets(url)}` holds a key, a password, or options.",
            hint="settings are stored with the study; put keys where the bucket's library looks for them, such as "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment.",
        )


def without_secrets(url: str) -> str:
    """A URL as it may be shown.

    Example:
        >>> without_secrets("s3://key:secret@bucket/folder?token=1")
        's3://***@bucket/folder?***'
    """
    if not set(url) & set("@?#"):
        return url
    try:
        parts = urlsplit(url)
    except ValueError:
        return "***"
    host = f"***@{parts.netloc.rpartition('@')[2]}" if "@" in parts.netloc else parts.netloc
    options = "?***" if parts.query or parts.fragment else ""
    return f"{parts.scheme}://{host}{parts.path}{options}" if parts.scheme and parts.netloc else "***" + options


def _words(error: BaseException) -> str:
    """What a library says, on one line and without what the environment keeps secret."""
    if isinstance(error, _DamagedError):
        return str(error)
    words = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}".rstrip(": .")
    for name, value in os.environ.items():
        if _SECRET.search(name) and len(value) >= 8:
            words = words.replace(value, "***")
    return words
