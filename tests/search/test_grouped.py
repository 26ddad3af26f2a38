"""TPE in groups: the same as Optuna's where all trials have the same parameters, and better where they do not."""

from __future__ import annotations

import statistics
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from automl_car.search.grouped import GroupedSampler, group_of
from automl_car.search.leaving_out import LeavingOut

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
UNIT = FloatDistribution(0, 1)


def tpe(seed: int, startup: int = 10) -> optuna.samplers.TPESampler:
    return optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True, n_startup_trials=startup)


def trial(value: float, **params: float) -> FrozenTrial:
    return create_trial(value=value, params=params, distributions=dict.fromkeys(params, UNIT))


def asked(study: optuna.Study, sampler: Any, *names: str) -> list[float]:
    study.sampler = sampler
    one = study.ask()
    values = [one.suggest_float(name, 0, 1) for name in names]
    study.tell(one, state=TrialState.FAIL)
    return values


@pytest.fixture
def study() -> optuna.Study:
    """Thirty trials with the same two parameters; 0.8 and 0.2 are best."""
    made = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    made.optimize(lambda one: (one.suggest_float("a", 0, 1) - 0.8) ** 2 + (one.suggest_float("b", 0, 1) - 0.2) ** 2, 30)
    return made


@pytest.fixture
def mixed() -> optuna.Study:
    """Fifty trials that all have `kind`, half of them `rate` too: those are worse, and best at 0.8."""
    made = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=2))
    for number in range(50):
        place = (7 * number % 50) / 50
        params = {"kind": place, "rate": place} if number % 2 else {"kind": place}
        made.add_trial(trial(1 + (place - 0.8) ** 2 if number % 2 else 0.1 + place, **params))
    return made


@pytest.mark.parametrize("seed", range(5))
def test_where_all_trials_have_the_same_parameters_it_chooses_as_optuna_does(study: optuna.Study, seed: int) -> None:
    assert asked(study, GroupedSampler(tpe(seed)), "a", "b") == asked(study, tpe(seed), "a", "b")


def test_a_group_is_what_trials_have_together_and_others_have_not() -> None:
    trials = [trial(1, a=0, b=0, c=0), trial(1, a=0, b=0), trial(1, d=0)]
    groups = [set(group_of(name, [one for one in trials if name in one.params], trials)) for name in "abcd"]
    assert groups == [{"a", "b"}, {"a", "b"}, {"c"}, {"d"}]


def test_trials_of_a_group_are_ranked_among_themselves(mixed: optuna.Study) -> None:
    # Ranked among all, none of them is good, and the rate is chosen at random: 0.5 in the mean.
    rates = [asked(mixed, GroupedSampler(tpe(seed)), "rate")[0] for seed in range(30)]
    assert statistics.fmean(rates) == pytest.approx(0.8, abs=0.1)


def test_parameters_that_the_trial_does_not_have_are_not_chosen(mixed: optuna.Study) -> None:
    mixed.sampler = GroupedSampler(tpe(0))
    one = mixed.ask()
    one.suggest_float("kind", 0, 1)
    assert set(mixed.trials[one.number].params) == {"kind"}
    assert mixed.trials[one.number].system_attrs == {}


class Noting:
    """A sampler that notes what it is asked to choose at once."""

    def __init__(self, own: Any) -> None:
        self.own = own
        self.asked: list[set[str]] = []

    def sample_relative(self, study: Any, one: FrozenTrial, space: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(set(space))
        return dict(self.own.sample_relative(study, one, space))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.own, name)


@pytest.fixture
def newer() -> optuna.Study:
    """The best trials have `a` and `b`; the latest, more than are looked at, have `c` as well."""
    made = optuna.create_study()
    made.add_trials([trial(0.1, a=0.1, b=0.1) for _ in range(30)])
    made.add_trials([trial(1 + number / 300, a=0.5, b=0.5, c=0.5) for number in range(300)])
    return made


def test_what_is_settled_is_not_chosen_again_with_what_went_with_it_lately(newer: optuna.Study) -> None:
    noting = Noting(tpe(0))
    asked(newer, GroupedSampler(noting), "a", "c", "b")  # type: ignore[arg-type]
    assert noting.asked == [{"a", "b"}, {"c"}]


def test_who_asks_again_gets_the_rest_of_the_group_anew(study: optuna.Study) -> None:
    noting = Noting(tpe(0))
    sampler = GroupedSampler(noting)  # type: ignore[arg-type]
    study.sampler = optuna.samplers.RandomSampler(seed=0)
    one = study.get_trials()[0]
    for name in ("a", "a", "b"):
        sampler.sample_independent(study, create_trial(state=TrialState.WAITING), name, UNIT)
    assert (noting.asked, set(one.params)) == ([{"a", "b"}, {"a", "b"}], {"a", "b"})


def test_too_few_trials_of_a_group_are_no_ground_to_choose_on(mixed: optuna.Study) -> None:
    rates = [asked(mixed, GroupedSampler(tpe(seed, startup=26)), "rate")[0] for seed in range(30)]
    assert statistics.fmean(rates) == pytest.approx(0.5, abs=0.15)


def test_trials_that_run_keep_others_away_from_where_they_are(study: optuna.Study) -> None:
    before = [asked(study, GroupedSampler(tpe(seed)), "a", "b") for seed in range(10)]
    for a, b in before:
        study.enqueue_trial({"a": a, "b": b})
        running = study.ask()
        running.suggest_float("a", 0, 1)
        running.suggest_float("b", 0, 1)
    assert [asked(study, GroupedSampler(tpe(seed)), "a", "b") for seed in range(10)] != before


def test_what_was_chosen_for_another_range_is_not_taken(study: optuna.Study) -> None:
    study.sampler = GroupedSampler(tpe(0))
    one = study.ask()
    one.suggest_float("a", 0, 1)
    assert 5 <= one.suggest_float("b", 5, 6) <= 6


def test_who_asks_again_gets_another_value() -> None:
    made = optuna.create_study()
    choices = CategoricalDistribution(("good", "bad"))
    for number in range(20):
        name = "good" if number % 2 else "bad"
        made.add_trial(create_trial(value=number % 2, params={"name": name}, distributions={"name": choices}))
    for seed in range(10):
        made.sampler = LeavingOut(GroupedSampler(tpe(seed)), {"name": frozenset({"bad"})}, seed)
        assert made.ask().suggest_categorical("name", ("good", "bad")) == "good"
