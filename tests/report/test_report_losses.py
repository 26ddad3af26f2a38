"""Where the loss comes from: numbers that can be worked out by hand or by scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix
from sklearn.metrics import log_loss as sklearn_log_loss

from automl_car.report import losses
from automl_car.report.losses import Answers, judge

NAMES = ("a", "b", "c")
# Of six photos, two of `a` are taken for `b`, one of `b` for `a`; `c` is right.
LABELS = np.array([0, 0, 0, 1, 1, 2])
PROBABILITIES = np.array(
    [[0.8, 0.1, 0.1], [0.25, 0.5, 0.25], [0.01, 0.98, 0.01], [0.5, 0.4, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]]
)
PATHS = tuple(f"{row}.jpg" for row in range(6))
HAND = judge(NAMES, PATHS, LABELS, PROBABILITIES)
LOSSES = [-np.log(value) for value in (0.8, 0.25, 0.01, 0.4, 0.8, 0.8)]


def many(rows: int, classes: int = 5, seed: int = 0) -> Answers:
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.full(classes, 0.3), rows) * 0.98 + 0.02 / classes
    names = tuple(f"class {number}" for number in range(classes))
    return judge(names, tuple(f"{row}.jpg" for row in range(rows)), random.integers(0, classes, rows), probabilities)


def test_the_headline_is_that_of_scikit_learn() -> None:
    answers = many(500)
    head = losses.headline(answers, 0.01)
    assert head.log_loss == pytest.approx(sklearn_log_loss(answers.labels, answers.probabilities))
    assert head.accuracy == pytest.approx(accuracy_score(answers.labels, answers.probabilities.argmax(axis=1)))
    assert (head.photos, head.classes, head.interval) == (500, 5, pytest.approx(0.0196))


def test_the_worst_part_of_the_photos_is_rounded_up() -> None:
    assert losses.worst_share(np.array(LOSSES), 0.01) == pytest.approx(LOSSES[2] / sum(LOSSES))


def test_confused_pairs_are_listed_by_their_loss_with_the_other_direction() -> None:
    first, second = losses.confusions(HAND)
    assert (first.label, first.guess, first.photos, first.photos_back) == ("a", "b", 2, 1)
    assert first.loss == pytest.approx(LOSSES[1] + LOSSES[2])
    assert first.share == pytest.approx((LOSSES[1] + LOSSES[2]) / sum(LOSSES))
    assert (second.label, second.guess, second.photos, second.photos_back) == ("b", "a", 1, 2)
    assert second.loss == pytest.approx(first.loss_back)


def test_the_counts_of_confusions_are_those_of_scikit_learn() -> None:
    answers = many(500)
    matrix = confusion_matrix(answers.labels, answers.guesses)
    found = {(row.label, row.guess): row.photos for row in losses.confusions(answers)}
    expected = {
        (f"class {label}", f"class {guess}"): int(matrix[label, guess])
        for label in range(5)
        for guess in range(5)
        if label != guess and matrix[label, guess]
    }
    assert found == expected


def test_without_a_mistake_there_is_no_confusion() -> None:
    assert losses.confusions(judge(NAMES, PATHS[:2], np.array([0, 2]), PROBABILITIES[[0, 5]])) == ()


@pytest.mark.parametrize(("rows", "expected"), [(6, 6), (500, 20), (2001, 21)])
def test_one_percent_of_the_photos_is_hard_at_least_twenty_at_most_all(rows: int, expected: int) -> None:
    assert len(losses.hard_photos(many(rows))) == expected


def test_hard_photos_begin_with_the_worst_and_add_up_to_all_loss() -> None:
    hard = losses.hard_photos(HAND)
    assert hard[0].path == "2.jpg"
    assert (hard[0].label, hard[0].guess) == ("a", "b")
    assert (hard[0].probability, hard[0].guess_probability) == (pytest.approx(0.01), pytest.approx(0.98))
    assert hard[0].cumulative_share == pytest.approx(LOSSES[2] / sum(LOSSES))
    assert hard[-1].cumulative_share == pytest.approx(1)


def test_a_class_has_the_numbers_of_its_own_photos() -> None:
    worst = losses.class_losses(HAND)[0]
    assert (worst.name, worst.number, worst.photos) == ("a", 0, 3)
    assert worst.log_loss == pytest.approx(sum(LOSSES[:3]) / 3)
    assert worst.accuracy == pytest.approx(1 / 3)
    assert worst.probability == pytest.approx((0.8 + 0.25 + 0.01) / 3)
    assert (worst.confused_with, worst.confused_photos) == ("b", 2)


def test_a_class_that_is_never_mistaken_is_confused_with_none() -> None:
    (row,) = [row for row in losses.class_losses(HAND) if row.name == "c"]
    assert (row.confused_with, row.confused_photos) == ("", 0)


def test_classes_without_a_judged_photo_are_left_out_and_the_shares_add_up() -> None:
    rows = losses.class_losses(judge(NAMES, PATHS[:5], LABELS[:5], PROBABILITIES[:5]))
    assert {row.name for row in rows} == {"a", "b"}
    assert sum(row.share for row in rows) == pytest.approx(1)


def test_names_that_count_as_one_class_are_told_apart() -> None:
    written = ["a", "a", "alias", "b", "b", "c"]
    (row,) = losses.alias_losses(HAND, written, {"alias": "a"})
    assert (row.alias, row.photos, row.same_as, row.photos_same_as) == ("alias", 1, "a", 2)
    assert row.log_loss == pytest.approx(LOSSES[2])
    assert row.log_loss_same_as == pytest.approx((LOSSES[0] + LOSSES[1]) / 2)
    assert (row.accuracy, row.accuracy_same_as) == (0, 0.5)


def test_an_alias_without_photos_has_no_loss() -> None:
    (row,) = losses.alias_losses(HAND, list("aaabbc"), {"alias": "a"})
    assert (row.photos, row.log_loss, row.accuracy) == (0, None, None)
