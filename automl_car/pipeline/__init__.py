"""The journeys: what happens, from end to end, when a person asks for a search, an ensemble, a report or a bundle."""

from automl_car.pipeline.bundling import Bundled, bundle
from automl_car.pipeline.checked import Finding
from automl_car.pipeline.checking import check
from automl_car.pipeline.ensembling import ensemble
from automl_car.pipeline.outcome import Outcome, View, describe, outcome_json, to_json
from automl_car.pipeline.planning import Plan, plan
from automl_car.pipeline.reading import lint
from automl_car.pipeline.refitting import Refit, refit, refit_json
from automl_car.pipeline.reporting import Reported, report
from automl_car.pipeline.searching import search

__all__ = [
    "Bundled",
    "Finding",
    "Outcome",
    "Plan",
    "Refit",
    "Reported",
    "View",
    "bundle",
    "check",
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
