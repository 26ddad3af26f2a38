"""The journeys: what happens, from end to end, when a person asks for a search, an ensemble or a report."""

from automl_car.pipeline.ensembling import ensemble
from automl_car.pipeline.outcome import Outcome, View, describe, outcome_json, to_json
from automl_car.pipeline.planning import Plan, plan
from automl_car.pipeline.reporting import Reported, report
from automl_car.pipeline.searching import search

__all__ = [
    "Outcome",
    "Plan",
    "Reported",
    "View",
    "describe",
    "ensemble",
    "outcome_json",
    "plan",
    "report",
    "search",
    "to_json",
]
