"""The contest's scorer: values by hand, and everything that it refuses."""

import math
import unicodedata

import numpy as np
import pytest
from sklearn.metrics import log_loss as sklearn_log_loss

from automl_car.ensemble.scorer import Score, score_submission
from automl_car.errors import DataError

ANSWERS = "ID,label\nT_0,a\nT_1,b\nT_2,a\n"


def score(tmp_path, submission, answers=ANSWERS):
    (tmp_path / "submission.csv").write_text(submission, encoding="utf-8")
    (tmp_path / "labels.csv").write_text(answers, encoding="utf-8")
    return score_submission(tmp_path / "submission.csv", tmp_path / "labels.csv")


def test_score_by_hand(tmp_path):
    result = score(tmp_path, "ID,a,b\nT_0,0.5,0.5\nT_1,0.75,0.25\nT_2,1,0\n")
    assert result.log_loss == pytest.approx((math.log(2) + math.log(4)) / 3)
    assert (result.rows, result.classes, result.accuracy) == (3, 2, pytest.approx(2 / 3))


def test_score_agrees_with_sklearn(tmp_path):
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.ones(3), size=40)
    labels = [*"abc", *random.choice(list("abc"), size=37)]
    rows = [f"T_{i:02}," + ",".join(map(repr, row)) for i, row in enumerate(probabilities.tolist())]
    answers = "\n".join(["ID,label", *(f"T_{i:02},{label}" for i, label in enumerate(labels))])
    result = score(tmp_path, "\n".join(["ID,a,b,c", *rows]), answers)
    assert result.log_loss == pytest.approx(sklearn_log_loss(labels, probabilities))


def test_rows_are_matched_by_id_and_not_by_place(tmp_path):
    in_order = score(tmp_path, "ID,a,b\nT_0,0.9,0.1\nT_1,0.2,0.8\nT_2,0.6,0.4\n")
    assert score(tmp_path, "ID,a,b\nT_2,0.6,0.4\nT_0,0.9,0.1\nT_1,0.2,0.8\n") == in_order


def test_rows_are_divided_by_their_sum(tmp_path):
    result = score(tmp_path, "ID,a,b\nT_0,0.1,0.1\nT_1,0.3,0.1\nT_2,0.2,0\n")
    assert result.log_loss == pytest.approx((math.log(2) + math.log(4)) / 3)


def test_columns_that_no_answer_uses_are_dropped_before_the_division(tmp_path):
    result = score(tmp_path, "ID,a,unused,b\nT_0,0.25,0.5,0.25\nT_1,0.5,0,0.5\nT_2,0.5,0,0.5\n")
    assert result == Score(pytest.approx(math.log(2)), rows=3, classes=2, accuracy=pytest.approx(2 / 3))


def test_zero_on_the_answer_costs_the_clipped_maximum(tmp_path):
    result = score(tmp_path, "ID,a,b\nT_0,1,0\nT_1,1,0\nT_2,1,0\n")
    assert result.log_loss == pytest.approx(15 * math.log(10) / 3)


def test_names_are_compared_after_composition(tmp_path):
    apart = unicodedata.normalize("NFD", "쏘나타")
    assert apart != "쏘나타"
    assert score(tmp_path, f"ID,{apart},K5\nx,0.5,0.5\ny,0.5,0.5\n", "ID,label\nx,쏘나타\ny,K5\n").classes == 2
    assert score(tmp_path, "ID,쏘나타,K5\nx,0.5,0.5\ny,0.5,0.5\n", f"ID,label\nx,{apart}\ny,K5\n").classes == 2


@pytest.mark.parametrize("header", ["ID,label", "id,Label", "ID,class", "ID,target", "label,ID"])
def test_the_answers_columns_are_found_by_name(tmp_path, header):
    cells = "a,x" if header.startswith("label") else "x,a"
    assert score(tmp_path, "ID,a\nx,1\n", f"{header}\n{cells}\n").rows == 1


GOOD = "ID,a,b\nT_0,0.5,0.5\nT_1,0.5,0.5\nT_2,0.5,0.5\n"


@pytest.mark.parametrize(
    ("submission", "answers", "message"),
    [
        (GOOD.replace("T_2", "T_9"), ANSWERS, r"1 ids of the answers are missing.*T_2.*not in the answers.*T_9"),
        (GOOD + "T_3,1,0\n", ANSWERS, r"has 4 rows and .* has 3; 1 ids of the submission.*T_3"),
        (GOOD.replace("ID,a,b", "ID,a,B"), ANSWERS, "no column for 1 classes of the answers: b"),
        (GOOD.replace("T_1,0.5", "T_1,"), ANSWERS, "between 0 and 1; the first is nan, of id 'T_1' in column 'a'"),
        (GOOD.replace("T_1,0.5", "T_1,1.5"), ANSWERS, "1.5, of id 'T_1' in column 'a'"),
        (GOOD.replace("T_1,0.5", "T_1,-0.5"), ANSWERS, "-0.5, of id 'T_1' in column 'a'"),
        (GOOD.replace("T_1,0.5,0.5", "T_1,0,0"), ANSWERS, "0 in every column of the answers' classes: T_1"),
        (GOOD, "ID,car\nT_0,a\n", "no column `label` or `class` or `target`; its columns are ID, car"),
        (GOOD, "photo,label\nT_0,a\n", "no column `id`"),
        (GOOD, ANSWERS + "T_0,b\n", "'T_0' stands twice"),
        (GOOD, "ID,label\nT_0,\n", "'T_0' has no label"),
    ],
)
def test_what_the_contest_would_refuse_is_an_error(tmp_path, submission, answers, message):
    with pytest.raises(DataError, match=message):
        score(tmp_path, submission, answers)


def test_a_missing_column_comes_with_near_names(tmp_path):
    with pytest.raises(DataError) as error:
        score(tmp_path, "ID,Sonata_2020\nx,1\n", "ID,label\nx,Sonata_2021\n")
    assert "Sonata_2020" in error.value.hint
