"""A contest's rule on weights, `catalog.weights_before`: which backbones it lets in."""

from __future__ import annotations

from datetime import date

from automl_car.catalog.records import Backbone
from automl_car.config import Config
from automl_car.errors import ConfigError
from automl_car.pipeline.outcome import View
from automl_car.search.space import weights_of


def kept_out(backbone: Backbone, config: Config) -> str:
    """Why the rule keeps a backbone out, in words; empty where it does not.

    Random weights are nobody's, and a file that a person names is theirs to answer for.
    """
    limit = config.catalog.weights_before
    if limit is None or weights_of(config.training, backbone.name) != "pretrained":
        return ""
    if backbone.weights_date is None:
        return "date unknown"
    return "" if date.fromisoformat(backbone.weights_date) < limit else f"of {backbone.weights_date}"


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


def note_files(names: tuple[str, ...], config: Config, view: View) -> None:
    """Say which backbones start from a file whose date nobody knows here, where there is a rule on it."""
    if config.catalog.weights_before is None:
        return
    files = {name: weights_of(config.training, name) for name in names}
    for name, weights in files.items():
        if weights not in ("pretrained", "random"):
            view.note(
                f"`{name}` starts from `{weights}`: that it is of before {config.catalog.weights_before} is for "
                "you to know"
            )
