"""What a check finds, one line each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from automl_car.errors import AutomlCarError

Level = Literal["good", "note", "problem"]


@dataclass(frozen=True)
class Finding:
    """One line of a check.

    Attributes:
        topic: such as "photos".
        level: a problem stops a search, a note is worth knowing.
        text: what was found.
        todo: what to do about it; empty where nothing need be done.
    """

    topic: str
    level: Level
    text: str
    todo: str = ""


def problem(topic: str, error: AutomlCarError) -> Finding:
    """What an error says, as a finding."""
    return Finding(topic, "problem", error.message, error.hint or "")
