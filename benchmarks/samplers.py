"""Whether TPE chooses better where it ranks each group of parameters among its own trials: the product against Optuna.

python benchmarks/samplers.py [--trials 50 200] [--worlds 20]

Searches without training, on the real space: the arms are chosen as the product does, the rest by its sampler, or by
Optuna's own `TPESampler(multivariate=True, group=True)` with the same settings. What a recipe is worth is made up, in
each world otherwise: each backbone, augmentation and choice has a value, each number an optimum. Printed are the best
log loss and the mean of the five best, both means over the worlds, how often each sampler had the better five, and
processor time of a choice.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import TrialState
from storage import real_space

FOLDS, STARTUP, KEPT = 5, 10, 10
LUCK = 0.02  # standard deviation of what a first fold shows of a recipe


def main() -> None:
    """Compare, and print the table."""
    from automl_car.search.study import make_sampler

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, nargs="+", default=[50, 200])
    parser.add_argument("--worlds", type=int, default=20)
    options = parser.parse_args()
    samplers = {"own trials (product)": make_sampler, "all trials (Optuna)": optunas}
    print("| trials | ranked among | best | five best | better in | ms a choice |")
    print("| ---: | --- | ---: | ---: | ---: | ---: |")
    worlds = range(options.worlds)
    for trials in options.trials:
        found = {name: [search(make, trials, world) for world in worlds] for name, make in samplers.items()}
        for label, own in found.items():
            (other,) = (results for key, results in found.items() if key != label)
            better = sum(mine.five < theirs.five for mine, theirs in zip(own, other, strict=True))
            best, five, took = (statistics.fmean(getattr(one, name) for one in own) for name in Found.__annotations__)
            print(f"| {trials} | {label} | {best:.4f} | {five:.4f} | {better} | {1000 * took:.1f} |", flush=True)


def optunas(seed: int, ended: int, startup: int) -> Any:
    """Optuna's sampler, seeded by the place of the trial as the product's is."""
    from automl_car.records import fingerprint

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            multivariate=True,
            group=True,
            constant_liar=True,
            n_startup_trials=startup,
            seed=int(fingerprint([seed, ended]), 16) % 2**32,
        )


@dataclass(frozen=True)
class Found:
    """What a search came to: best log loss, mean of the five best, seconds of processor time a choice."""

    best: float
    five: float
    took: float


class Quiet:
    """A view that tells nothing."""

    def note(self, text: str) -> None:
        pass


def search(make: Callable[[int, int, int], Any], trials: int, world: int) -> Found:
    """One search; trials that look worse than the ten best after their first fold are pruned."""
    from automl_car.catalog.records import PluginSources
    from automl_car.records import Folds
    from automl_car.search.chooser import Chooser
    from automl_car.search.cost import Counts
    from automl_car.search.job import Job
    from automl_car.search.space import suggest_recipe

    study, space, nowhere = optuna.create_study(), real_space(), Path("nowhere")
    folds, labels = Folds(np.arange(100) % FOLDS, FOLDS, "made up"), np.zeros(100, np.int64)
    job: Any = Job(study, space, None, None, folds, labels, nowhere, nowhere, PluginSources())  # type: ignore[arg-type]
    chooser = Chooser(job, Counts(100, 0, FOLDS), 10, 5, Quiet())  # type: ignore[arg-type]
    random, complete, used = np.random.default_rng(world), [], []
    for number in range(trials):
        chooser.before_trial()
        study.sampler = make(world, number, STARTUP)
        began = time.process_time()
        trial = study.ask()
        recipe = suggest_recipe(trial, space, {})
        used.append(time.process_time() - began)
        for name, value in {"tuning": recipe.tuning, "backbone": recipe.backbone, "seconds": 1.0}.items():
            trial.set_user_attr(name, value)
        truth = worth(trial, recipe, world)
        seen = truth + LUCK * random.standard_normal()
        trial.report(seen, step=0)
        if len(complete) >= KEPT and seen > sorted(complete)[KEPT - 1] + LUCK:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            complete.append(truth)
            study.tell(trial, truth)
    best = sorted(complete)
    return Found(best[0], statistics.fmean(best[:5]), statistics.fmean(used))


def worth(trial: optuna.Trial, recipe: Any, world: int) -> float:
    """The log loss of a recipe in a world."""
    loss = 0.3 + 0.4 * drawn(world, "backbone", recipe.backbone)
    if recipe.tuning == "head":
        loss += 0.5 * drawn(world, "head", recipe.backbone)
    else:
        loss += 0.15 * drawn(world, "augmentation", recipe.augmentation)
    for name, distribution in trial.distributions.items():
        value = trial.params[name]
        if name in ("tuning", "backbone", "augmentation"):
            continue
        if isinstance(distribution, optuna.distributions.CategoricalDistribution):
            loss += 0.08 * drawn(world, name, value)
        else:
            low, high = distribution.low, distribution.high
            log = distribution.log
            place = math.log(value / low) / math.log(high / low) if log else (value - low) / (high - low)
            loss += 0.3 * drawn(world, "matters", name) * (place - drawn(world, "best", name)) ** 2
    return loss


def drawn(world: int, *names: Any) -> float:
    """A number from 0 to 1 that belongs to these names."""
    return float(np.random.default_rng([world, *repr(names).encode()]).random())


if __name__ == "__main__":
    main()
