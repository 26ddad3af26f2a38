"""A contest's rule on weights, `catalog.weights_before`: which backbones it lets in.

Random weights are nobody's, and a file that a person names is theirs to answer for.
"""

from __future__ import annotations

from datetime import date

from automl_car.catalog.joint import parts_of
from automl_car.catalog.manager import Catalog
from automl_car.catalog.records import Backbone
from automl_car.config import Config
from automl_car.errors import ConfigError, NoStudyError, StudyError
from automl_car.pipeline.outcome import View
from automl_car.search.opening import read_study
from automl_car.search.study import INTERRUPTED, complete_trials
from automl_car.search.weights import weights_of
from automl_car.workspace import Workspace


def kept_out(backbone: Backbone, config: Config) -> str:
    """Why the rule keeps a backbone out, in words; empty where it does not."""
    return _why(backbone.weights_date, weights_of(config.training, backbone.name), config)


def _why(day: str | None, weights: str, config: Config) -> str:
    limit = config.catalog.weights_before
    if limit is None or weights != "pretrained":
        return ""
    if day is None:
        return "date unknown"
    return "" if date.fromisoformat(day) < limit else f"of {day}"


def require_allowed(backbones: tuple[Backbone, ...], config: Config) -> None:
    """Raise ConfigError if the rule keeps out a backbone that was asked for by name."""
    reasons = [f"`{backbone.name}` ({why})" for backbone in backbones if (why := kept_out(backbone, config))]
    if reasons:
        raise ConfigError(
            f"`catalog.weights_before: {config.catalog.weights_before}` does not let in the pretrained weights of "
            f"{', '.join(reasons)}.",
            hint="name others (`automl-car plugins` lists dates), or start it from `training: {weights: random}`; "
            "in a plugin of yours, `weights_date` says when its weights became public.",
        )


def require_allowed_study(workspace: Workspace, config: Config, study: str, catalog: Catalog) -> None:
    """Raise StudyError if a study has trials that the rule would have kept out and that an ensemble may use."""
    if config.catalog.weights_before is None:
        return
    try:
        found = read_study(workspace.studies, study, config.search.storage)
    except NoStudyError:
        return
    trials = [*complete_trials(found), *(trial for trial in found.get_trials() if INTERRUPTED in trial.user_attrs)]
    reasons = {}
    for recipe in (trial.user_attrs.get("recipe", {}) for trial in trials):
        for name in parts_of(recipe.get("backbone", "")):
            day = catalog.backbones[name].weights_date if name in catalog.backbones else None
            if why := _why(day, recipe.get("weights", "pretrained"), config):
                reasons[name] = why
    if reasons:
        raise StudyError(
            f"Study `{study}` has trials of {', '.join(f'`{name}` ({why})' for name, why in sorted(reasons.items()))}, "
            f"which `catalog.weights_before: {config.catalog.weights_before}` does not let in.",
            hint="begin a new study under this rule: `--study NAME`.",
        )


def note_files(names: tuple[str, ...], config: Config, view: View) -> None:
    """Say which backbones start from a file whose date nobody knows here, where there is a rule on it."""
    limit = config.catalog.weights_before
    for name in names if limit else ():
        weights = weights_of(config.training, name)
        if weights not in ("pretrained", "random"):
            view.note(f"`{name}` starts from `{weights}`: whether that is older than {limit} is for you to know")
