"""Which ensemble to bundle when a photo may take only so many milliseconds: the lowest log loss of those that fit.

What is compared: each trial alone, and the pools of the best 2 … k trials that fit alone. A trial that tuned whole
networks is also tried with the model of one fold instead of all K. Its log loss out of fold is that of single
fold models anyway; of their mean it is an upper guess, so at equal numbers the mean is preferred.

The time of an ensemble is the sum of what is measured once for each network and size: forward passes, and squeezing
photos to squares. Decoding a file comes on top, beside the networks, and takes as long whichever ensemble is chosen.

All of that is compared with as many views of each photo as did best, and again with at most two views and with one, of
which folds have kept what they say out of fold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from automl_car.catalog.manager import Catalog
from automl_car.config import Config
from automl_car.data.prepared import read_short_side
from automl_car.ensemble.build import build_ensemble
from automl_car.ensemble.fitting import pool_of, predict
from automl_car.ensemble_records import Candidate, Ensemble, Member
from automl_car.errors import ConfigError
from automl_car.pipeline.costs import Costs, Use
from automl_car.pipeline.finding import Found, find_candidates
from automl_car.records import Dataset, Folds
from automl_car.store import read_logits, read_recipe
from automl_car.workspace import Workspace

_MOST_VIEWS = (0, 2, 1)  # 0: as many as did best; the others are those of which every fold keeps logits


@dataclass(frozen=True, eq=False)
class Considered:
    """An ensemble that was compared.

    Attributes:
        what: its members in words.
        milliseconds: that it takes per photo.
        found: the ensemble, and what it is of.
        fits: whether it is within the budget.
    """

    what: str
    milliseconds: float
    found: Found
    fits: bool

    @property
    def log_loss(self) -> float:
        """Nested, out of fold."""
        return self.found.ensemble.nested_log_loss


def within_budget(
    workspace: Workspace,
    config: Config,
    catalog: Catalog,
    *,
    study: str,
    top_k: int,
    budget_ms: float,
    note: Callable[[str], None],
) -> tuple[Considered, ...]:
    """All that was compared, what was chosen first.

    Raises:
        StudyError: there is no such study, or no trial of it is complete.
        ConfigError: nothing fits into the budget; the message names what is fastest.
    """
    store = workspace.checkpoints(study)
    found: list[_Trials] = []
    for most in _MOST_VIEWS:
        trials = _Trials(*find_candidates(workspace, config, study=study, most_views=most), store)
        if not found or trials.views != found[-1].views:
            found.append(trials)
    note("measuring how long the networks take")
    costs = Costs(catalog, found[0].dataset.num_classes, read_short_side(store, workspace.cache), store)
    considered: dict[_Key, Considered] = {}
    for trials in found:
        comparison = _Comparison(trials, costs, budget_ms, usual_views=found[0].views)
        considered = comparison.all_of(top_k) | considered
    return _in_order(list(considered.values()), budget_ms)


def _in_order(considered: Sequence[Considered], budget_ms: float) -> tuple[Considered, ...]:
    fitting = [each for each in considered if each.fits]
    if not fitting:
        fastest = min(considered, key=lambda each: each.milliseconds)
        raise ConfigError(
            f"Nothing predicts a photo within {budget_ms:g} ms here: the fastest is {fastest.what} with "
            f"{fastest.milliseconds:.1f} ms.",
            hint="raise --budget-ms, or search smaller images (`space: {image_size: ...}`) or faster backbones.",
        )
    chosen = min(fitting, key=lambda each: (each.log_loss, -each.milliseconds))
    others = sorted((each for each in considered if each is not chosen), key=lambda each: each.log_loss)
    return (chosen, *others)


# ---- comparing ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Trials:
    """The complete trials, the best first, and what they were trained on."""

    candidates: Sequence[Candidate]
    dataset: Dataset
    folds: Folds
    store: Path

    @property
    def views(self) -> Mapping[str, int]:
        """Of each photo, by recipe."""
        return {candidate.recipe_id: self.use(candidate, ()).views for candidate in self.candidates}

    def use(self, candidate: Candidate, folds: Sequence[int]) -> Use:
        """What predicting with the models of some folds of a trial makes use of."""
        recipe = read_recipe(self.store / candidate.recipe_id / f"fold-{candidate.folds[0]}")
        return Use(recipe, candidate.recipe_id, tuple(folds), candidate.views or recipe.views)

    def build(self, candidates: Sequence[Candidate], top_k: int) -> Ensemble:
        labels = np.asarray(self.dataset.labels, dtype=np.int64)
        return build_ensemble(candidates, labels, self.folds.assignment, top_k=top_k)

    def with_one_fold(self, built: Ensemble) -> Ensemble:
        """The same pool of single fold models, the first of each; the mean of heads is as fast as one and stays."""
        members = tuple(
            member if self._is_head(member.recipe_id) else replace(member, folds=member.folds[:1])
            for member in built.members
        )
        logits = [self._test_logits(member) for member in members]
        return replace(built, members=members, test_probabilities=predict(pool_of(built), logits))

    def _test_logits(self, member: Member) -> NDArray[np.float32]:
        """Of its folds, on average."""
        store = self.store / member.recipe_id
        folds = [read_logits(store / f"fold-{fold}", views=member.views).test for fold in member.folds]
        mean: NDArray[np.float32] = np.mean(folds, axis=0)
        return mean

    def _is_head(self, recipe_id: str) -> bool:
        candidate = next(each for each in self.candidates if each.recipe_id == recipe_id)
        return self.use(candidate, ()).recipe.tuning == "head"


_Key = tuple[tuple[str, tuple[int, ...], int], ...]
"""Recipe, folds and views of each member of an ensemble."""


class _Comparison:
    """Ensembles with their time and log loss, each once."""

    def __init__(self, trials: _Trials, costs: Costs, budget_ms: float, usual_views: Mapping[str, int]) -> None:
        self._trials = trials
        self._costs = costs
        self._budget = budget_ms
        self._usual_views = usual_views
        self._known: dict[_Key, Considered] = {}

    def all_of(self, top_k: int) -> dict[_Key, Considered]:
        """Each trial alone, and the pools of those that fit alone."""
        for candidate in self.cheapest_of_each_kind():
            self.consider([candidate], top_k=1)
        candidates = self._trials.candidates
        affordable = [candidate for candidate in candidates if self.least_milliseconds(candidate) <= self._budget]
        for members in range(2, min(top_k, len(affordable)) + 1):
            self.consider(affordable, top_k=members)
        return self._known

    def least_milliseconds(self, candidate: Candidate) -> float:
        """Of a trial with the model of one fold."""
        return self._costs.milliseconds([self._trials.use(candidate, candidate.folds[:1])])

    def cheapest_of_each_kind(self) -> Iterator[Candidate]:
        """Of the trials that take equally long the best one: the others cannot be chosen alone."""
        seen = set()
        for candidate in self._trials.candidates:
            kind = self._costs.kind(self._trials.use(candidate, candidate.folds))
            if kind not in seen:
                seen.add(kind)
                yield candidate

    def consider(self, candidates: Sequence[Candidate], *, top_k: int) -> None:
        """Add the pool of at most `top_k` of these, with all fold models and with one of each."""
        built = self._trials.build(candidates, top_k)
        for ensemble in (built, self._trials.with_one_fold(built)):
            key = tuple(sorted((member.recipe_id, member.folds, member.views) for member in ensemble.members))
            if key not in self._known:
                self._known[key] = self._judge(ensemble)

    def _judge(self, ensemble: Ensemble) -> Considered:
        by_recipe = {candidate.recipe_id: candidate for candidate in self._trials.candidates}
        uses = [self._trials.use(by_recipe[member.recipe_id], member.folds) for member in ensemble.members]
        milliseconds = self._costs.milliseconds(uses)
        found = Found(ensemble, "", self._trials.dataset, self._trials.folds)
        members = zip(ensemble.members, uses, strict=True)
        words = " + ".join(_words(member.name, use, self._usual_views[use.recipe_id]) for member, use in members)
        return Considered(words, milliseconds, found, milliseconds <= self._budget)


def _words(name: str, use: Use, usual_views: int) -> str:
    """Such as `trial 3 (1 fold model, 2 views)`; what is as usual is left out."""
    less = ["1 fold model"] if use.recipe.tuning == "full" and len(use.folds) == 1 else []
    if use.views < usual_views:
        less.append(f"{use.views} view{'s' if use.views > 1 else ''}")
    return f"{name} ({', '.join(less)})" if less else name
