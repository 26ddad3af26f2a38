"""The journeys: what happens, from end to end, when a person asks for a search, an ensemble, or a prediction."""

from automl_car.pipeline.bundling import Bundled, bundle
from automl_car.pipeline.ensembling import ensemble
from automl_car.pipeline.outcome import Outcome, View, describe, to_json
from automl_car.pipeline.planning import Plan, plan
from automl_car.pipeline.searching import search

__all__ = [
    "Bundled",
    "Outcome",
    "Plan",
    "View",
    "bundle",
    "describe",
    "ensemble",
    "plan",
    "search",
    "to_json",
]
