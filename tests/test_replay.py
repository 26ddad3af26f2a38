"""The replay of recorded results: what the README says of pruning stays true of the rules as they are."""

from __future__ import annotations

import importlib
import statistics
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def replay() -> Any:
    """The benchmark as a module."""
    sys.path.insert(0, str(BENCHMARKS))
    yield importlib.import_module("replay")
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module", params=["sample", "cars60"])
def table(replay: Any, request: pytest.FixtureRequest) -> Any:
    return replay.read_table(BENCHMARKS / "recorded" / f"{request.param}.npz")


def _scores(replay: Any, table: Any, method: str, *, seeds: int = 3) -> Any:
    exhaustive = replay.run(table, replay.random_order, replay.NONE, 0)
    runs = [replay.run(table, replay.arms, replay.METHODS[method], seed) for seed in range(seeds)]
    scores = [replay.score(run, exhaustive) for run in runs]
    return {name: statistics.fmean(getattr(score, name) for score in scores) for name in ("epochs", "kept", "excess")}


def test_the_exhaustive_search_is_what_the_others_are_measured_by(replay: Any, table: Any) -> None:
    assert _scores(replay, table, "none") == {"epochs": 1.0, "kept": 1.0, "excess": 0.0}


def test_the_products_rules_save_two_thirds_and_lose_nothing(replay: Any, table: Any) -> None:
    ours = _scores(replay, table, "ours", seeds=20)  # as in the README: single searches may lose 5 %
    assert ours["epochs"] < 0.35
    assert ours["kept"] > 0.95
    assert ours["excess"] < 0.01


@pytest.mark.filterwarnings("ignore:WilcoxonPruner is experimental")
def test_wilcoxon_loses_most_of_the_best(replay: Any, table: Any) -> None:
    # Why the stock pruner for folds is not used; see `search/pruning.py`.
    assert _scores(replay, table, "WilcoxonPruner")["kept"] < 0.8
