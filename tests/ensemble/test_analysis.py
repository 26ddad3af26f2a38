"""Prediction files as they are read for an analysis: aligned, measured, and judged as the scorer does."""

from pathlib import Path

import numpy as np
import pytest

from automl_car.ensemble.analysis import analyze
from automl_car.ensemble.scorer import score_submission
from automl_car.errors import DataError


@pytest.fixture
def put(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_files_are_aligned_before_they_are_compared(put):
    one = put("one.csv", "ID,a,b\nx,0.9,0.1\ny,0.2,0.8\n")
    two = put("two.csv", "ID,b,a\ny,0.8,0.2\nx,0.1,0.9\n")
    analysis = analyze([one, two], None, lambda _: None)
    assert analysis.comparison.distance.max() == 0
    assert [file.name for file in analysis.files] == ["one", "two"]
    assert analysis.ids == ("x", "y")


def test_a_single_file_is_compared_with_nothing(put):
    analysis = analyze([put("one.csv", "ID,a,b\nx,0.9,0.1\n")], None, pytest.fail)
    assert (analysis.comparison, analysis.judged) == (None, ())


def test_files_of_one_name_are_told_apart_by_their_folders(put):
    paths = [put(f"{folder}/sub.csv", "ID,a,b\nx,0.9,0.1\n") for folder in "pq"]
    assert [file.name for file in analyze(paths, None, pytest.fail).files] == ["p/sub", "q/sub"]


def test_a_class_with_two_columns_is_one_class_of_full_confidence(put):
    notes = []
    path = put("one.csv", "ID,RAV4,K5,라브4\nx,0.9,0.1,0.9\ny,0.3,0.7,0.3\n")
    (file,) = analyze([path], None, notes.append).files
    assert file.classes == ("RAV4 = 라브4", "K5")
    assert file.confidence == pytest.approx([0.9, 0.7])
    assert len(notes) == 1


def test_labels_give_the_score_of_the_scorer(put):
    values = np.random.default_rng(0).dirichlet(np.ones(3), size=30)
    rows = [f"{row}," + ",".join(map(repr, line)) for row, line in enumerate(values.tolist())]
    path = put("one.csv", "\n".join(["ID,a,b,c", *rows]))
    labels = put("labels.csv", "\n".join(["ID,label", *(f"{row},{'abc'[row % 3]}" for row in range(30))]))
    (judged,) = analyze([path], labels, pytest.fail).judged
    assert judged.score == score_submission(path, labels)
    assert judged.reliability.rows.sum() == 30
    hits = (values.argmax(axis=1) == np.arange(30) % 3).mean()
    assert (judged.reliability.rows * judged.reliability.accuracy).sum() / 30 == pytest.approx(hits)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ID,a,b\nz,0.9,0.1\n", "1 ids that .*one.csv lacks"),
        ("ID,a,c\nx,0.9,0.1\n", "1 class columns that .*one.csv lacks"),
        ("ID,a,b\nx,2,0.1\n", "not between 0 and 1; the first is 2, of id 'x' in column 'a'"),
    ],
)
def test_files_that_do_not_fit_are_refused(put, text, message):
    one = put("one.csv", "ID,a,b\nx,0.9,0.1\n")
    with pytest.raises(DataError, match=message):
        analyze([one, put("two.csv", text)], None, print)


def test_a_file_that_is_named_twice_is_refused(put):
    path = put("one.csv", "ID,a,b\nx,0.9,0.1\n")
    with pytest.raises(DataError, match="named twice"):
        analyze([path, path], None, print)


def test_labels_of_other_rows_are_refused(put):
    path, labels = put("one.csv", "ID,a,b\nx,0.9,0.1\n"), put("labels.csv", "ID,label\ny,a\n")
    with pytest.raises(DataError, match="ids of the answers are missing"):
        analyze([path], labels, print)


def test_a_missing_file_is_named():
    with pytest.raises(DataError, match=r"nowhere\.csv cannot be read"):
        analyze([Path("nowhere.csv")], None, print)
