"""Replays searches on recorded results: how much each pruner and sampler saves, and what it costs the ensemble.

python benchmarks/replay.py [--repeats 40] [--tables benchmarks/recorded]

Each table holds random recipes whose folds were all trained to the end (`record_recipes.py`). A replay takes the recipes
in the order that a sampler chooses, and trains as many folds and epochs as a pruner lets it. The exhaustive search
trains everything; its five best trials, pooled, are what the others are measured by.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState

from automl_car.curve import curve_to_beat, why_beaten
from automl_car.ensemble.quick import choose_pool, pool_losses
from automl_car.records import Epoch, FloatArray, Points, Recipe
from automl_car.search.arms import Arm, Play, choose_arm
from automl_car.search.evidence import expected_mean
from automl_car.search.pruning import PruningRule, TrialLosses, fold_spread
from automl_car.search.study import make_sampler
from automl_car.search.trial import fold_order

TOP = 5
HERE = Path(__file__).parent


# ---- the table ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Table:
    """Recorded results of R recipes on K folds of N photos.

    Attributes:
        losses: float32 (R, N), after each fold's temperature; infinite where the recipe diverged.
        curves: float32 (R, K, E), calibrated, by epoch; NaN for heads.
        seconds: (R, K).
    """

    name: str
    recipes: tuple[Recipe, ...]
    folds: np.ndarray
    labels: np.ndarray
    losses: FloatArray
    curves: FloatArray
    seconds: FloatArray

    @property
    def count(self) -> int:
        """K."""
        return int(self.folds.max()) + 1

    def fold_losses(self, recipe: int, fold: int) -> FloatArray:
        """Of the photos of one fold."""
        return self.losses[recipe, self.folds == fold]

    def epochs(self, recipe: int) -> int:
        """What one fold costs, in epochs; a head sees the cached features once or twice as often, which is one pass."""
        return self.recipes[recipe].epochs if self.recipes[recipe].tuning == "full" else 1

    def curve(self, recipe: int, fold: int) -> tuple[Epoch, ...]:
        """Epochs of a fine-tuning's fold; none for a head."""
        total = self.recipes[recipe].epochs
        losses = self.curves[recipe, fold, :total]
        if self.recipes[recipe].tuning == "head" or np.isnan(losses).any():
            return ()
        return tuple(Epoch(n + 1, total, 0.0, float(loss), 0.0, float(loss)) for n, loss in enumerate(losses))


def read_table(path: Path) -> Table:
    """A table that `record_recipes.py` wrote."""
    with np.load(path) as arrays:
        logs = arrays["negative_log_probability"].astype(np.float32) / -16
        labels = arrays["labels"].astype(np.int64)
        losses = -logs[:, np.arange(len(labels)), labels]
        folds = arrays["folds"]
        losses[:, :] = np.where(np.isfinite(arrays["log_loss"])[:, folds], losses, np.inf)
        recipes = tuple(Recipe.from_json(json.loads(str(text))) for text in arrays["recipes"])
        return Table(path.stem, recipes, folds, labels, losses, arrays["curve"], arrays["seconds"])


# ---- one replay -----------------------------------------------------------------------------------------------------


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
        seconds = float(self.table.seconds[recipe, fold]) * epochs / self.table.epochs(recipe)
        self.spent[recipe] = self.spent.get(recipe, 0.0) + seconds

    def train(self, recipe: int, fold: int) -> float:
        """Train one fold to its end, if it was not yet."""
        if fold in self.done.get(recipe, {}):
            return self.done[recipe][fold]
        self.pay(recipe, fold, self.table.epochs(recipe))
        loss = float(self.table.fold_losses(recipe, fold).mean())
        self.done.setdefault(recipe, {})[fold] = loss
        return loss

    def finish(self, recipe: int) -> None:
        """All folds are trained."""
        self.complete.append(recipe)


Pruner = Callable[[Replay, int], None]  # trains a recipe as far as it lets it, and sets `expected`
Sampler = Callable[[Replay, list[int]], int]  # chooses among the recipes that are left


def run(
    table: Table, make_sampler: Callable[[int], Sampler], make_pruner: Callable[[], Pruner], seed: int, gather: int = 0
) -> Replay:
    """One search until every recipe was tried."""
    replay, sampler, pruner = Replay(table), make_sampler(seed), make_pruner()
    left = list(range(len(table.recipes)))
    paused: list[int] = []
    while left:
        recipe = sampler(replay, left)
        left.remove(recipe)
        if replay.complete and len(replay.expected) < gather:
            fold = first_fold(replay, recipe)
            replay.expected[recipe] = _expected(replay, {fold: replay.train(recipe, fold)})
            paused.append(recipe)
        else:
            pruner(replay, recipe)
        if len(replay.expected) >= gather or not left:
            for waiting in sorted(paused, key=lambda other: replay.expected[other]):
                pruner(replay, waiting)
            paused.clear()
    return replay


def first_fold(replay: Replay, recipe: int) -> int:
    """The product takes the recipe's id for this."""
    return fold_order(f"{recipe * 2654435761 % 2**32:x}", replay.table.count)[0]


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


def paired(*, curve: bool = True, z: float = 2.0) -> Callable[[], Pruner]:
    """The product's rule: paired by photo with the fifth best, folds in rotation, a curve to beat in the first."""
    return lambda: lambda replay, recipe: _paired(replay, recipe, curve=curve, z=z)


def _paired(replay: Replay, recipe: int, *, curve: bool, z: float) -> None:
    table = replay.table
    rule = PruningRule(folds=table.count, k=TOP, z=z)
    best = sorted(replay.complete, key=lambda other: (_mean(replay, other), other))
    rivals = [_losses(table, other, range(table.count)) for other in best[: 2 * TOP]]
    for fold in fold_order(f"{recipe * 2654435761 % 2**32:x}", table.count):
        if curve and recipe not in replay.done:
            reached = _beaten(replay, recipe, fold, best, z)
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
    """Recipes in random order."""
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
        open_arms = sorted(
            {_arm(table.recipes[recipe]) for recipe in left}, key=lambda arm: (arm.tuning != "head", arm)
        )
        plays = [
            Play(_arm(table.recipes[recipe]), replay.expected[recipe], replay.spent[recipe])
            for recipe in replay.expected
        ]
        arm = choose_arm(open_arms, plays, floor=2, k=TOP)
        return advisor.choose(replay, left, lambda recipe: _arm(recipe) == arm)

    return choose


def _arm(recipe: Recipe) -> Arm:
    return Arm(recipe.tuning, recipe.backbone)


# ---- what it came to ------------------------------------------------------------------------------------------------


@cache
def pool_log_loss(table: Table, complete: frozenset[int]) -> float:
    """Log loss of the mean of five recipes, chosen forward among the complete ones."""
    losses = [table.losses[recipe] for recipe in sorted(complete)]
    return float(pool_losses([losses[place] for place in choose_pool(losses, TOP)]).mean())


def top(replay: Replay) -> frozenset[int]:
    """The five best complete recipes."""
    return frozenset(sorted(replay.complete, key=lambda recipe: (_mean(replay, recipe), recipe))[:TOP])


@dataclass(frozen=True)
class Score:
    """Shares of the exhaustive search's epochs and seconds, of its five best, and the pool's excess log loss."""

    epochs: float
    seconds: float
    kept: float
    regret: float


def score(replay: Replay, exhaustive: Replay) -> Score:
    """Compare a replay with the search that trained everything."""
    best = top(exhaustive)
    reference = pool_log_loss(replay.table, frozenset(exhaustive.complete))
    return Score(
        replay.epochs / exhaustive.epochs,
        sum(replay.spent.values()) / sum(exhaustive.spent.values()),
        len(best & set(replay.complete)) / TOP,
        pool_log_loss(replay.table, frozenset(replay.complete)) / reference - 1,
    )


PRUNERS: dict[str, Callable[[], Pruner]] = {
    "none": stock(optuna.pruners.NopPruner),
    "Median": stock(optuna.pruners.MedianPruner),
    "Percentile (25)": stock(lambda: optuna.pruners.PercentilePruner(25.0)),
    "SuccessiveHalving": stock(optuna.pruners.SuccessiveHalvingPruner),
    "Hyperband": stock(lambda: optuna.pruners.HyperbandPruner(max_resource=5)),
    "Wilcoxon": stock(optuna.pruners.WilcoxonPruner),
    "ours, folds only": paired(curve=False),
    "ours": paired(),
}
SAMPLERS: dict[str, Callable[[int], Sampler]] = {"random": random_order, "TPE": tpe, "ours": arms}


def main() -> None:
    """Replay every pair of pruner and sampler, and print a table with 95 % intervals over the repeats."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--tables", type=Path, default=HERE / "recorded")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for table in (read_table(path) for path in sorted(options.tables.glob("*.npz"))):
        exhaustive = run(table, random_order, PRUNERS["none"], 0)
        best = pool_log_loss(table, frozenset(exhaustive.complete))
        print(
            f"\n{table.name}: {len(table.recipes)} recipes, all folds: {exhaustive.epochs:.0f} fold-epochs, {best:.4f}"
        )
        print(
            "| pruner | sampler | fold-epochs | seconds | top-5 kept | excess log loss |\n| --- | --- | ---: | ---: | ---: | ---: |"
        )
        for sampler, make_sampler in SAMPLERS.items():
            for pruner, make_pruner in PRUNERS.items():
                scores = [
                    score(run(table, make_sampler, make_pruner, seed), exhaustive) for seed in range(options.repeats)
                ]
                print(f"| {pruner} | {sampler} | {' | '.join(cells(scores))} |", flush=True)


def cells(scores: Sequence[Score]) -> Iterator[str]:
    """Mean and 95 % interval of each number, as percentages."""
    for name in ("epochs", "seconds", "kept", "regret"):
        values = [100 * getattr(score, name) for score in scores]
        wide = 1.96 * statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0
        yield f"{statistics.fmean(values):.1f} ± {wide:.1f} %"


if __name__ == "__main__":
    main()
