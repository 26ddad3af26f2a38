"""A search ends when its last trials brought no gain worth having."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial

from automl_car.errors import StoreError
from automl_car.records import FloatArray
from automl_car.search.evidence import FoldStore
from automl_car.search.pruning import TrialLosses
from automl_car.search.stopping import CANDIDATES, Ended, Patience, Verdict, best, ended_trials, expected_gain
from automl_car.search.study import INTERRUPTED

Desk = Any  # see conftest.py
ROWS = 300


class Losses:
    """Per-photo losses in two folds of trials whose recipes are called by their log loss; counts what is read."""

    def __init__(self, spread: float = 0.0) -> None:
        self.read: list[str] = []
        self._spread = spread

    def losses(self, number: int, recipe_id: str, folds: Sequence[int]) -> TrialLosses:
        self.read.append(recipe_id)
        noise = np.random.default_rng(number).normal(size=ROWS)
        rows = float(recipe_id) + self._spread * (noise - noise.mean())
        return TrialLosses(number, {1: rows[: ROWS // 2], 0: rows[ROWS // 2 :]})


def _ended(*losses: float | None) -> list[Ended]:
    """Trials of these log losses; None for one that was pruned."""
    return [
        Ended(number, str(loss) if loss is not None else f"pruned {number}", loss, (0, 1))
        for number, loss in enumerate(losses)
    ]


# ---- which trials count ---------------------------------------------------------------------------------------------


def test_the_best_complete_trials_are_candidates_and_equal_recipes_once() -> None:
    trials = _ended(0.5, None, 0.3, 0.4)
    again = Ended(9, "0.3", 0.3, (0, 1))
    assert [trial.number for trial in best([*trials, again], 2)] == [2, 3]


# ---- the expected gain ----------------------------------------------------------------------------------------------


def _bootstrap(gains: FloatArray, draws: int = 20_000) -> float:
    rows = np.random.default_rng(1).integers(0, len(gains), (draws, len(gains)))
    return float(np.maximum(gains[rows].mean(axis=1), 0).mean())


@pytest.mark.parametrize("lead", [-1.0, 0.0, 1.0, 3.0])
def test_the_closed_form_is_the_bootstrap_mean_of_what_is_gained(lead: float) -> None:
    gains = np.random.default_rng(0).standard_t(3, ROWS)
    gains += lead * gains.std() / np.sqrt(ROWS) - gains.mean()
    zero = np.zeros(ROWS)
    assert expected_gain(gains, zero) == pytest.approx(_bootstrap(gains), rel=0.02)


@pytest.mark.parametrize("lead", [-1.0, 0.0, 1.0])
def test_it_is_near_enough_where_a_few_photos_make_the_gain(lead: float) -> None:
    gains = np.random.default_rng(0).lognormal(0, 1.5, ROWS)
    gains += lead * gains.std() / np.sqrt(ROWS) - gains.mean()
    assert expected_gain(gains, np.zeros(ROWS)) == pytest.approx(_bootstrap(gains), rel=0.2)


def test_without_noise_the_expected_gain_is_the_gain() -> None:
    now = np.random.default_rng(0).random(ROWS)
    assert expected_gain(now, now) == 0.0
    assert expected_gain(now + 0.25, now) == pytest.approx(0.25)
    assert expected_gain(now, now + 0.25) == pytest.approx(0.0, abs=1e-12)


def test_fewer_photos_leave_more_to_hope_for() -> None:
    gains = np.random.default_rng(0).normal(size=3000)
    gains -= gains.mean()
    few = gains[:30] - gains[:30].mean()
    assert expected_gain(few, np.zeros(30)) > 5 * expected_gain(gains, np.zeros(3000))


# ---- the verdict ----------------------------------------------------------------------------------------------------


def _stops(trials: list[Ended], patience: int = 2, k: int = 2, losses: Losses | None = None) -> bool:
    verdict = Patience(patience, k, losses or Losses()).judge(trials)
    return verdict is not None and verdict.enough


def test_trials_that_do_not_reach_the_pool_end_the_search() -> None:
    assert _stops(_ended(0.4, 0.5, 0.9, 0.8))


def test_trials_that_were_pruned_or_failed_end_it_too() -> None:
    assert _stops(_ended(0.4, 0.5, None, None))


def test_a_gain_worth_having_lets_it_go_on() -> None:
    assert not _stops(_ended(0.4, 0.5, 0.9, 0.3))


def test_a_search_is_judged_alike_whether_or_not_it_was_begun_again() -> None:
    trials = _ended(0.5, 0.45, 0.44, 0.6, None, 0.43, 0.7)
    patience = Patience(2, 2, Losses(spread=0.3))
    from_the_start = [patience.judge(trials[:count]) for count in range(len(trials) + 1)]
    anew = [Patience(2, 2, Losses(spread=0.3)).judge(trials[:count]) for count in range(len(trials) + 1)]
    assert from_the_start == anew


@pytest.mark.parametrize(("share", "stops"), [(0.004, True), (0.006, False)])
def test_half_a_percent_of_the_pools_log_loss_is_worth_having(share: float, stops: bool) -> None:
    assert _stops(_ended(0.4, 0.5, 0.9, 0.4 / (1 + share))) is stops


def test_a_gain_that_may_be_luck_lets_it_go_on() -> None:
    trials = _ended(0.4, 0.9, 0.3996)
    assert _stops(trials, k=1, losses=Losses())
    assert not _stops(trials, k=1, losses=Losses(spread=0.2))


def test_a_trial_that_is_none_of_the_best_but_helps_them_lets_it_go_on() -> None:
    class Halves(Losses):
        """The last trial is good where the others are bad."""

        def losses(self, number: int, recipe_id: str, folds: Sequence[int]) -> TrialLosses:
            good, bad = np.full(ROWS, 0.1), np.full(ROWS, 2.0)
            return TrialLosses(number, {1: good, 0: bad} if number == 3 else {0: good, 1: bad})

    assert not _stops(_ended(1.05, 1.05001, 9.0, 1.05002), losses=Halves())


def test_older_gains_do_not_count() -> None:
    assert not _stops(_ended(0.4, 0.5, 0.1, 0.9, 0.8), patience=3)
    assert _stops(_ended(0.4, 0.5, 0.1, 0.9, 0.8), patience=2)


def test_a_pool_that_was_not_whole_before_is_not_judged() -> None:
    assert Patience(2, 3, Losses()).judge(_ended(0.4, 0.5, 0.9, 0.9)) is None


def test_before_there_are_as_many_trials_nothing_is_judged() -> None:
    assert Patience(5, 1, Losses()).judge(_ended(0.4, 0.5, 0.9)) is None


def test_a_damaged_fold_is_no_reason_to_stop() -> None:
    class Damaged:
        def losses(self, number: int, recipe_id: str, folds: Sequence[int]) -> TrialLosses:
            raise StoreError("damaged")

    assert Patience(2, 2, Damaged()).judge(_ended(0.4, 0.5, 0.9, 0.9)) is None


def test_a_trial_is_read_once() -> None:
    losses, trials = Losses(), _ended(*[0.4 + place / 100 for place in range(10)])
    patience = Patience(2, 2, losses)
    for count in range(4, len(trials) + 1):
        patience.judge(trials[:count])
    assert len(losses.read) == len(set(losses.read)) == 10


def test_what_is_no_longer_compared_is_forgotten() -> None:
    trials = _ended(*[round(1 - place / 100, 2) for place in range(80)])
    patience = Patience(3, 2, Losses())
    for count in range(5, len(trials) + 1):
        patience.judge(trials[:count])
    assert len(patience._pools) == 4
    assert len(patience._losses) <= CANDIDATES + 3


def test_the_reason_tells_what_was_gained_of_what() -> None:
    verdict = Verdict(trials=10, gained=0.00042, expected=0.0009, log_loss=0.42101)
    assert verdict.reason == "the last 10 trials gained 0.0004 of 0.4210: more of them would not pay"


def test_a_pool_that_got_worse_gained_nothing() -> None:
    assert "gained 0.0000 of" in Verdict(trials=2, gained=-0.003, expected=0.0, log_loss=0.4).reason


# ---- a real study ---------------------------------------------------------------------------------------------------


def test_trials_of_a_study_are_told_by_how_they_ended(tmp_path: Path) -> None:
    study = optuna.create_study()
    attributes = {"recipe_id": "a", "fold_log_loss": {"1": 0.4, "0": 0.6}}
    study.add_trial(create_trial(value=0.5, user_attrs=attributes))
    study.add_trial(create_trial(state=TrialState.PRUNED, user_attrs={"recipe_id": "b"}))
    study.add_trial(create_trial(state=TrialState.FAIL, user_attrs={INTERRUPTED: True}))
    study.add_trial(create_trial(state=TrialState.FAIL, user_attrs={"recipe_id": "c"}))
    assert ended_trials(study) == (
        Ended(0, "a", 0.5, (0, 1)),
        Ended(1, "b", None, ()),
        Ended(3, "c", None, ()),
    )


def test_trials_stand_in_the_order_in_which_they_ended() -> None:
    study = optuna.create_study()
    first, second = study.ask(), study.ask()
    for trial in (second, first):
        trial.set_user_attr("recipe_id", f"recipe {trial.number}")
        study.tell(trial, 0.5)
    assert [trial.recipe_id for trial in ended_trials(study)] == ["recipe 1", "recipe 0"]


def _patience(desk: Desk, trials: int, k: int) -> Patience:
    job = desk.job()
    return Patience(trials, k, FoldStore(job.directory, job.labels))


def test_a_search_whose_trials_gain_nothing_stops(desk: Desk) -> None:
    desk.first, made_up = (), [0.4, 0.5, 0.3, 0.9, 0.8, 0.1]
    desk.executor.train = lambda task: made_up[len(desk.study().trials) - 1]
    patience = _patience(desk, trials=2, k=2)
    assert len(desk.go(6, before_trial=lambda: patience.why_stop(desk.study()))) == 5
    assert desk.view.notes[-1] == "the last 2 trials gained 0.0000 of 0.3000: more of them would not pay"


def test_trials_that_are_enqueued_are_waited_for(desk: Desk) -> None:
    desk.first, made_up = (), [0.4, 0.5, 0.9, 0.8]
    desk.executor.train = lambda task: made_up[len(desk.study().trials) - 1]
    desk.go(4)
    study = desk.study()
    study.enqueue_trial({"head.shrinkage": 0.1})
    assert _patience(desk, trials=2, k=2).why_stop(study) is None
