"""What follows from the end of a trial."""

from __future__ import annotations

from collections.abc import Callable

from optuna.trial import TrialState

from automl_car.errors import StudyError
from automl_car.search.job import Outcome, View
from automl_car.search.strikes import Strikes

MAX_EQUAL_FAILURES = 3


class Ends:
    """What follows from the end of a trial: a new submission, a strike, or the end of a search in which all fail."""

    def __init__(self, after_complete: Callable[[], None], strikes: Strikes, view: View) -> None:
        self._after_complete = after_complete
        self._strikes = strikes
        self._view = view
        self._failures: list[str] = []

    def take(self, outcome: Outcome) -> None:
        """A trial has ended, the next one in the order in which they end.

        Raises:
            StudyError: three in a row failed for one reason.
        """
        if outcome.culprits:  # others may work
            for sentence in self._strikes.strike(outcome.culprits, outcome.reason):
                self._view.note(sentence)
            return
        fails = outcome.cause or _is_bug(outcome)
        self._failures = [*self._failures, outcome.cause or outcome.reason] if fails else []
        last = self._failures[-MAX_EQUAL_FAILURES:]
        if len(last) == MAX_EQUAL_FAILURES and len(set(last)) == 1:
            cause = f"{outcome.cause}. The last one: " if outcome.cause else ""
            raise StudyError(
                f"{MAX_EQUAL_FAILURES} trials in a row failed for one reason: {cause}{outcome.reason}",
                hint="mend it and run the same command again; nothing that was trained is lost.",
            )
        if outcome.state == TrialState.COMPLETE:
            self._after_complete()


def _is_bug(outcome: Outcome) -> bool:
    return outcome.state == TrialState.FAIL and not outcome.interrupted
