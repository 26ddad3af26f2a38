"""What is told of a blend."""

import json
from pathlib import Path

import numpy as np

from automl_car.ensemble.blending import Blend
from automl_car.ensemble_records import Ensemble, Estimate, Member
from automl_car.records import SubmissionFormat
from automl_car.report.blending import blend_json, print_blend

FORM = SubmissionFormat("ID,a,b", ("a", "b"), (0, 1), ("x", "y", "z"))
FITTED = Ensemble(
    members=(Member("one", "", 1.5, 0.75, 0.61, 0.02), Member("two", "", 1.2, 0.25, 0.65, 0.01)),
    pool="geometric",
    temperature=0.83,
    uniform=0.001,
    log_loss=0.55,
    nested_log_loss=0.5678,
    standard_error=0.01,
    best_single=0.6,
    oof_probabilities=np.full((4, 2), 0.5),
    test_probabilities=np.full((3, 2), 0.5),
    rows=4,
    estimate=Estimate(0.5, (0.4, 0.6)),
)
OUTPUT = Path("d" * 200) / "blend.csv"
UNIFORM = Blend(OUTPUT, ("one", "two"), FORM, "uniform", "arithmetic", {"one": 0.5, "two": 0.5})
CHOSEN = Blend(OUTPUT, ("one", "three", "two"), FORM, "fitted", "geometric", {"one": 0.75, "two": 0.25}, FITTED)


def test_a_fitted_blend_tells_that_its_log_loss_is_cross_fitted_and_who_is_left_out(capsys):
    print_blend(CHOSEN)
    out = capsys.readouterr().out
    assert out.splitlines()[1].split() == ["one", "0.750", "1.50", "0.6100", "0.0200"]
    assert "log loss 0.5678 ± 0.0196 on 4 out-of-fold rows, cross-fitted" in out
    assert "left out, as they add nothing: three\n" in out
    assert out.splitlines()[-1] == f"blend: {OUTPUT}"


def test_a_blend_that_was_not_measured_says_so(capsys):
    print_blend(UNIFORM)
    out = capsys.readouterr().out
    assert "arithmetic mean of 2 files, uniform weights; log loss not measured" in out


def test_a_blend_as_json_holds_weights_and_the_log_loss():
    shown = json.loads(json.dumps(blend_json(CHOSEN)))
    assert shown["weights"] == {"one": 0.75, "two": 0.25}
    assert shown["left_out"] == ["three"]
    assert shown["fit"]["log_loss"] == 0.5678
    assert (shown["rows"], shown["columns"], shown["weighting"]) == (3, 2, "fitted")
    assert blend_json(UNIFORM)["fit"] is None
