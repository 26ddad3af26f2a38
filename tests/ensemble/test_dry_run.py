"""A rehearsal of the contest's scorer on out-of-fold predictions."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import log_loss as sklearn_log_loss

from automl_car.ensemble import dry_run as module
from automl_car.ensemble.dry_run import dry_run
from automl_car.ensemble.scorer import score_submission
from automl_car.ensemble.submission import write_out_of_fold
from automl_car.errors import DataError
from automl_car.records import Dataset, SubmissionFormat

RANDOM = np.random.default_rng(0)
LABELS = (0, 1, 2, 0, 1, 2, 2)
PROBABILITIES = RANDOM.dirichlet(np.ones(3), size=len(LABELS))
FORM = SubmissionFormat("ID,c,a,b", ("c", "a", "b"), (2, 0, 1), ids=("T",))
PATHS = tuple(f"train/{row}.jpg" for row in range(len(LABELS)))
DATA = Dataset(Path(), ("a", "b", "c"), PATHS, LABELS, ("T",), ("T.jpg",), FORM)
ROWS = np.arange(len(LABELS))
ALIASED = Dataset(
    Path(),
    ("a", "b", "c"),
    PATHS,
    LABELS,
    ("T",),
    ("T.jpg",),
    SubmissionFormat("ID,a,b,c,other a", ("a", "b", "c", "other a"), (0, 1, 2, 0), ids=("T",)),
)


def test_it_is_the_log_loss_of_the_predictions():
    assert dry_run(PROBABILITIES, DATA, ROWS) == pytest.approx(sklearn_log_loss(LABELS, PROBABILITIES))


def test_names_that_count_as_one_class_cost_nothing():
    assert dry_run(PROBABILITIES, ALIASED, ROWS) == pytest.approx(sklearn_log_loss(LABELS, PROBABILITIES))


def test_rows_are_scored_in_parts_of_any_size(monkeypatch):
    whole = dry_run(PROBABILITIES, DATA, ROWS)
    monkeypatch.setattr(module, "_CHUNK", 2)
    assert dry_run(PROBABILITIES, DATA, ROWS) == pytest.approx(whole)


def test_some_rows_alone_can_be_rehearsed():
    rows = np.array([2, 3, 4])
    labels = [LABELS[row] for row in rows]
    assert dry_run(PROBABILITIES[rows], DATA, rows) == pytest.approx(
        sklearn_log_loss(labels, PROBABILITIES[rows], labels=[0, 1, 2])
    )


def test_without_a_sample_submission_there_is_nothing_to_rehearse():
    with pytest.raises(DataError, match="no sample submission"):
        dry_run(PROBABILITIES, Dataset(Path("here"), ("a", "b", "c"), PATHS, LABELS), ROWS)


@pytest.mark.parametrize("dataset", [DATA, ALIASED, Dataset(Path(), ("a", "b", "c"), PATHS, LABELS)])
def test_written_out_of_fold_predictions_score_the_same_with_their_labels(dataset, tmp_path):
    write_out_of_fold(tmp_path / "new" / "model.oof.csv", PROBABILITIES, dataset, ROWS)
    scored = score_submission(tmp_path / "new" / "model.oof.csv", tmp_path / "new" / "labels.csv")
    assert scored.log_loss == pytest.approx(sklearn_log_loss(LABELS, PROBABILITIES))
