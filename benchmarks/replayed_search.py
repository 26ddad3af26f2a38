"""Searches on a recorded table: the product's own rules and Optuna's pruners, on results instead of training."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState
from recorded_table import Table

from automl_car.curve import curve_to_beat, why_beaten
from automl_car.fold_records import Points
from automl_car.records import Recipe, fingerprint
from automl_car.search.arms import Arm, Play, Tally, choose_arm
from automl_car.search.chooser import FLOOR
from automl_car.search.evidence import expected_mean
from automl_car.search.pruning import PruningRule, TrialLosses, fold_spread
from automl_car.search.study import make_sampler
from automl_car.search.trial import fold_order

TOP = 5


@dataclass
class Replay:
    """A search on a table: what has been trained so far."""

    table: Table
    done: dict[int, dict[int, float]] = field(default_factory=dict)  # recipe -> {fold: log loss}
    expected: dict[int, float] = field(default_factory=dict)  # recipe -> what TPE is told
    complete: list[int] = field(default_factory=list)
    epochs: float = 0.0
    spent: dict[int, float] = field(default_factory=dict)  # recipe -> seconds

    def pay(self, recipe: int, fold: int, epochs: int) -> None:
        """Count what was trained of a fold."""
        self.epochs += epochs
        seconds = float(self.table.seconds[recipe, fold]) * epochs / self.table.epochs(recipe, fold)
        self.spent[recipe] = self.spent.get(recipe, 0.0) + seconds

    def train(self, recipe: int, fold: int) -> float:
        """Train one fold to its end, if it was not yet."""
        if fold in self.done.get(recipe, {}):
            return self.done[recipe][fold]
        self.pay(recipe, fold, self.table.epochs(recipe, fold))
        loss = float(self.table.fold_losses(recipe, fold).mean())
        self.done.setdefault(recipe, {})[fold] = loss
        return loss

    def finish(self, recipe: int) -> None:
        """All folds are trained."""
        self.complete.append(recipe)


Pruner = Callable[[Replay, int], None]  # trains a recipe as far as it lets it, and sets `expected`
Sampler = Callable[[Replay, list[int]], int]  # chooses among the recipes that are left


@dataclass(frozen=True)
class Method:
    """How a search prunes.

    Attributes:
        begin: makes the pruner of one search.
        gather: trials that get one fold each, after the first one, before the best of them go on.
    """

    begin: Callable[[], Pruner]
    gather: int = 0


def run(table: Table, begin_sampler: Callable[[int], Sampler], method: Method, seed: int) -> Replay:
    """One search until every recipe was tried."""
    replay, sampler, pruner = Replay(table), begin_sampler(seed), method.begin()
    left = list(range(len(table.recipes)))
    paused: list[int] = []
    while left:
        recipe = sampler(replay, left)
        left.remove(recipe)
        if replay.complete and len(replay.expected) < method.gather:
            fold = first_fold(replay, recipe)
            replay.expected[recipe] = _expected(replay, {fold: replay.train(recipe, fold)})
            paused.append(recipe)
        else:
            pruner(replay, recipe)
        if len(replay.expected) >= method.gather or not left:
            for waiting in sorted(paused, key=lambda other: replay.expected[other]):
                pruner(replay, waiting)
            paused.clear()
    return replay


def first_fold(replay: Replay, recipe: int) -> int:
    """The fold that a recipe begins with, as in the product."""
    return fold_order(fingerprint(replay.table.recipes[recipe].to_json()), replay.table.count)[0]


# ---- pruners --------------------------------------------------------------------------------------------------------


def stock(make: Callable[[], optuna.pruners.BasePruner]) -> Callable[[], Pruner]:
    """One of Optuna's pruners: a step is a fold, and the running mean is reported."""

    def begin() -> Pruner:
        study = optuna.create_study(pruner=make())

        def prune(replay: Replay, recipe: int) -> None:
            trial = study.ask()
            count = replay.table.count
            for fold in range(count):
                replay.train(recipe, fold)
                mean = statistics.fmean(replay.done[recipe].values())
                trial.report(mean, step=fold)
                replay.expected[recipe] = mean
                if not math.isfinite(mean) or (fold < count - 1 and trial.should_prune()):
                    study.tell(trial, state=TrialState.PRUNED)
                    return
            study.tell(trial, mean)
            replay.finish(recipe)

        return prune

    return begin


def paired(*, folds_only: bool = False) -> Callable[[], Pruner]:
    """The product's rule with its defaults; `folds_only` leaves out the curve to beat in the first fold."""
    return lambda: lambda replay, recipe: _paired(replay, recipe, folds_only=folds_only)


def _paired(replay: Replay, recipe: int, *, folds_only: bool) -> None:
    table = replay.table
    rule = PruningRule(folds=table.count, k=TOP)
    best = sorted(replay.complete, key=lambda other: (_mean(replay, other), other))
    rivals = [_losses(table, other, range(table.count)) for other in best[: 2 * TOP]]
    first = first_fold(replay, recipe)
    for fold in [(first + step) % table.count for step in range(table.count)]:
        if not folds_only and recipe not in replay.done:
            reached = _beaten(replay, recipe, fold, best, rule.z)
            if reached is not None:
                replay.expected[recipe] = _expected(replay, {fold: reached})
                return
        replay.train(recipe, fold)
        replay.expected[recipe] = _expected(replay, replay.done[recipe])
        if rule.explain(_losses(table, recipe, replay.done[recipe]), rivals):
            return
    replay.finish(recipe)


def _beaten(replay: Replay, recipe: int, fold: int, best: Sequence[int], z: float) -> float | None:
    """Pay for the epochs until the fold falls behind and return its log loss there; None when it never does."""
    table = replay.table
    curve = table.curve(recipe, fold)
    if len(best) < TOP or not curve:
        return None
    spread = fold_spread([replay.done[other] for other in best[: 2 * TOP]])
    known = [table.curve(other, done) for other, folds in replay.done.items() for done in folds]
    to_beat: Points = curve_to_beat([known for known in known if known], replay.done[best[TOP - 1]][fold] + z * spread)
    for last in range(1, len(curve)):
        if why_beaten(curve[:last], to_beat):
            replay.pay(recipe, fold, last)
            return curve[last - 1].calibrated
    return None


def _losses(table: Table, recipe: int, folds: Sequence[int] | range | dict[int, float]) -> TrialLosses:
    return TrialLosses(recipe, {fold: table.fold_losses(recipe, fold) for fold in folds})


def _mean(replay: Replay, recipe: int) -> float:
    return statistics.fmean(replay.done[recipe].values())


def _expected(replay: Replay, done: dict[int, float]) -> float:
    return expected_mean(done, [replay.done[other] for other in replay.complete])


# ---- samplers -------------------------------------------------------------------------------------------------------


def random_order(seed: int) -> Sampler:
    """Takes recipes in random order."""
    random = np.random.default_rng(seed)
    return lambda replay, left: int(random.choice(left))


@dataclass
class Advisor:
    """TPE as the product sets it up; of the recipes that are left, the one nearest to its proposal is taken."""

    seed: int
    study: optuna.Study = field(default_factory=optuna.create_study)
    chosen: list[int] = field(default_factory=list)

    def choose(self, replay: Replay, left: list[int], among: Callable[[Recipe], bool] = lambda recipe: True) -> int:
        """Tell TPE of the last recipe, ask it, and take what is nearest."""
        if self.chosen:
            self.study.add_trial(ended(replay, self.chosen[-1]))
        self.study.sampler = make_sampler(self.seed, len(self.chosen), 10)
        trial = self.study.ask()
        wanted = suggest(trial)
        self.study.tell(trial, state=TrialState.FAIL)  # TPE does not learn from those
        table = replay.table
        near = [recipe for recipe in left if among(table.recipes[recipe])] or left
        self.chosen.append(min(near, key=lambda recipe: distance(wanted, parameters(table.recipes[recipe]))))
        return self.chosen[-1]


def ended(replay: Replay, recipe: int) -> optuna.trial.FrozenTrial:
    """What the study knows of a recipe that was tried."""
    params = parameters(replay.table.recipes[recipe])
    spaces = {name: SPACE[name] for name in params}
    value = replay.expected[recipe]
    if recipe in replay.complete:
        return optuna.trial.create_trial(value=value, params=params, distributions=spaces)
    steps = {max(0, len(replay.done.get(recipe, {})) - 1): value}
    state = TrialState.PRUNED
    return optuna.trial.create_trial(state=state, params=params, distributions=spaces, intermediate_values=steps)


SPACE: dict[str, optuna.distributions.BaseDistribution] = {
    "tuning": CategoricalDistribution(("full", "head")),
    "backbone": CategoricalDistribution(("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")),
    "head.image_size": CategoricalDistribution((96, 128)),
    "head.learning_rate": FloatDistribution(5e-5, 5e-3, log=True),
    "head.shrinkage": FloatDistribution(0.05, 0.8),
    "head.power": FloatDistribution(0.3, 1.0),
    "full.image_size": CategoricalDistribution((64, 96)),
    "full.augmentation": CategoricalDistribution(("heavy", "light", "medium", "none", "rand", "trivial")),
    "full.learning_rate": FloatDistribution(1e-6, 1e-1, log=True),
    "full.weight_decay": FloatDistribution(1e-3, 0.3, log=True),
    "full.layer_decay": FloatDistribution(0.7, 1.0),
    "full.label_smoothing": FloatDistribution(0.0, 0.1),
    "full.mixup": FloatDistribution(0.0, 0.5),
    "full.cutmix": FloatDistribution(0.0, 0.5),
}


def suggest(trial: optuna.Trial) -> dict[str, Any]:
    """A point of the space that the table's recipes were drawn from."""
    shared = {name: trial._suggest(name, SPACE[name]) for name in ("tuning", "backbone")}
    own = [name for name in SPACE if name.startswith(f"{shared['tuning']}.")]
    return shared | {name: trial._suggest(name, SPACE[name]) for name in own}


def parameters(recipe: Recipe) -> dict[str, Any]:
    """The same point for a recorded recipe."""
    own = {name: getattr(recipe, name.partition(".")[2]) for name in SPACE if name.startswith(f"{recipe.tuning}.")}
    return {"tuning": recipe.tuning, "backbone": recipe.backbone, **own}


def distance(one: dict[str, Any], other: dict[str, Any]) -> float:
    """How far two points are: a choice that differs counts as much as a whole range, tuning and backbone more."""
    total = 0.0
    for name in one.keys() & other.keys():
        space = SPACE[name]
        if isinstance(space, FloatDistribution):
            scale = math.log if space.log else float
            total += abs(scale(one[name]) - scale(other[name])) / (scale(space.high) - scale(space.low))
        else:
            total += (10.0 if name == "tuning" else 3.0 if name == "backbone" else 1.0) * (one[name] != other[name])
    return total


def tpe(seed: int) -> Sampler:
    """TPE chooses everything."""
    return Advisor(seed).choose


def arms(seed: int) -> Sampler:
    """The product's: the arm of the highest gain per second, and TPE within it."""
    advisor = Advisor(seed)

    def choose(replay: Replay, left: list[int]) -> int:
        table = replay.table
        there = {_arm(table.recipes[recipe]) for recipe in left}
        in_order = sorted(there, key=lambda arm: (arm.tuning != "head", arm))
        plays = [
            Play(_arm(table.recipes[recipe]), replay.expected[recipe], replay.spent[recipe])
            for recipe in replay.expected
        ]
        arm = choose_arm(in_order, Tally(plays), floor=FLOOR, k=TOP)
        return advisor.choose(replay, left, lambda recipe: _arm(recipe) == arm)

    return choose


def _arm(recipe: Recipe) -> Arm:
    return Arm(recipe.tuning, recipe.backbone)
