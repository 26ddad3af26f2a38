"""Three strikes: what a plugin offers is left out for the rest of a search when three trials have failed by it.

A strike is a trial that ended failed because of the code, or of the answer, of a backbone or an augmentation whose
plugin does not come with automl-car (`blame.py`). A trial that diverged or ran out of memory is no strike: the sampler
learns from it. Strikes are counted in one run of the command; another run gives another chance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import optuna

from automl_car.catalog.joint import parts_of
from automl_car.errors import AutomlCarError, StudyError
from automl_car.records import Recipe, Tuning
from automl_car.search import blame
from automl_car.search.evidence import fold_losses
from automl_car.search.space import Space

STRIKES = 3


class Strikes:
    """Who has failed in this search, and who is left out.

    Args:
        owners: title of the plugin by the name of what it offers; only what is named here can be struck.
    """

    def __init__(self, owners: Mapping[str, str] | None = None) -> None:
        self.left_out: frozenset[str] = frozenset()
        self._owners = dict(owners or {})
        self._counts: Counter[str] = Counter()
        self._reasons: dict[str, str] = {}

    # ---- what has failed ----

    def culprits(self, error: AutomlCarError, recipe: Recipe, study: optuna.Study) -> tuple[str, ...]:
        """Of those that can be struck, the ones that a trial failed by; of two suspects, the one with a record."""
        suspects = [name for name in blame.culprits(error, recipe, _working(study)) if name in self._owners]
        known = [name for name in suspects if self._counts[name]]
        return tuple(known or suspects)

    def explain(self, error: AutomlCarError, culprits: tuple[str, ...]) -> str:
        """Why a trial failed, with whoever is to blame."""
        names = " or ".join(f"`{name}` of {self._owners[name]}" for name in culprits)
        return f"{names}: {blame.in_words(error)}" if names else error.message

    def strike(self, culprits: tuple[str, ...], reason: str) -> tuple[str, ...]:
        """Count a failed trial; a sentence for each that is left out from now on."""
        said = []
        for name in culprits:
            self._counts[name] += 1
            self._reasons[name] = reason
            if self._counts[name] >= STRIKES and name not in self.left_out:
                self.left_out |= {name}
                said.append(
                    f"`{name}` is left out for the rest of this search, as {STRIKES} trials have failed by it; "
                    f"`automl-car plugins check` tells more. The last one: {reason}"
                )
        return tuple(said)

    # ---- what is left ----

    def backbones(self, space: Space) -> tuple[str, ...]:
        return tuple(name for name in space.backbones if not self.left_out.intersection(parts_of(name)))

    def augmentations(self, space: Space) -> tuple[str, ...]:
        return tuple(name for name in space.augmentations if name not in self.left_out)

    def tunings(self, space: Space) -> tuple[Tuning, ...]:
        """Fine-tuning takes an augmentation."""
        return tuple(tuning for tuning in space.tunings if tuning == "head" or self.augmentations(space))

    def excluded(self, space: Space) -> dict[str, frozenset[str]]:
        """Values that the sampler must not choose, by parameter."""
        return {
            "backbone": frozenset(space.backbones) - frozenset(self.backbones(space)),
            "augmentation": frozenset(space.augmentations) - frozenset(self.augmentations(space)),
            "tuning": frozenset(space.tunings) - frozenset(self.tunings(space)),
        }

    def rule_out(self, params: Mapping[str, Any], space: Space) -> bool:
        """Whether a trial with these parameters would be made of what is left out."""
        return any(params.get(name) in values for name, values in self.excluded(space).items())

    def require_something(self, space: Space) -> None:
        """Raise StudyError when nothing is left to search."""
        if self.backbones(space) and self.tunings(space):
            return
        reasons = "\n".join(f"  {self._reasons[name]}" for name in sorted(self.left_out))
        raise StudyError(
            f"Nothing is left to search: {STRIKES} trials have failed by each of "
            f"{', '.join(f'`{name}`' for name in sorted(self.left_out))}.\n{reasons}",
            hint="mend them (`automl-car plugins check` tells how they fail), or search others, too, and run the same "
            "command again; nothing that was trained is lost.",
        )


def _working(study: optuna.Study) -> frozenset[str]:
    """Backbones and augmentations that have a finished fold in this study."""
    names: set[str] = set()
    for trial in study.get_trials(deepcopy=False):
        if fold_losses(trial) and "recipe" in trial.user_attrs:
            names |= set(blame.used(Recipe.from_json(trial.user_attrs["recipe"])))
    return frozenset(names)
