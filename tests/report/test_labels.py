"""Wrong labels that were planted are found; cleanlab's own numbers are taken as they are."""

from __future__ import annotations

import numpy as np
import pytest
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores

from automl_car.data.audit import DuplicateGroup
from automl_car.report.labels import conflicting_duplicates, find_suspects
from automl_car.report.losses import Answers, judge

ROWS, CLASSES, PLANTED = 300, 4, (3, 50, 111, 200, 299)


def planted() -> tuple[Answers, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Clear answers, and labels of which five were turned to another class; and the true labels."""
    random = np.random.default_rng(0)
    truth = np.arange(ROWS) % CLASSES
    logits = 8 * np.eye(CLASSES)[truth] + random.normal(size=(ROWS, CLASSES))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = truth.copy()
    labels[list(PLANTED)] = (truth[list(PLANTED)] + 1) % CLASSES
    return judge(tuple("abcd"), tuple(f"{row}.jpg" for row in range(ROWS)), labels, probabilities), truth


def test_planted_labels_are_the_first_suspects_with_the_true_label() -> None:
    answers, truth = planted()
    first = find_suspects(answers).listed[:5]
    assert {suspect.path for suspect in first} == {f"{row}.jpg" for row in PLANTED}
    assert all(suspect.suggested == "abcd"[truth[int(suspect.path.removesuffix(".jpg"))]] for suspect in first)
    assert [suspect.rank for suspect in first] == [1, 2, 3, 4, 5]


def test_the_quality_is_that_of_cleanlab_and_rises() -> None:
    answers, _ = planted()
    scores = get_label_quality_scores(answers.labels, answers.probabilities)
    listed = find_suspects(answers).listed
    assert [suspect.quality for suspect in listed] == [
        pytest.approx(scores[int(suspect.path.removesuffix(".jpg"))]) for suspect in listed
    ]
    assert list(listed) == sorted(listed, key=lambda suspect: suspect.quality)


def test_the_flags_are_those_of_cleanlab() -> None:
    answers, _ = planted()
    flagged = {f"{row}.jpg" for row in find_label_issues(answers.labels, answers.probabilities, n_jobs=1).nonzero()[0]}
    assert {suspect.path for suspect in find_suspects(answers).listed if suspect.flagged} == flagged
    assert len(flagged) >= 3


def test_a_photo_that_is_recognised_is_no_suspect() -> None:
    assert all(suspect.label != suspect.suggested for suspect in find_suspects(planted()[0]).listed)


def test_the_loss_without_the_flagged_photos_is_that_of_the_others() -> None:
    answers, _ = planted()
    found = find_suspects(answers)
    flagged = {suspect.path for suspect in found.listed if suspect.flagged}
    others = [loss for path, loss in zip(answers.paths, answers.losses, strict=True) if path not in flagged]
    assert (found.flagged, found.log_loss_without) == (len(flagged), pytest.approx(np.mean(others)))


def test_classes_without_or_with_a_single_photo_are_no_obstacle() -> None:
    answers, _ = planted()
    rows = np.flatnonzero((answers.labels < 2) | (np.arange(ROWS) == 6))  # none of class 3, one of class 2
    paths = tuple(answers.paths[row] for row in rows)
    some = judge(answers.class_names, paths, answers.labels[rows], answers.probabilities[rows])
    assert find_suspects(some).listed[0].path == "3.jpg"


def test_where_all_is_recognised_nobody_is_suspected() -> None:
    probabilities = np.full((8, 2), 0.1) + 0.8 * np.eye(2)[np.arange(8) % 2]
    found = find_suspects(judge(("a", "b"), tuple("01234567"), np.arange(8) % 2, probabilities))
    assert (found.listed, found.flagged) == ((), 0)
    assert found.log_loss_without == pytest.approx(-np.log(0.9))


def test_duplicates_are_listed_group_by_group_with_the_loss_where_there_is_one() -> None:
    answers, _ = planted()
    rows = conflicting_duplicates([DuplicateGroup(("0.jpg", "elsewhere.jpg"), ("a", "b"), exact=True)], answers)
    assert [(row.group, row.path, row.label, row.exact) for row in rows] == [
        (1, "0.jpg", "a", True),
        (1, "elsewhere.jpg", "b", True),
    ]
    assert rows[0].loss == pytest.approx(float(answers.losses[0]))
    assert rows[1].loss is None
