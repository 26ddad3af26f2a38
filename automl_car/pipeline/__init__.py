"""The journeys: what happens, from end to end, when a person asks for a search or an ensemble."""

from automl_car.pipeline.ensembling import ensemble
from automl_car.pipeline.outcome import Outcome, View, describe, to_json
from automl_car.pipeline.planning import Plan, plan
from automl_car.pipeline.reading import lint
from automl_car.pipeline.refitting import Refit, refit
from automl_car.pipeline.searching import search

__all__ = ["Outcome", "Plan", "Refit", "View", "describe", "ensemble", "lint", "plan", "refit", "search", "to_json"]
