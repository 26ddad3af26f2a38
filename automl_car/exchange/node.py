"""The worker's side: this machine's own copies of what folds need, each fetched once for all of its processes.

    <folder>/<part>-<key>/    files of a part, below a name that their hashes make; complete, as it is renamed to it
             locks/           one lock for each part, and one for the whole folder
             uses/<part>-<key>/*.lock    held by processes that work with it: it is not removed
             verdicts/        see `PluginSources.verdicts`
The folder is $AUTOML_CAR_NODE_DIR, else that of the user's caches. Beside the files that were fetched, folders hold
what folds leave there: features, measurements, checkpoints, and finished folds until they are removed with the rest.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from automl_car.errors import MachineError
from automl_car.exchange.bucket import Bucket
from automl_car.exchange.listing import Files, has_size, is_whole, key, total
from automl_car.exchange.publish import data_name
from automl_car.files import complete_folder
from automl_car.pulse import pulse

logger = logging.getLogger("automl_car")

VARIABLE = "AUTOML_CAR_NODE_DIR"
_STAMP = "used"  # its time is that of the last use
_LARGE = 2**26  # bytes; larger files have checksums of their own, which are checked where they are read
_OURS = ("locks", "uses", "verdicts")
Tell = Callable[[int, int], None]


class Node:
    """The copies on this machine.

    Args:
        folder: of them; is made.
        budget: bytes that they may take; the least recently used are removed first, and none that is in use.

    Raises:
        MachineError: the folder is somebody else's, who could change what is run here.
    """

    def __init__(self, folder: Path, budget: float) -> None:
        self._folder = folder
        self._budget = budget
        self._uses: dict[str, FileLock] = {}
        self._checked: set[str] = set()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if hasattr(os, "getuid") and (folder.is_symlink() or folder.stat().st_uid != os.getuid()):
            raise MachineError(
                f"`{folder}`, for copies of what folds need, belongs to somebody else.",
                hint=f"name a folder of your own: {VARIABLE}=DIR.",
            )
        for name in _OURS:
            (folder / name).mkdir(exist_ok=True)

    @property
    def verdicts(self) -> Path:
        """Where it is remembered which plugins could be loaded."""
        return self._folder / "verdicts"

    def folder_of(self, part: str, files: Files) -> Path:
        """Where the files of a part are, once they are fetched."""
        return self._folder / f"{part.replace('/', '-')}-{key(files)}"

    def bring(self, bucket: Bucket, part: str, files: Files, tell: Tell = lambda done, total: None) -> Path:
        """The folder with the files of a part, fetched if they are not there; it stays while this process lives.

        Args:
            tell: called with the bytes that are fetched, and with all.

        Raises:
            TransferError: a file was cut or wrong each time; the message names it.
            MachineError: the disk is full.
        """
        target = self.folder_of(part, files)
        with self._lock("all"):
            self._use(target.name)
        with self._lock(target.name):
            if target.name not in self._checked or not target.is_dir():
                missing = _missing(target, files)
                if missing or not target.is_dir():
                    self._make_room(total(missing))
                    _fetch(bucket, missing, target, tell)
            _touch(target / _STAMP)
            self._checked.add(target.name)
        return target

    def bring_into(self, folder: Path, bucket: Bucket, files: Files, tell: Tell = lambda done, total: None) -> None:
        """Let a folder inside of another one, of a cache for example, hold these files, if it is not there."""
        with self._lock(key(files)):
            if not folder.exists():
                self._make_room(total(files))
                _fetch(bucket, files, folder, tell)

    def drop_damaged(self, part: str, files: Files) -> bool:
        """Remove a part of which a file is not what it was; whether there was one."""
        target = self.folder_of(part, files)
        with self._lock(target.name):
            damaged = [entry.name for entry in files if not is_whole(target, entry)]
            if damaged:
                logger.warning("`%s` in %s is damaged, and fetched again", damaged[0], target)
                for name in damaged:
                    (target / name).unlink(missing_ok=True)
                self._checked.discard(target.name)
        return bool(damaged)

    # ---- locks ----

    @contextmanager
    def _lock(self, name: str) -> Iterator[None]:
        """Hold a lock that a whole download may be waited for."""
        lock = FileLock(self._folder / "locks" / f"{name}.lock")
        while True:
            try:
                lock.acquire(timeout=5)
                break
            except Timeout:
                pulse()
        try:
            yield
        finally:
            lock.release()

    def _use(self, name: str) -> None:
        """Say that this process works with a folder; a lock, as it ends with the process however that ends."""
        if name not in self._uses:
            uses = self._folder / "uses" / name
            uses.mkdir(exist_ok=True)
            lock = FileLock(uses / f"{uuid.uuid4().hex}.lock")
            lock.acquire(timeout=0)
            self._uses[name] = lock

    def _is_used(self, name: str) -> bool:
        if name in self._uses:
            return True
        for path in (self._folder / "uses" / name).glob("*.lock"):
            try:
                FileLock(path).acquire(timeout=0).lock.release()
            except Timeout:
                return True
            path.unlink(missing_ok=True)  # whoever held it has ended
        return False

    # ---- room ----

    def _make_room(self, needed: int) -> None:
        """Remove the least recently used folders until so many bytes more fit into the budget, or none is left."""
        with self._lock("all"):
            folders = sorted((path for path in self._folder.iterdir() if _is_copy(path)), key=_last_use)
            sizes = {path: _size(path) for path in folders}
            for path in folders:
                if sum(sizes.values()) + needed <= self._budget:
                    return
                if not self._is_used(path.name):
                    shutil.rmtree(path)
                    del sizes[path]
        if sum(sizes.values()) + needed > self._budget:
            logger.warning(
                "copies in %s take %.1f GB, more than search.node_gb: all of them are in use",
                self._folder,
                (sum(sizes.values()) + needed) / 1e9,
            )


def this_node(gigabytes: float) -> Node:
    """The copies of this machine, for this user.

    Args:
        gigabytes: 10^9 bytes that they may take.
    """
    named = os.environ.get(VARIABLE)
    folder = Path(named) if named else _user_cache() / "automl-car"
    user = os.getuid() if hasattr(os, "getuid") else "user"
    return Node(folder / f"node-{user}", gigabytes * 1e9)


def _user_cache() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _missing(target: Path, files: Files) -> Files:
    """What has to be fetched. Of large files only the size is looked at: reading them all would take minutes."""
    return tuple(e for e in files if not (has_size if e.size > _LARGE else is_whole)(target, e))


def _fetch(bucket: Bucket, files: Files, target: Path, tell: Tell) -> None:
    """Fetch files into a folder that gets its name when it is complete, or into one that lacks them."""
    if target.is_dir():
        _fetch_into(target, bucket, files, tell)
        return
    with complete_folder(target) as folder:
        _fetch_into(folder, bucket, files, tell)


def _fetch_into(folder: Path, bucket: Bucket, files: Files, tell: Tell) -> None:
    done, everything = 0, total(files)
    for entry in files:
        tell(done, everything)
        path = folder / entry.name  # plain names alone, see `listing`
        path.parent.mkdir(parents=True, exist_ok=True)
        bucket.fetch(entry, data_name(entry.sha256), path)
        done += entry.size


def _touch(stamp: Path) -> None:
    stamp.touch()
    os.utime(stamp)


def _is_copy(path: Path) -> bool:
    return path.is_dir() and path.name not in _OURS and ".partial-" not in path.name


def _last_use(path: Path) -> float:
    try:
        return (path / _STAMP).stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
