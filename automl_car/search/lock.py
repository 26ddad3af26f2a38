"""One writer per study: whoever changes a study holds its lock."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from filelock import FileLock, Timeout

from automl_car.errors import StudyError


def only_one(studies: Path, study: str) -> AbstractContextManager[object]:
    """Hold the study's lock, until the returned context is left or the process ends.

    Args:
        studies: folder `studies/` of the workspace; must be there.

    Raises:
        StudyError: another process holds it.
    """
    lock = FileLock(studies / f"{study}.lock")
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        raise StudyError(
            f"Another search is running on study `{study}` in `{studies.parent}`.",
            hint="wait for it, or stop it; a search under another name (`--study NAME`) can run beside it.",
        ) from None
