"""Signs of life of a training process, and what their absence means.

While it works, a process sends a beat every two seconds, from a thread of its own: a beat does not tell that training
is fast, but that the process runs, and how many steps it has done. Without beats it is stopped, or code of a plugin
holds Python's lock for good. With beats, but without a step, it waits for what does not come, or a plugin loops.

Both are counted in beats that came or should have come, and not by a clock: no clock that is set, no sleep of the
machine and no Ctrl-Z makes a process that works seem to hang.
"""

from __future__ import annotations

from dataclasses import dataclass

BEAT_SECONDS = 2.0
SILENT_SECONDS = 300.0  # torch.compile and imports hold Python's lock for seconds, a machine that swaps for a minute
STUCK_SECONDS = 3600.0  # by its operations, a batch of the largest bundled network takes half as long on two cores


@dataclass(frozen=True)
class Beat:
    """A process lives, and has done so many steps (see `pulse`)."""

    pulses: int


class Vigil:
    """Follows the beats of one task."""

    def __init__(self) -> None:
        self._pulses = -1
        self._silent = self._stuck = 0.0

    def see(self, beat: Beat | None) -> None:
        """A beat came, or (None) none did for as long as it takes for one."""
        if beat is None:
            self._silent += BEAT_SECONDS
            return
        self._silent = 0.0
        self._stuck = 0.0 if beat.pulses != self._pulses else self._stuck + BEAT_SECONDS
        self._pulses = beat.pulses

    def why_hanging(self) -> str:
        """Why the process counts as hanging; empty as long as it does not."""
        if self._silent >= SILENT_SECONDS:
            return f"gave no sign of life for {_words(SILENT_SECONDS)}"
        if self._stuck >= STUCK_SECONDS:
            return f"did not get a step further for {_words(STUCK_SECONDS)}"
        return ""


def _words(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"
