"""Brings the best recipes of another study into a search, as its first trials.

What was good on other photos, or with other plugins, is a better guess than the defaults. The other study is only read,
and what it found is translated: its recipes are stored whole, so that they outlive a change of names and ranges.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from automl_car.catalog.params import Param, ParamValue
from automl_car.ensemble.predictions import shorten
from automl_car.errors import StudyError
from automl_car.records import Recipe
from automl_car.search.first import default_params
from automl_car.search.generations import study_of
from automl_car.search.opening import read_study
from automl_car.search.portfolio import params_with, within
from automl_car.search.space import HEAD_LEARNING_RATE, Space
from automl_car.search.study import complete_trials, load_study

COUNT = 5  # recipes
MOST_OF_ONE_KIND = 2  # of them with one tuning and backbone: the best of a study are often near-copies
_FIELDS = frozenset(field.name for field in fields(Recipe))


@dataclass(frozen=True)
class WarmStart:
    """What comes first, and where it is from.

    Attributes:
        trials: parameters for `enqueue_trial`, best recipe first.
        note: a line for the person in front of the search.
    """

    trials: tuple[dict[str, Any], ...]
    note: str


def warm_start(source: str, space: Space, studies: Path, storage: str | None) -> WarmStart:
    """The best recipes of another study as trials of this search.

    Args:
        source: the setting `search.warm_start`.
        studies: the workspace's folder.
        storage: of this search, where the other study is looked for too.

    Raises:
        StudyError: there is no such study, or nothing in it that this search could use.
    """
    found = load_warm_start(source, studies, storage)
    trials = warm_trials(space, found, COUNT)
    if not found:
        raise StudyError(
            f"Study `{source}` has no complete trial to begin with.", hint="leave `--warm-start` away, or name another."
        )
    if not trials:
        raise StudyError(
            f"Nothing of study `{source}` can be tried here: it used {_kinds(found)}.",
            hint=f"this search offers {_offer(space)}; `--backbone` and `--tuning` widen it.",
        )
    come = "recipes of study `{}` come" if len(trials) > 1 else "recipe of study `{}` comes"
    return WarmStart(trials, f"{len(trials)} {come.format(source)} first")


# ---- reading --------------------------------------------------------------------------------------------------------


def load_warm_start(name_or_path: str, studies: Path, storage: str | None) -> list[FrozenTrial]:
    """The complete trials of another study, best first.

    Args:
        name_or_path: a study's name, or a path that ends in `.db`, from the workspace if it is not absolute.
        studies: folder `studies/` of the workspace.
        storage: URL in which a name is looked for; None for the folder.

    Raises:
        StudyError: it is not there.
    """
    if not name_or_path.endswith(".db"):
        return complete_trials(read_study(studies, name_or_path, storage))
    path = studies.parent / name_or_path
    return complete_trials(load_study(_name_in(path), f"sqlite:///{path}"))


def _name_in(path: Path) -> str:
    """The study in a database: that of the file's name, or the only one.

    The file is looked at before Optuna sees it, which would make tables in any database that it is given.
    """
    if not path.is_file():
        raise StudyError(
            f"There is no file `{path}` to take recipes from.", hint="a study is the file studies/<study>.db."
        )
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            rows = connection.execute("SELECT study_name FROM studies ORDER BY study_id")
            names = list(dict.fromkeys(study_of(name) for (name,) in rows))
    except sqlite3.Error as error:
        raise StudyError(
            f"`{path}` is not the database of a study: {error}.", hint="name a file studies/<study>.db."
        ) from error
    if path.stem in names or len(names) == 1:
        return path.stem if path.stem in names else names[0]
    raise StudyError(
        f"`{path}` holds {len(names)} studies, and none is called `{path.stem}`.",
        hint="name the file after the study that is meant." if names else "name a file studies/<study>.db.",
    )


# ---- translating ----------------------------------------------------------------------------------------------------


def warm_trials(space: Space, trials: Sequence[FrozenTrial], count: int) -> tuple[dict[str, Any], ...]:
    """Parameters of the best recipes, best first, at most two of one tuning and backbone.

    Args:
        space: of the search that they are for.
        trials: complete ones of another study, best first.
        count: most recipes.
    """
    chosen: list[dict[str, Any]] = []
    kinds: Counter[tuple[str, str]] = Counter()
    for recipe in _recipes(trials):
        params = recipe_params(space, recipe)
        kind = (recipe.tuning, recipe.backbone)
        if params is None or params in chosen or kinds[kind] >= MOST_OF_ONE_KIND:
            continue
        chosen.append(params)
        kinds[kind] += 1
    return tuple(chosen[:count])


def recipe_params(space: Space, recipe: Recipe) -> dict[str, Any] | None:
    """Optuna parameters with which this space gives the recipe, or the one that is nearest to it.

    Numbers outside a range move to its end, image sizes and views to the nearest that there is; what this space has
    settled is left out.

    Returns:
        None where the tuning, the backbone or the augmentation is not there.
    """
    head = recipe.tuning == "head"
    if recipe.tuning not in space.tunings or recipe.backbone not in space.backbones:
        return None
    if not head and recipe.augmentation not in space.augmentations:
        return None
    params = default_params(space, recipe.tuning, recipe.backbone, recipe.augmentation)
    params = params_with(space, params, _head_numbers(recipe) if head else _full_numbers(recipe, space))
    return params | (_head_choices(space, recipe) if head else _full_choices(space, recipe))


def _head_numbers(recipe: Recipe) -> dict[str, float]:
    return {
        "head.lr_multiplier": recipe.learning_rate / HEAD_LEARNING_RATE,
        "head.shrinkage": recipe.shrinkage,
        "head.power": recipe.power,
    }


def _full_numbers(recipe: Recipe, space: Space) -> dict[str, float]:
    names = ("weight_decay", "layer_decay", "label_smoothing", "mixup", "cutmix", "progressive")
    rate = recipe.learning_rate / space.default_lr[recipe.backbone]
    return {"lr_multiplier": rate, **{name: getattr(recipe, name) for name in names}}


def _head_choices(space: Space, recipe: Recipe) -> dict[str, int]:
    size = _nearest("head.image_size", space.head_sizes[recipe.backbone], recipe.image_size)
    return size | _nearest("head.views", space.views, recipe.views)


def _full_choices(space: Space, recipe: Recipe) -> dict[str, ParamValue]:
    """The image size, and the plugins' own parameters; those that the recipe does not know keep their defaults."""
    known = dict(recipe.params)
    own = {
        f"{plugin}.{param.name}": _declared(param, known[f"{plugin}.{param.name}"])
        for plugin in (recipe.backbone, recipe.augmentation)
        for param in space.params.get(plugin, ())
        if f"{plugin}.{param.name}" in known
    }
    return own | _nearest("image_size", space.full_sizes[recipe.backbone], recipe.image_size)


def _declared(param: Param, value: ParamValue) -> ParamValue:
    if param.kind == "choice":
        return value if value in param.choices else param.default
    assert param.low is not None
    assert param.high is not None
    if isinstance(value, str):  # the plugin declared a choice of words when that recipe was made
        return param.default
    number = within((param.low, param.high), value)
    return round(number) if param.kind == "int" else number


def _nearest(name: str, offered: Sequence[int], wanted: int) -> dict[str, int]:
    """The parameter's value; nothing where there is no choice."""
    return {name: min(offered, key=lambda value: (abs(value - wanted), value))} if len(offered) > 1 else {}


def _recipes(trials: Iterable[FrozenTrial]) -> list[Recipe]:
    """Of these trials, in their order; fields that this version does not know are left out."""
    stored = [trial.user_attrs["recipe"] for trial in trials if "recipe" in trial.user_attrs]
    return [Recipe.from_json({name: value for name, value in values.items() if name in _FIELDS}) for values in stored]


# ---- words ----------------------------------------------------------------------------------------------------------


def _kinds(trials: Iterable[FrozenTrial]) -> str:
    """What the recipes of a study are made of: `lite0 (head), resnet50 (full, heavy)`."""
    recipes = _recipes(trials)
    words = [recipe.tuning if recipe.tuning == "head" else f"full, {recipe.augmentation}" for recipe in recipes]
    kinds = dict.fromkeys(f"{recipe.backbone} ({word})" for recipe, word in zip(recipes, words, strict=True))
    return shorten(list(kinds)) or "no recipe of this version"


def _offer(space: Space) -> str:
    return f"{' and '.join(space.tunings)} of {', '.join(space.backbones)} with {', '.join(space.augmentations)}"
