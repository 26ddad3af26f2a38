"""A plugin file that lets one durable write of a search fail, in whichever of its processes that is.

DISK_FAULT="CALL WORDS N": the N-th write fails of this call (`open` for writing, `fsync`, or `commit` of SQLite; `any`
for all) that WORDS are in (`-` for every one): in its path, or in what it is for, NAME@PLACE. The name is that of the
file that is written, with `*` in place of numbers, or of Optuna's function for a commit; the place is in automl-car.
Each counted write adds a line of a fixed length to writes.txt, as two processes write; N = 0 counts them all.
Commits that have nothing to write are no writes. A file without a name is opened, and what is written to it fails.
"""

from __future__ import annotations

from fault_scene import SETTINGS, Scene

PLUGIN = r"""
import builtins, errno, io, os, re, sqlite3, sys
import automl_car
from automl_car import hookimpl

ROOT = os.path.dirname(os.path.abspath(__file__))
OURS, OPTUNAS = os.path.dirname(automl_car.__file__) + os.sep, os.path.join("optuna", "storages", "_rdb", "storage.py")
CALL, WORDS, N = os.environ.get("DISK_FAULT", "none - 0").split()
WIDTH = 240
real_open, real_fsync, real_connect, os_open, os_write = builtins.open, os.fsync, sqlite3.connect, os.open, os.write

def is_due(call, path):
    path = os.path.abspath(path)
    if CALL not in (call, "any") or not path.startswith(ROOT + os.sep) or "/logs/" in path:
        return False
    what = purpose(path)
    if WORDS != "-" and WORDS not in f"{path} {what}":
        return False
    counter = os_open(os.path.join(ROOT, "writes.txt"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    line = f"{call} {what} {path[len(ROOT) + 1:]}".encode()[: WIDTH - 1]
    os_write(counter, line.ljust(WIDTH - 1) + b"\n")
    count = os.fstat(counter).st_size // WIDTH
    os.close(counter)
    return count == int(N)

def purpose(path):
    name, frame = os.path.basename(path), sys._getframe(2)
    while frame is not None:
        file, function = frame.f_code.co_filename, frame.f_code.co_name
        if file.endswith(OPTUNAS):
            name = function.strip("_")
        elif file.startswith(OURS + "files.py"):  # the file's own name, where a temporary one is written
            name = os.path.basename(next((str(frame.f_locals[key]) for key in ("path", "folder", "target")
                                          if key in frame.f_locals), name))
        elif file.startswith(OURS):
            return f"{plain(name)}@{file[len(OURS):]}:{function}"
        frame = frame.f_back
    return f"{plain(name)}@"

def plain(name):
    name = re.sub(r"\.partial-.*", "", name)
    return re.sub(r"[0-9a-f]{8,}|[0-9]+", "*", name).replace(" ", "_")

def no_space():
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

def open_(file, mode="r", *arguments, **options):
    if isinstance(file, (str, os.PathLike)) and set(mode) & set("wxa+") and is_due("open", file):
        if options.get("opener"):  # `tempfile`: it has two ways to make a file, and would take the other one
            return real_open("/dev/full", mode)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(file))
    return real_open(file, mode, *arguments, **options)

def fsync(descriptor):
    if is_due("fsync", os.readlink(f"/proc/self/fd/{descriptor}")):
        raise no_space()
    real_fsync(descriptor)

class Connection(sqlite3.Connection):
    def commit(self):
        if self.in_transaction and is_due("commit", os.path.join(ROOT, "studies", "main.db")):
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        super().commit()

def connect(*arguments, **options):
    return real_connect(*arguments, **{"factory": Connection, **options})

if CALL != "none":
    builtins.open = io.open = open_
    os.fsync = fsync
    sqlite3.connect = sqlite3.dbapi2.connect = connect

@hookimpl
def register_augmentations():
    return []
"""


# Kinds of writes whose failure is told to nobody, as nothing is lost by it, and why.
QUIET = {
    "open *@ensemble/candidates.py:_on_disk": "logits that would be mapped from a nameless file stay in memory",
}


def make_faulty(scene: Scene) -> Scene:
    """Let writes of a workspace fail where DISK_FAULT says so."""
    (scene.root / "disk_faults.py").write_text(PLUGIN)
    settings = SETTINGS.replace("toy_networks.py", "toy_networks.py, disk_faults.py")
    (scene.root / "automl-car.yaml").write_text(settings)
    return scene


def fail_once(scene: Scene, fault: str) -> str:
    """Run a search in which one write fails, and see that it is told, or, where it is one of QUIET, that it goes on.

    Returns:
        The kind of the write that failed; empty where there was no such write.
    """
    (scene.root / "writes.txt").unlink(missing_ok=True)
    before = len(scene.output)
    code = scene.run(environment={"DISK_FAULT": fault})
    kinds, number = counted_kinds(scene), int(fault.split()[2])
    if len(kinds) < number:
        assert code == 0, scene.output
        return ""
    kind = kinds[number - 1]
    if kind in QUIET:
        assert code == 0, scene.output
    else:
        _assert_told(scene, code, scene.output[before:])
    scene.look()
    return kind


def counted_kinds(scene: Scene) -> list[str]:
    """The kind of each counted write of the last search, CALL NAME@PLACE, in their order."""
    path = scene.root / "writes.txt"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [" ".join(line.split()[:2]) for line in lines]


def _assert_told(scene: Scene, code: int, printed: str) -> None:
    """One line that names a path, one that says what to do, no traceback, and nothing left behind."""
    assert code == 2, printed
    assert "Traceback" not in printed
    (error,) = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert str(scene.root) in error, error
    (hint,) = [line for line in printed.splitlines() if line.startswith("hint: ")]
    assert "space" in hint, hint
    assert scene.leftovers() == []
    assert scene.processes() == []
