"""Counts the steps of a process's work, so that whoever watches it can tell long work from none.

A step is a batch that is trained or predicted, or a message to the driver: whatever shows that the work goes on.
"""

from __future__ import annotations


class _Pulse:
    count = 0


def pulse() -> None:
    """One step more."""
    _Pulse.count += 1  # threads may lose one of two at once; that the number moves is enough


def pulses() -> int:
    """Steps so far."""
    return _Pulse.count
