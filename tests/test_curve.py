"""What a fine-tuning has to be below in its first fold: curves drawn by hand."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from automl_car.curve import FIRST_SHARE, MIN_CURVES, curve_to_beat, why_beaten
from automl_car.fold_records import Epoch, Points


def _curve(*losses: float, total: int | None = None) -> list[Epoch]:
    """A fold's epochs; the calibrated log losses are given, and those before calibration are far worse."""
    return [Epoch(number, total or len(losses), 0.1, 9.0, 1.0, loss) for number, loss in enumerate(losses, start=1)]


# After each quarter of the schedule a quarter, a third, a half and all of the log loss will be left.
QUARTERS = _curve(2.0, 1.5, 1.0, 0.5)


def _limit(share: float, to_beat: Points) -> float:
    """The highest log loss after this share of the schedule with which a fold of 1000 epochs goes on."""
    number = round(share * 1000)
    low, high = 0.0, 100.0
    for _ in range(60):
        middle = (low + high) / 2
        beaten = why_beaten([Epoch(number, 1000, 0.1, 9.0, 1.0, middle)], to_beat) is not None
        low, high = (low, middle) if beaten else (middle, high)
    return low


# ---- what there is to beat ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(5))
def test_with_fewer_than_five_curves_there_is_nothing_to_beat(number: int) -> None:
    assert curve_to_beat([QUARTERS] * number, 0.5) == ()


def test_five_curves_are_enough_and_empty_ones_do_not_count() -> None:
    assert MIN_CURVES == 5
    assert curve_to_beat([QUARTERS] * 5, 0.5)
    assert curve_to_beat([*[QUARTERS] * 4, []], 0.5) == ()


def test_a_fold_may_be_as_far_from_the_goal_as_the_others_were_from_their_end() -> None:
    to_beat = curve_to_beat([QUARTERS] * 5, 0.8)
    assert _limit(0.5, to_beat) == pytest.approx(0.8 * 1.5 / 0.5)
    assert _limit(0.75, to_beat) == pytest.approx(0.8 * 1.0 / 0.5)


def test_a_curve_that_reached_the_goal_would_itself_have_gone_on() -> None:
    curves = [_curve(3.0, 2.0, 1.2, 0.7, 0.5), *[_curve(1.0, 0.9, 0.8, 0.7, 0.6)] * 4]
    to_beat = curve_to_beat(curves, 0.5)
    assert all(why_beaten(curves[0][:epochs], to_beat) is None for epochs in range(1, 6))


def test_the_curve_that_caught_up_most_is_the_measure() -> None:
    flat, steep = _curve(0.6, 0.6, 0.6, 0.6), _curve(4.0, 3.0, 1.0, 0.5)
    to_beat = curve_to_beat([*[flat] * 4, steep], 0.5)
    assert _limit(0.5, to_beat) == pytest.approx(3.0)


def test_schedules_of_different_lengths_are_compared_by_their_share() -> None:
    # Eight epochs that halve the log loss in the second half, as the four epochs do.
    eight = _curve(1.9, 1.8, 1.7, 1.6, 1.4, 1.2, 1.0, 0.8)
    four = _curve(1.8, 1.6, 1.2, 0.8)
    assert _limit(0.5, curve_to_beat([eight] * 5, 0.8)) == pytest.approx(1.6)
    assert _limit(0.5, curve_to_beat([four] * 5, 0.8)) == pytest.approx(1.6)


def test_between_two_epochs_a_curve_is_a_straight_line() -> None:
    # Half way between 1.5 and 1.0 it is at 1.25, and ends at 0.5.
    assert _limit(0.625, curve_to_beat([QUARTERS] * 5, 0.5)) == pytest.approx(1.25)


def test_an_epoch_that_was_worse_than_an_earlier_one_does_not_count_as_room_for_gains() -> None:
    bumpy = _curve(1.0, 0.6, 5.0, 0.5)
    assert _limit(0.75, curve_to_beat([bumpy] * 5, 0.5)) == pytest.approx(0.6)


def test_a_fold_that_stopped_early_had_nothing_more_to_gain() -> None:
    stopped = _curve(1.0, 0.8, 0.9, total=6)  # it kept its second epoch
    to_beat = curve_to_beat([stopped] * 5, 0.8)
    assert _limit(0.9, to_beat) == pytest.approx(0.8)


def test_curves_of_older_folds_are_taken_as_they_were_shown() -> None:
    shown = [Epoch(number, 4, 0.1, loss, 1.0) for number, loss in enumerate([2.0, 1.5, 1.0, 0.5], start=1)]
    assert curve_to_beat([shown] * 5, 0.5) == curve_to_beat([QUARTERS] * 5, 0.5)


# ---- who is beaten --------------------------------------------------------------------------------------------------

TO_BEAT: Points = ((0.3, 1.0), (1.0, 0.5))


@pytest.mark.parametrize(("epochs", "beaten"), [(1, False), (2, True), (9, True), (10, False)])
def test_a_hopeless_fold_is_stopped_after_the_warm_up_and_never_after_its_last_epoch(epochs: int, beaten: bool) -> None:
    assert FIRST_SHARE == 0.15
    curve = _curve(*[50.0] * epochs, total=10)
    assert (why_beaten(curve, TO_BEAT) is not None) == beaten


@pytest.mark.parametrize(("loss", "beaten"), [(0.99, False), (1.01, True)])
def test_a_fold_is_stopped_when_it_is_above_the_curve(loss: float, beaten: bool) -> None:
    assert (why_beaten(_curve(3.0, 2.0, loss, total=10), TO_BEAT) is not None) == beaten


def test_the_best_epoch_so_far_is_judged_and_not_the_last() -> None:
    assert why_beaten(_curve(3.0, 0.9, 1.5, total=10), TO_BEAT) is None


def test_without_a_curve_to_beat_no_fold_is_stopped() -> None:
    assert why_beaten(_curve(50.0, 50.0, total=4), ()) is None


def test_the_epochs_of_heads_are_not_judged() -> None:
    assert why_beaten([Epoch(5, 10, 0.1, 50.0, 1.0)], TO_BEAT) is None


def test_the_reason_says_when_and_by_how_much() -> None:
    # Half of the schedule is two sevenths of the way from 30 to 100 %, where the limit falls from 1 to 0.5.
    assert why_beaten(_curve(3.0, 2.0, total=4), TO_BEAT) == (
        "after epoch 2 of 4 it is at 2.000, and from more than 0.857 no fine-tuning of this study would have caught up"
    )


# ---- log losses of nothing ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "losses",
    [
        (0.4, 0.3, 0.2, 0.0),
        (0.4, 0.0, 0.0, 0.0),
    ],
    ids=["at the end", "early on"],
)
def test_folds_that_are_without_any_error_stop_no_other(losses: Sequence[float]) -> None:
    to_beat = curve_to_beat([*[QUARTERS] * 4, _curve(*losses)], 0.1)
    assert why_beaten(_curve(2.0, 1.0, total=4), to_beat) is None
