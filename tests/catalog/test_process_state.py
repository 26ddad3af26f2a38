"""What plugin code changes of the whole process: told, and put back, unless it concerns nobody else."""

from __future__ import annotations

import warnings

import pytest

from automl_car.catalog.state import changes, put_back, snapshot


class TheirWarning(UserWarning):
    """A library's own kind."""


@pytest.mark.parametrize("spoken_of", [{"message": "one of theirs"}, {"module": "theirs"}, {"category": TheirWarning}])
def test_a_librarys_filter_of_its_own_warnings_is_no_change(spoken_of: dict[str, object]) -> None:
    with warnings.catch_warnings():
        before = snapshot()
        warnings.filterwarnings("ignore", **spoken_of)  # type: ignore[arg-type]
        assert changes(before) == ()


def test_a_filter_that_hides_the_warnings_of_all_is_told_and_put_back() -> None:
    with warnings.catch_warnings():
        before, filters = snapshot(), list(warnings.filters)
        warnings.simplefilter("ignore")
        assert changes(before) == ("the filters of `warnings`",)
        put_back(before)
        assert list(warnings.filters) == filters


def test_filters_of_one_message_stay_when_those_of_all_are_put_back() -> None:
    with warnings.catch_warnings():
        before = snapshot()
        warnings.filterwarnings("ignore", message="one of theirs")
        warnings.simplefilter("ignore")
        put_back(before)
        action, message, *_ = warnings.filters[0]
        assert (action, getattr(message, "pattern", message)) == ("ignore", "one of theirs")
