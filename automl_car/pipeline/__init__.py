"""The journeys: what happens, from end to end, when a person asks for a search, an ensemble or a report."""

from automl_car.pipeline.ensembling import ensemble
from automl_car.pipeline.outcome import Outcome, View, describe, outcome_json, to_json
from automl_car.pipeline.planning import Plan, plan
from automl_car.pipeline.reading import lint
from automl_car.pipeline.refitting import Refit, refit, refit_json
from automl_car.pipeline.reporting import Reported, report
from automl_car.pipeline.searching import search

__all__ = [
    "Outcome",
    "Plan",
    "Refit",
    "Reported",
    "View",
    "describe",
    "ensemble",
    "lint",
    "outcome_json",
    "plan",
    "refit",
    "refit_json",
    "report",
    "search",
    "to_json",
]
