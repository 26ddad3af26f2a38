"""Temporary files and folders: names that tell who writes them, and the removal of what killed processes left.

.<host>-<process>-<random>.tmp            a file, until it gets its name
<name>.partial-<host>-<process>-<random>  a folder, until it gets its name
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import time
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path

ABANDONED_SECONDS = 600  # what is being written changes all the time; what has not for so long was left
_REUSED_SECONDS = 86_400  # where a process of that number lives: longer than clocks are put forward
_TAG = re.compile(r"(?P<host>[0-9a-f]{8})-(?P<process>\d+)-[0-9a-f]{8}(\.tmp)?$")


def tag() -> str:
    """A part of a name that nothing else has, and that tells which process of which machine made it."""
    return f"{_host()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


def is_abandoned(path: Path) -> bool:
    """Whether nobody writes a temporary file or folder any more.

    Its process is asked for, where it is one of this machine. Another process may have got its number since: so what
    has not changed for a day is taken for abandoned. Of other machines, ten minutes are enough.
    """
    match = _TAG.search(path.name)
    here = match is not None and match["host"] == _host()
    if match and here and not _lives(int(match["process"])):
        return True
    try:
        files = [path, *path.iterdir()] if path.is_dir() else [path]
        newest = max(file.stat().st_mtime for file in files)
    except FileNotFoundError:  # it was given its name, or was removed, this very moment
        return False
    return time.time() - newest > (_REUSED_SECONDS if here else ABANDONED_SECONDS)


def remove_leftovers(directory: Path) -> None:
    """Remove abandoned temporary files and folders, at any depth."""
    for path in _temporary(directory):
        if path.is_dir() and is_abandoned(path):
            shutil.rmtree(path, ignore_errors=True)
        elif path.is_file() and is_abandoned(path):
            path.unlink(missing_ok=True)


def _temporary(directory: Path) -> Iterator[Path]:
    """What has a name for a while. One walk: a store of 10,000 trials has 100,000 files, and paths would take long."""
    for parent, folders, files in os.walk(directory):
        for name in (*folders, *files):
            if ".partial-" in name or (name.startswith(".") and name.endswith(".tmp")):
                yield Path(parent, name)


def _host() -> str:
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"


def _lives(process: int) -> bool:
    if process == os.getpid():
        return True
    if os.name == "nt":  # there, asking for a process is another matter: age decides
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is somebody else's
        return True
    return True
