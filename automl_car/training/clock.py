"""Ends a stage of work when the deadline has passed, or as soon as it is clear that it will."""

from __future__ import annotations

import time

from automl_car.pulse import pulse


class OutOfTimeError(Exception):
    """The deadline passed, or will pass before the work is done. Never leaves `training`."""


class Clock:
    """Watches one stage of work, which begins when the clock is made.

    Args:
        deadline: `time.monotonic()` of this process at which the work has to be done, or None. The time of day would
            not do: it is set forward and back while the work goes on.
    """

    def __init__(self, deadline: float | None) -> None:
        self.deadline = deadline
        self.began = time.monotonic()

    def start(self) -> Clock:
        """A clock of the same deadline whose work begins now."""
        return Clock(self.deadline)

    def check(self, done: float) -> None:
        """Raise OutOfTimeError when the share `done` of the work cannot become 1 before the deadline.

        Whoever watches this process learns from it that the work goes on.
        """
        pulse()
        if self.deadline is None:
            return
        now = time.monotonic()
        left, spent = self.deadline - now, now - self.began
        if left <= 0:
            raise OutOfTimeError("the time is up")
        # A tenth of margin, and only after 20 s: the first steps of a run are slower than the rest.
        needed = spent / done - spent if done > 0 else 0.0
        if spent > 20 and needed > 1.1 * left:
            raise OutOfTimeError(f"it needs about {needed:.0f} s more, and {left:.0f} s are left")
