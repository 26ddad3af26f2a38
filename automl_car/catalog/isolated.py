"""Runs a module of ours, and in it a plugin's code, in a process of its own: with a time limit, and to its very end.

The module gets a request and leaves answers, both JSON, in a folder that is gone afterwards. Whatever the process does
(it crashes, exits, forks, never returns), its caller goes on, and none of its children is left.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GRACE = 10.0  # seconds for a process to begin, and to end by itself when its time is over
_TIMEOUT = "Timeout (0:"  # what faulthandler writes then
_FRAME = re.compile(r'^\s*File "(?P<file>.+)", line (?P<line>\d+) in (?P<function>.+)$', re.MULTILINE)


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes:
        answers: what it said, in order.
        cause: why it did not come to its own end, in words; None when it did.
        hung: whether the time limit ended it.
        left_processes: whether processes that it had started were still there.
        printed: whether anything went to stdout.
        seconds: that it took.
    """

    answers: tuple[dict[str, Any], ...]
    cause: str | None
    hung: bool
    left_processes: bool
    printed: bool
    seconds: float

    def last(self, key: str) -> Any:
        """The last answer of that name, or None."""
        return next((answer[key] for answer in reversed(self.answers) if key in answer), None)


def run_isolated(module: str, request: Mapping[str, Any], *, limit: float, file: str = "") -> Ended:
    """Run `python -m module` with a request.

    Args:
        module: whose `main` begins with `receive()`.
        limit: seconds that it may take from there on, and from each answer to the next.
        file: whose lines are named where the process hung or crashed.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="automl-car-", ignore_cleanup_errors=True) as folder:
        place = Path(folder)
        (place / "request.json").write_text(json.dumps({**request, "path": sys.path, "limit": limit}), encoding="utf-8")
        with (place / "stdout").open("wb") as stdout, (place / "stderr").open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", module, folder],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
            try:
                _wait(process, place / "answers", limit + GRACE)
            finally:
                left = _end_group(process)
        words = (place / "stderr").read_text(encoding="utf-8", errors="replace")
        answers = _read_answers(place / "answers")
        code = process.returncode
        hung = code != 0 and (_TIMEOUT in words or code == -signal.SIGKILL)
        done = any("done" in answer for answer in answers)
        return Ended(
            answers,
            None if done and code == 0 else _cause(code, hung, limit, words, file),
            hung,
            left,
            (place / "stdout").stat().st_size > 0,
            time.monotonic() - began,
        )


class Answers:
    """The other end: writes answers, each at once, so that a crash leaves those before it."""

    def __init__(self, folder: Path, limit: float) -> None:
        self._file = (folder / "answers").open("a", encoding="utf-8")
        self._limit = limit

    def say(self, **values: Any) -> None:
        """Leave an answer; the time limit begins anew."""
        self._file.write(json.dumps(values) + "\n")
        self._file.flush()
        # Written to stderr, which the caller reads: where each thread is. It works where a plugin never yields, too.
        faulthandler.dump_traceback_later(self._limit, exit=True)


def receive() -> tuple[dict[str, Any], Answers]:
    """In the process: the request, and where answers go. From here on the time limit runs."""
    folder = Path(sys.argv[1])
    request: dict[str, Any] = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    sys.path[:] = request["path"]
    sys.argv[1:] = []
    faulthandler.enable()  # tells where it crashed
    return request, Answers(folder, request["limit"])


def _wait(process: subprocess.Popen[bytes], answers: Path, patience: float) -> None:
    """Until the process has ended, or was silent for too long: a plugin may have switched its own time limit off."""
    began = time.time()
    while True:
        try:
            process.wait(0.5)
            return
        except subprocess.TimeoutExpired:
            spoke = answers.stat().st_mtime if answers.exists() else began
            if time.time() - max(spoke, began) > patience:
                process.kill()


# ---- how it ended ---------------------------------------------------------------------------------------------------


def _cause(code: int, hung: bool, limit: float, words: str, file: str) -> str:
    if hung:
        return f"it was not done after {limit:g} s{_where(words, file)}."
    if code < 0:
        return f"it ended the process by {signal.Signals(-code).name}{_where(words, file)}."
    return f"it ended the process with exit code {code}."


def _where(words: str, file: str) -> str:
    """The innermost line of `file` in what faulthandler wrote."""
    for frame in _FRAME.finditer(words):
        if file and frame["file"] == file:
            return f" (line {frame['line']}, in {frame['function']})"
    return ""


def _read_answers(path: Path) -> tuple[dict[str, Any], ...]:
    if not path.is_file():
        return ()
    answers = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with contextlib.suppress(ValueError):  # cut off in the middle
            answers.append(json.loads(line))
    return tuple(answers)


def _end_group(process: subprocess.Popen[bytes]) -> bool:
    """End the process and all that it started; whether there was anything left of that."""
    if os.name != "posix":
        process.kill()
        process.wait()
        return False
    finished = process.poll() is not None
    left = finished and _has_members(process.pid)
    with contextlib.suppress(ProcessLookupError, PermissionError):  # PermissionError: a Mac's answer for a zombie
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return left


def _has_members(group: int) -> bool:
    """Whether a process of the group is alive; what nobody has waited for is not."""
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    processes = list(Path("/proc").glob("[0-9]*"))
    return not processes or any(_is_member(entry, group) for entry in processes)


def _is_member(entry: Path, group: int) -> bool:
    try:
        state, _, of_group, *_ = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except (OSError, ValueError):  # it ended meanwhile
        return False
    return int(of_group) == group and state != "Z"
