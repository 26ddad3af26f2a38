"""Which backbone and tuning come next, decided from made-up trials."""

from __future__ import annotations

import math

import pytest
from scipy.integrate import quad
from scipy.stats import norm

from automl_car.search.arms import Arm, Play, Tally, choose_arm, expected_improvement, gains_of

HEAD_A, HEAD_B = Arm("head", "a"), Arm("head", "b")
FULL_A, FULL_B = Arm("full", "a"), Arm("full", "b")
ARMS = (HEAD_B, HEAD_A, FULL_A, FULL_B)


def _plays(arm: Arm, *losses: float, seconds: float = 10.0) -> list[Play]:
    return [Play(arm, loss, seconds) for loss in losses]


def _next(*plays: Play, arms: tuple[Arm, ...] = ARMS, floor: int = 0, k: int = 3) -> Arm | None:
    return choose_arm(arms, Tally(plays), floor=floor, k=k)


# ---- the floor ------------------------------------------------------------------------------------------------------


def test_without_arms_there_is_nothing_to_choose() -> None:
    assert _next(*_plays(HEAD_A, 0.5), arms=()) is None


def test_every_backbone_gets_its_floor_first_in_the_given_order() -> None:
    arms, plays, order = (HEAD_B, HEAD_A), [], []
    for _ in range(4):
        arm = _next(*plays, arms=arms, floor=2)
        assert arm is not None
        order.append(arm)
        plays += _plays(arm, 0.1 if arm == HEAD_B else 0.9)
    assert order == [HEAD_B, HEAD_B, HEAD_A, HEAD_A]


def test_the_floor_of_a_backbone_is_shared_out_among_its_tunings() -> None:
    plays = [*_plays(HEAD_B, 0.5, 0.5), *_plays(HEAD_A, 0.5)]
    assert _next(*plays, floor=2) == FULL_A


def test_diverged_trials_count_towards_the_floor() -> None:
    assert _next(*_plays(HEAD_B, math.inf, math.inf), *_plays(HEAD_A, 0.5), arms=(HEAD_B, HEAD_A), floor=2) == HEAD_A


def test_a_backbone_that_came_later_gets_its_floor_before_the_best_goes_on() -> None:
    new = Arm("head", "new")
    plays = [*_plays(HEAD_A, *[0.1] * 9), *_plays(HEAD_B, *[0.2] * 9)]
    assert _next(*plays, arms=(HEAD_A, HEAD_B, new), floor=2) == new


def test_arms_that_were_never_played_come_before_the_one_of_highest_gain() -> None:
    plays = [*_plays(HEAD_A, 0.1, 0.1, 0.1), *_plays(HEAD_B, 0.9, 0.9)]
    assert _next(*plays, floor=2) == FULL_A
    assert _next(*plays, *_plays(FULL_A, 5.0), floor=2) == FULL_B


# ---- the gain -------------------------------------------------------------------------------------------------------


def test_of_arms_of_equal_cost_the_one_of_lower_log_losses_wins() -> None:
    plays = [*_plays(HEAD_A, 0.5, 0.52, 0.51), *_plays(HEAD_B, 0.6, 0.62, 0.61)]
    assert _next(*plays, arms=(HEAD_B, HEAD_A)) == HEAD_A


def test_of_arms_of_equal_gain_the_cheap_one_wins() -> None:
    plays = [*_plays(HEAD_A, 0.5, 0.52, 0.51, seconds=9.0), *_plays(FULL_A, 0.5, 0.52, 0.51, seconds=20.0)]
    assert _next(*plays, arms=(FULL_A, HEAD_A)) == HEAD_A


@pytest.mark.parametrize("seconds", [(0.01, 0.4), (9.0, 10.0)])
def test_times_that_vary_from_run_to_run_do_not_change_the_choice(seconds: tuple[float, float]) -> None:
    for head, full in (seconds, seconds[::-1]):
        plays = [*_plays(HEAD_A, 0.5, 0.52, 0.51, seconds=head), *_plays(FULL_A, 0.5, 0.52, 0.5, seconds=full)]
        assert _next(*plays, arms=(FULL_A, HEAD_A)) == FULL_A


def test_a_dear_arm_wins_where_it_gains_more_for_each_second() -> None:
    cheap = _plays(HEAD_A, 0.60, 0.61, 0.62, seconds=1.0)
    dear = _plays(FULL_A, 0.30, 0.31, 0.32, seconds=4.0)
    assert _next(*cheap, *dear, arms=(HEAD_A, FULL_A), k=6) == FULL_A
    dear = _plays(FULL_A, 0.30, 0.31, 0.32, seconds=4000.0)
    assert _next(*cheap, *dear, arms=(HEAD_A, FULL_A), k=6) == HEAD_A


def test_the_gain_is_that_on_the_kth_best_and_not_on_the_best() -> None:
    # `a` will not beat the best by much, but reliably beats the third; one trial in four of `b` is the best of all.
    steady, lucky = _plays(HEAD_A, 0.50, 0.50, 0.50, 0.50), _plays(HEAD_B, 0.45, 0.90, 0.90, 0.90)
    arms = (HEAD_B, HEAD_A)
    assert _next(*steady, *lucky, arms=arms, k=1) == HEAD_B
    assert _next(*steady, *lucky, arms=arms, k=6) == HEAD_A


def test_a_diverged_trial_does_not_hide_a_good_arm() -> None:
    plays = [*_plays(HEAD_A, 0.30, 0.31, math.inf, 0.32), *_plays(HEAD_B, 0.50, 0.51, 0.52, 0.53)]
    assert _next(*plays, arms=(HEAD_B, HEAD_A), k=4) == HEAD_A


def test_trials_that_went_badly_do_not_make_an_arm_look_promising() -> None:
    # Were their distance taken for the arm's spread, its next trial could be anywhere.
    plays = [*_plays(HEAD_A, 0.50, 0.51, 0.52, 5.0, 5.0), *_plays(HEAD_B, 0.45, 0.46, 0.47, 0.48, 0.49)]
    assert _next(*plays, arms=(HEAD_A, HEAD_B), k=5) == HEAD_B


def test_an_arm_that_always_diverges_gains_nothing() -> None:
    plays = [*_plays(HEAD_A, math.inf, math.inf, seconds=0.0), *_plays(HEAD_B, 0.5, 0.6)]
    assert _next(*plays, arms=(HEAD_A, HEAD_B)) == HEAD_B
    assert gains_of(Tally(plays), k=2)[HEAD_A] == 0


def test_where_every_trial_diverged_the_first_arm_is_played() -> None:
    assert _next(*_plays(HEAD_A, math.inf), *_plays(HEAD_B, math.inf), arms=(HEAD_B, HEAD_A)) == HEAD_B


def test_trials_that_took_no_time_do_not_break_it() -> None:
    gains = gains_of(Tally([*_plays(HEAD_A, 0.5, 0.6, seconds=0.0), *_plays(HEAD_B, 0.5, 0.6)]), k=2)
    assert all(math.isfinite(gain) for gain in gains.values())


def test_only_arms_that_may_be_played_are_chosen() -> None:
    plays = [*_plays(HEAD_A, 0.1, 0.1), *_plays(HEAD_B, 0.5, 0.5)]
    assert _next(*plays, arms=(HEAD_B,)) == HEAD_B


def test_half_the_seconds_are_twice_the_gain_per_second() -> None:
    plays = [*_plays(HEAD_A, 0.4, 0.5, seconds=3.0), *_plays(HEAD_B, 0.4, 0.5, seconds=6.0)]
    gains = gains_of(Tally(plays), k=2)
    assert gains[HEAD_A] == pytest.approx(2 * gains[HEAD_B])


def test_per_trial_what_a_trial_took_does_not_count() -> None:
    cheap, dear = _plays(HEAD_A, 0.5, 0.6, seconds=1.0), _plays(FULL_A, 0.49, 0.6, seconds=100.0)
    tally, arms = Tally([*cheap, *dear]), (HEAD_A, FULL_A)
    assert choose_arm(arms, tally, floor=0, k=3, gain_per="second") == HEAD_A
    assert choose_arm(arms, tally, floor=0, k=3, gain_per="trial") == FULL_A


def test_a_diverged_trial_does_not_hide_what_the_others_cost() -> None:
    cheap, dear = _plays(HEAD_A, 0.5, 0.6, seconds=1.0), _plays(FULL_A, 0.5, 0.6, math.inf, seconds=100.0)
    assert _next(*cheap, *dear, arms=(FULL_A, HEAD_A), k=10) == HEAD_A


def test_log_losses_of_nothing_do_not_break_it() -> None:
    plays = [*_plays(HEAD_A, 0.0, 0.0), *_plays(HEAD_B, 0.1, 0.2)]
    assert _next(*plays, arms=(HEAD_A, HEAD_B), k=2) in (HEAD_A, HEAD_B)


# ---- expected improvement -------------------------------------------------------------------------------------------


def _by_integration(lead: float, width: float) -> float:
    return float(quad(lambda x: x * norm.pdf(x, lead, width), 0, max(0.0, lead) + 12 * width)[0])


@pytest.mark.parametrize("lead", [-0.5, -0.1, 0.0, 0.03, 0.4])
@pytest.mark.parametrize("width", [0.05, 0.1, 0.7])
def test_the_expected_improvement_is_what_integration_gives(lead: float, width: float) -> None:
    assert expected_improvement(lead, width) == pytest.approx(_by_integration(lead, width), rel=1e-6, abs=1e-15)


def test_a_sure_lead_is_the_expected_improvement_and_a_hopeless_one_is_none() -> None:
    assert expected_improvement(0.5, 1e-3) == pytest.approx(0.5)
    assert expected_improvement(-0.5, 1e-3) == 0


# ---- trials in flight -----------------------------------------------------------------------------------------------


def test_trials_in_flight_count_as_tried() -> None:
    begun = [Play(HEAD_B, None, 0.0), Play(HEAD_B, None, 0.0)]
    assert _next(*begun, arms=(HEAD_B, HEAD_A), floor=2) == HEAD_A
    assert _next(*begun, *_plays(HEAD_A, 0.5), arms=(HEAD_B, HEAD_A, FULL_A)) == FULL_A


def test_trials_in_flight_count_neither_as_good_nor_as_failures() -> None:
    known = [*_plays(HEAD_A, 0.5, 0.6, 0.4), *_plays(HEAD_B, 0.45, 0.55)]
    begun = [Play(HEAD_A, None, 0.0)] * 9
    assert gains_of(Tally([*known, *begun]), k=3) == gains_of(Tally(known), k=3)


def test_what_is_counted_later_changes_neither_the_tally_before_nor_the_outcome() -> None:
    known, more = [*_plays(HEAD_A, 0.5, 0.6, 0.4), *_plays(HEAD_B, 0.45)], [*_plays(HEAD_B, 0.3, math.inf)]
    first = Tally(known)
    both = first.and_(more)
    assert gains_of(first, k=3) == gains_of(Tally(known), k=3)
    assert gains_of(both, k=3) == gains_of(Tally([*more, *known]), k=3)


def test_losses_too_far_off_to_count_change_nothing_but_the_mean() -> None:
    near, far = _plays(HEAD_A, 0.40, 0.41, 0.42, 0.43), _plays(HEAD_A, 9.0, 9.1, 9.2, 9.3)
    gains = [gains_of(Tally(plays), k=4)[HEAD_A] for plays in (near, [*near, *far])]
    assert 0 < gains[1] < gains[0]


def test_an_arm_of_which_nothing_is_known_yet_waits_for_its_first_fold() -> None:
    plays = [*_plays(HEAD_A, 0.5, 0.6, 0.4), Play(HEAD_B, None, 0.0)]
    assert _next(*plays, arms=(HEAD_B, HEAD_A)) == HEAD_A
    assert HEAD_B not in gains_of(Tally(plays), k=3)
