"""The first signal ends a command in good order, the second at once (row 11 of the fault matrix)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")

PROGRAM = """
import hashlib, os, signal, sys, threading, time
import automl_car.cli, automl_car.config
from automl_car.cli import signals

signals.GRACE_SECONDS = 1.5
for usual in (signal.SIGINT, signal.SIGHUP):  # what started the tests may have them ignored
    signal.signal(usual, signal.SIG_DFL)

def ready_when_computing():  # what is still on its way into C would hear the signal
    began = time.process_time()
    while time.process_time() - began < 0.2:
        time.sleep(0.01)
    print("ready", flush=True)

def work(*_):
    try:
        READY
        WORK
    finally:
        TIDYING
        print("tidied", flush=True)
    sys.exit(0)

automl_car.config.load_config = work
BEFORE
automl_car.cli.main()
"""
SLEEPING, COMPUTING = "time.sleep(60)", "hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)"


def _start(folder: Path, work: str, tidying: str = "pass", before: str = "") -> subprocess.Popen[str]:
    ready = "print('ready', flush=True)"
    if work == COMPUTING:
        ready = "threading.Thread(target=ready_when_computing).start()"
    text = PROGRAM.replace("READY", ready).replace("WORK", work).replace("TIDYING", tidying).replace("BEFORE", before)
    process = subprocess.Popen(
        [sys.executable, "-c", text, "plugins"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def _end(process: subprocess.Popen[str]) -> tuple[int, str, str, float]:
    """Exit code, stdout, stderr, and how long it took."""
    began = time.monotonic()
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err, time.monotonic() - began


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_the_first_signal_lets_a_command_tidy_up(name: str, tmp_path: Path) -> None:
    process = _start(tmp_path, SLEEPING)
    process.send_signal(getattr(signal, name))
    code, out, err, _ = _end(process)
    assert (code, out, err) == (130, "tidied\n", "stopped\n")


def test_the_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    process = _start(tmp_path, SLEEPING, tidying="time.sleep(60)")
    process.send_signal(signal.SIGINT)
    time.sleep(0.6)
    process.send_signal(signal.SIGINT)
    code, out, err, seconds = _end(process)
    assert (code, out) == (130, "")
    assert "Traceback" not in err
    assert seconds < 0.5


@pytest.mark.parametrize(
    ("work", "tidying"),
    [(SLEEPING, "time.sleep(60)"), (COMPUTING, "pass")],
    ids=["tidying up", "computing in C"],
)
def test_a_command_that_does_not_end_is_ended(work: str, tidying: str, tmp_path: Path) -> None:
    process = _start(tmp_path, work, tidying)
    process.send_signal(signal.SIGTERM)
    code, _, err, seconds = _end(process)
    assert code == 130
    assert "Traceback" not in err
    assert 1 < seconds < 5  # here it has 1.5 s in place of 10


def test_one_signal_that_comes_twice_at_once_counts_once(tmp_path: Path) -> None:
    # `timeout` sends it to the command, and to the group that the command is in.
    process = _start(tmp_path, SLEEPING, tidying="time.sleep(0.6)")
    process.send_signal(signal.SIGTERM)
    time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    code, out, _, _ = _end(process)
    assert (code, out) == (130, "tidied\n")


DROPS = """
        import weakref
        class Thing: pass
        thing = Thing()
        watched = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGTERM))
        del thing
        time.sleep(60)""".strip()


def test_an_interruption_that_python_drops_is_raised_again(tmp_path: Path) -> None:
    # `InstanceState._cleanup` of SQLAlchemy had one, and the search went on to its end.
    process = _start(tmp_path, DROPS)
    code, out, err, seconds = _end(process)
    assert (code, out, err) == (130, "tidied\n", "stopped\n")
    assert seconds < 1.4  # the patience with a command that does not end by itself


def test_what_else_python_drops_is_still_told(tmp_path: Path) -> None:
    raises = DROPS.replace("os.kill(os.getpid(), signal.SIGTERM)", "1 / 0").replace("60", "0.5")
    code, out, err, _ = _end(_start(tmp_path, raises))
    assert (code, out) == (0, "tidied\n")
    assert "ZeroDivisionError" in err


def test_a_library_that_logs_an_interruption_prints_no_traceback(tmp_path: Path) -> None:
    # SQLAlchemy does so while it closes a connection.
    logs = """
        import logging
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            logging.getLogger("library").exception("closing")
            raise""".strip()
    process = _start(tmp_path, logs)
    process.send_signal(signal.SIGINT)
    code, out, err, _ = _end(process)
    assert (code, out, err) == (130, "tidied\n", "stopped\n")


def test_what_nohup_has_ignored_stays_ignored(tmp_path: Path) -> None:
    process = _start(tmp_path, "time.sleep(0.5)", before="signal.signal(signal.SIGHUP, signal.SIG_IGN)")
    process.send_signal(signal.SIGHUP)
    code, out, _, _ = _end(process)
    assert (code, out) == (0, "tidied\n")


def test_a_closed_terminal_is_no_error_of_its_own(tmp_path: Path) -> None:
    # Its user sees nothing any more; the exit code and what is tidied up are for whoever comes next.
    close = "import os; reader, writer = os.pipe(); os.close(reader); os.dup2(writer, 2)"
    process = _start(tmp_path, SLEEPING, before=close)
    process.send_signal(signal.SIGHUP)
    code, out, _, _ = _end(process)
    assert (code, out) == (130, "tidied\n")


def test_children_end_with_the_second_signal(tmp_path: Path) -> None:
    (tmp_path / "napping.py").write_text("import time\ndef nap():\n    time.sleep(60)\n")
    start = (
        "import multiprocessing, napping; child = multiprocessing.get_context('spawn').Process(target=napping.nap); "
        "child.start(); print(child.pid, flush=True); time.sleep(60)"
    )
    process = _start(tmp_path, start, tidying="time.sleep(60)")
    assert process.stdout is not None
    child = int(process.stdout.readline())
    process.send_signal(signal.SIGINT)
    time.sleep(0.6)
    process.send_signal(signal.SIGINT)
    assert _end(process)[0] == 130
    until = time.monotonic() + 5
    while _lives(child) and time.monotonic() < until:
        time.sleep(0.01)
    assert not _lives(child)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
