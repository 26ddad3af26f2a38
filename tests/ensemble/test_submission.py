"""The submission: byte for byte the sample's form, safe to score, and an old file survives a bad new one."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from automl_car.ensemble.scorer import score_submission
from automl_car.ensemble.submission import write_submission
from automl_car.ensemble.submission_check import check_submission
from automl_car.errors import DataError
from automl_car.records import Dataset, SubmissionFormat

FORM = SubmissionFormat(
    header="ID,쏘나타,K5",
    columns=("쏘나타", "K5"),
    column_classes=(1, 0),
    ids=("T_1", "T_0"),
)
DATASET = Dataset(
    root=Path("data"),
    class_names=("K5", "쏘나타"),
    train_paths=(),
    labels=(),
    test_ids=("T_0", "T_1"),
    test_paths=("T_0.jpg", "T_1.jpg"),
    submission=FORM,
)
PROBABILITIES = np.array([[0.25, 0.75], [0.9, 0.1]])

ALIASED = dataclasses.replace(
    DATASET,
    class_names=("RAV4", "K5"),
    submission=dataclasses.replace(
        FORM, header="ID,RAV4,K5,라브4", columns=("RAV4", "K5", "라브4"), column_classes=(0, 1, 0)
    ),
)


def with_form(dataset=DATASET, **changes):
    return dataclasses.replace(dataset, submission=dataclasses.replace(dataset.submission, **changes))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "submission.csv"


def test_rows_and_columns_are_in_the_samples_order(path):
    write_submission(path, PROBABILITIES, DATASET)
    assert path.read_bytes().decode() == "ID,쏘나타,K5\nT_1,0.1,0.9\nT_0,0.75,0.25\n"


def test_byte_order_mark_and_line_end_are_the_samples(path):
    write_submission(path, PROBABILITIES, with_form(bom=True, newline="\r\n"))
    assert path.read_bytes() == "\ufeffID,쏘나타,K5\r\nT_1,0.1,0.9\r\nT_0,0.75,0.25\r\n".encode()


def test_a_quoted_header_is_kept_verbatim(path):
    write_submission(path, PROBABILITIES, with_form(header='"ID","쏘나타","K5"'))
    assert path.read_text(encoding="utf-8").startswith('"ID","쏘나타","K5"\n')


def test_an_id_with_a_comma_is_quoted(path):
    dataset = dataclasses.replace(with_form(ids=("T_1", "a,b")), test_ids=("a,b", "T_1"))
    write_submission(path, PROBABILITIES, dataset)
    assert '\n"a,b",0.75,0.25\n' in path.read_text(encoding="utf-8")


def test_both_columns_of_an_alias_get_the_whole_probability(path):
    write_submission(path, PROBABILITIES, ALIASED)
    assert path.read_text(encoding="utf-8").splitlines()[1:] == ["T_1,0.9,0.1,0.9", "T_0,0.25,0.75,0.25"]


@pytest.mark.parametrize("name", ["RAV4", "라브4"])
def test_an_alias_scores_the_same_whichever_name_the_answers_use(path, tmp_path, name):
    write_submission(path, PROBABILITIES, ALIASED)
    (tmp_path / "labels.csv").write_text(f"ID,label\nT_0,K5\nT_1,{name}\n", encoding="utf-8")
    expected = -(np.log(0.75) + np.log(0.9)) / 2
    assert score_submission(path, tmp_path / "labels.csv").log_loss == pytest.approx(expected)


def test_rows_of_many_classes_sum_to_one_within_a_millionth(path):
    names = tuple(f"c{number}" for number in range(396))
    form = SubmissionFormat("ID," + ",".join(names), names, tuple(range(396)), DATASET.test_ids)
    dataset = dataclasses.replace(DATASET, class_names=names, submission=form)
    write_submission(
        path, np.random.default_rng(0).dirichlet(np.full(396, 0.1), size=2) * (1 - 1e-6) + 1e-6 / 396, dataset
    )
    rows = [line.split(",")[1:] for line in path.read_text().splitlines()[1:]]
    assert np.array(rows, dtype=float).sum(axis=1) == pytest.approx(np.ones(2), abs=1e-6)


@pytest.mark.parametrize("dataset", [DATASET, ALIASED, with_form(bom=True, newline="\r\n")])
def test_what_is_written_is_valid(path, dataset):
    write_submission(path, PROBABILITIES, dataset)
    assert check_submission(path, dataset) == ()


@pytest.mark.parametrize("value", [np.nan, 0.0, 0.5])
def test_probabilities_that_make_no_valid_file_leave_the_old_file_alone(path, value):
    path.write_text("old")
    with pytest.raises(ValueError, match="was not written"):
        write_submission(path, np.array([[value, 0.75], [0.9, 0.1]]), DATASET)
    assert path.read_text() == "old"


def test_probabilities_of_another_shape_are_refused(path):
    with pytest.raises(ValueError, match=r"\(1, 2\), not \(2, 2\)"):
        write_submission(path, PROBABILITIES[:1], DATASET)


def test_ids_that_the_test_set_lacks_are_shown(path):
    with pytest.raises(DataError, match=r"1 ids without a test photo \(T_9\), and 1 test photos .* \(T_1\)"):
        write_submission(path, PROBABILITIES, with_form(ids=("T_9", "T_0")))


def test_without_a_sample_submission_the_form_is_unknown(path):
    with pytest.raises(DataError, match="no sample submission") as error:
        write_submission(path, PROBABILITIES, dataclasses.replace(DATASET, submission=None))
    assert "sample_submission.csv" in error.value.hint


GOOD = "ID,쏘나타,K5\nT_1,0.1,0.9\nT_0,0.75,0.25\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("\ufeff" + GOOD, "begins with a byte order mark"),
        (GOOD.replace("\n", "\r\n"), "lines end in"),
        (GOOD.replace("ID,", "id,"), "header is not"),
        (GOOD.replace("T_1", "T_5"), "1 ids are missing: T_1"),
        (GOOD.replace("T_1", "T_5"), "1 ids are not in the sample submission: T_5"),
        ("ID,쏘나타,K5\nT_0,0.75,0.25\nT_1,0.1,0.9\n", "not in the order"),
        (GOOD.replace("0.75", ""), "1 values are empty, NaN or infinite; the first is of id 'T_0', column '쏘나타'"),
        (GOOD.replace("0.1,0.9", "-0.1,1.1"), "2 values are outside 0 … 1"),
        (GOOD.replace("0.1,0.9", "0,1"), "1 values are 0"),
        (GOOD.replace("0.9", "0.8"), "1 rows do not sum to 1; the first is 'T_1' with 0.9"),
        (GOOD.replace("0.9", "many"), "not a number"),
        ("", "no rows"),
    ],
)
def test_a_problem_is_found(path, text, problem):
    path.write_bytes(text.encode())
    assert problem in "; ".join(check_submission(path, DATASET))


def test_all_problems_are_found_at_once(path):
    path.write_bytes(GOOD.replace("ID,", "id,").replace("0.9", "0.8").replace("0.75", "0").encode())
    assert len(check_submission(path, DATASET)) == 3


def test_alias_columns_count_once_in_the_sum(path):
    path.write_text("ID,RAV4,K5,라브4\nT_1,0.9,0.1,0.9\nT_0,0.25,0.75,0\n", encoding="utf-8")
    problems = "; ".join(check_submission(path, ALIASED))
    assert "1 values are 0" in problems
    assert "1 rows do not sum to 1; the first is 'T_0'" in problems


def test_a_missing_file_is_an_error(path):
    with pytest.raises(DataError, match="cannot be read"):
        check_submission(path, DATASET)


def test_names_of_one_class_that_hold_different_values_are_a_problem(path):
    dataset = dataclasses.replace(ALIASED, test_ids=("T_0", "T_1"))
    path.write_text("ID,RAV4,K5,라브4\nT_1,0.25,0.75,0.25\nT_0,0.5,0.4,0.6\n", encoding="utf-8")
    (problem, *others) = check_submission(path, dataset)
    assert "'RAV4' and '라브4' count as one class, but differ in 1 rows; the first is 'T_0'" in problem
    assert not [other for other in others if "count as one class" in other]
