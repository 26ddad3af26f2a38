"""Replays searches on recorded results: how much each pruner and sampler saves, and what it costs the ensemble.

python benchmarks/replay.py [--repeats 40] [--tables benchmarks/recorded]

Each table holds random recipes whose folds were all trained to the end (`record_recipes.py`). A replay takes them in
the order that a sampler chooses, and trains as many folds and epochs as a pruner lets it. The exhaustive search trains
everything. Every search is worth the log loss of a pool of five of its complete recipes, chosen forward.
"""

from __future__ import annotations

import argparse
import math
import statistics
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import optuna
from recorded_table import Table, read_table
from replayed_search import TOP, Method, Replay, arms, paired, random_order, run, stock, tpe

from automl_car.ensemble.quick import choose_pool, pool_losses
from automl_car.search.pruning import PruningRule

NONE = Method(stock(optuna.pruners.NopPruner))
METHODS = {
    "none": NONE,
    "MedianPruner": Method(stock(optuna.pruners.MedianPruner)),
    "PercentilePruner(25)": Method(stock(lambda: optuna.pruners.PercentilePruner(25.0))),
    "SuccessiveHalvingPruner": Method(stock(optuna.pruners.SuccessiveHalvingPruner)),
    "HyperbandPruner": Method(stock(lambda: optuna.pruners.HyperbandPruner(max_resource=5))),
    "WilcoxonPruner": Method(stock(optuna.pruners.WilcoxonPruner)),
    "ours": Method(paired(), gather=PruningRule.startup_trials),
    "ours, one trial at a time": Method(paired()),
    "ours, between folds only": Method(paired(folds_only=True), gather=PruningRule.startup_trials),
}
SAMPLERS = {"random": random_order, "TPE": tpe, "ours": arms}


@dataclass(frozen=True)
class Score:
    """Shares of what the exhaustive search trains, of its five best recipes, and the pool's excess log loss."""

    epochs: float
    seconds: float
    kept: float
    excess: float


def main() -> None:
    """Replay every pair of pruner and sampler, and print means with 95 % intervals over the repeats."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--tables", type=Path, default=Path(__file__).parent / "recorded")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    for path in sorted(options.tables.glob("*.npz")):
        report(read_table(path), options.repeats)


def report(table: Table, repeats: int) -> None:
    """Print one table."""
    exhaustive = run(table, random_order, NONE, 0)
    full = sum(recipe.tuning == "full" for recipe in table.recipes)
    print(
        f"\n{table.name}: {len(table.recipes)} recipes, {full} of them fine-tunings; all folds are "
        f"{exhaustive.epochs:.0f} fold-epochs and {sum(exhaustive.spent.values()):.0f} s, "
        f"and come to {pool_log_loss(table, frozenset(exhaustive.complete)):.4f}\n"
    )
    print("| pruner | sampler | fold-epochs | seconds | top 5 kept | excess log loss |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    for sampler, begin in SAMPLERS.items():
        for name, method in METHODS.items():
            scores = [score(run(table, begin, method, seed), exhaustive) for seed in range(repeats)]
            print(f"| {name} | {sampler} | {' | '.join(cells(scores))} |", flush=True)


def score(replay: Replay, exhaustive: Replay) -> Score:
    """Compare a replay with the search that trained everything."""
    best, reference = top(exhaustive), pool_log_loss(replay.table, frozenset(exhaustive.complete))
    return Score(
        replay.epochs / exhaustive.epochs,
        sum(replay.spent.values()) / sum(exhaustive.spent.values()),
        len(best & set(replay.complete)) / TOP,
        pool_log_loss(replay.table, frozenset(replay.complete)) / reference - 1,
    )


@cache
def pool_log_loss(table: Table, complete: frozenset[int]) -> float:
    """Log loss of the mean of five recipes, chosen forward among the complete ones."""
    losses = [table.losses[recipe] for recipe in sorted(complete)]
    return float(pool_losses([losses[place] for place in choose_pool(losses, TOP)]).mean())


def top(replay: Replay) -> frozenset[int]:
    """The five best complete recipes."""
    mean = {recipe: statistics.fmean(replay.done[recipe].values()) for recipe in replay.complete}
    return frozenset(sorted(mean, key=lambda recipe: (mean[recipe], recipe))[:TOP])


def cells(scores: Sequence[Score]) -> Iterator[str]:
    """Mean and 95 % interval of each number, as percentages."""
    for name in ("epochs", "seconds", "kept", "excess"):
        values = [100 * getattr(score, name) for score in scores]
        wide = 1.96 * statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0
        yield f"{statistics.fmean(values):.1f} ± {wide:.1f} %"


if __name__ == "__main__":
    main()
