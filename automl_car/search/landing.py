"""Folds that are being trained, and which of them have landed: what to do then costs the same with 3 and with 1,000."""

from __future__ import annotations

import contextlib
import itertools
from queue import Empty, SimpleQueue

from automl_car.search.flying import Fold


class Landings:
    """Folds whose latest attempt was not taken up yet."""

    def __init__(self) -> None:
        self._flying: dict[int, Fold] = {}  # by the order in which they were submitted
        self._numbers = itertools.count()
        self._done: SimpleQueue[int] = SimpleQueue()  # filled by the executor's threads

    def __len__(self) -> int:
        return len(self._flying)

    @property
    def has_landed(self) -> bool:
        """Whether `wait` would not wait."""
        return not self._done.empty()

    def watch(self, fold: Fold) -> None:
        """Say when the attempt that is under way is done."""
        number = next(self._numbers)
        self._flying[number] = fold
        fold.future.add_done_callback(lambda future: self._done.put(number))

    def wait(self, seconds: float) -> list[Fold]:
        """Folds whose attempts are done, in the order in which they were submitted; none when that takes longer."""
        done: list[int] = []
        if self._flying:
            with contextlib.suppress(Empty):
                done.append(self._done.get(timeout=seconds))
                while True:
                    done.append(self._done.get_nowait())
        return [self._flying.pop(number) for number in sorted(done)]
