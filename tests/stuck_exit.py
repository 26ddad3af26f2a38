"""A run of tests whose process does not end after its last one says what holds it, and fails."""

from __future__ import annotations

import faulthandler

PATIENCE_SECONDS = 120.0
_STDERR = 2  # pytest puts its own in place of `sys.stderr`


def pytest_unconfigure() -> None:
    """Watch the rest of the process: threads and children that somebody waits for, and what is done at an exit."""
    faulthandler.dump_traceback_later(PATIENCE_SECONDS, exit=True, file=_STDERR)
