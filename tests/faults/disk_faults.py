"""A plugin file that lets one durable write of a search fail, in whichever of its processes that is.

DISK_FAULT="KIND WORDS N": the N-th write fails of this kind (`open` for writing, `fsync`, or `commit` of SQLite; `any`
for all) whose path holds WORDS (`-` for every path). Writes are counted in a file, as two processes write.
"""

from __future__ import annotations

PLUGIN = r"""
import builtins, errno, io, os, sqlite3
from automl_car import hookimpl

ROOT = os.path.dirname(os.path.abspath(__file__))
KIND, WORDS, N = os.environ.get("DISK_FAULT", "none - 0").split()
real_open, real_fsync, real_connect, os_open, os_write = builtins.open, os.fsync, sqlite3.connect, os.open, os.write

def is_due(kind, path):
    path = os.path.abspath(path)
    if KIND not in (kind, "any") or not path.startswith(ROOT + os.sep) or "/logs/" in path:
        return False
    if WORDS != "-" and WORDS not in path:
        return False
    counter = os_open(os.path.join(ROOT, "writes.txt"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os_write(counter, b".")
    count = os.fstat(counter).st_size
    os.close(counter)
    return count == int(N)

def no_space():
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

def open_(file, mode="r", *arguments, **options):
    if isinstance(file, (str, os.PathLike)) and set(mode) & set("wxa+") and is_due("open", file):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(file))
    return real_open(file, mode, *arguments, **options)

def fsync(descriptor):
    if is_due("fsync", os.readlink(f"/proc/self/fd/{descriptor}")):
        raise no_space()
    real_fsync(descriptor)

class Connection(sqlite3.Connection):
    def commit(self):
        if is_due("commit", os.path.join(ROOT, "studies", "main.db")):
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        super().commit()

def connect(*arguments, **options):
    return real_connect(*arguments, **{"factory": Connection, **options})

if KIND != "none":
    builtins.open = io.open = open_
    os.fsync = fsync
    sqlite3.connect = sqlite3.dbapi2.connect = connect

@hookimpl
def register_augmentations():
    return []
"""
