"""Where the log loss comes from: what the ensemble said about photos that it did not see in; tables of numbers out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from automl_car.losses import true_class
from automl_car.records import FloatArray, IntArray

HARD_SHARE, FEWEST_HARD = 0.01, 20  # of the photos, and at least so many, are called hard


@dataclass(frozen=True, eq=False)
class Answers:
    """What the ensemble said about each training photo that it was judged on.

    Attributes:
        class_names: (C,), in the order of the columns.
        paths: (N,), relative to the data folder.
        labels: class indices (N,).
        probabilities: float64 (N, C), each row by the pool that did not see the photo.
        losses: float64 (N,), the natural-log loss of each photo.
        guesses: class indices (N,) of the highest probability.
    """

    class_names: tuple[str, ...]
    paths: tuple[str, ...]
    labels: IntArray
    probabilities: FloatArray
    losses: FloatArray
    guesses: IntArray

    @property
    def given(self) -> FloatArray:
        """(N,): the probability of the labelled class."""
        return true_class(self.probabilities, self.labels)

    @property
    def tops(self) -> FloatArray:
        """(N,): the highest probability of each row."""
        return true_class(self.probabilities, self.guesses)


@dataclass(frozen=True)
class Headline:
    """The loss as a whole.

    Attributes:
        photos, classes: that were judged, and that there are.
        log_loss, interval: mean over photos, and half the width of its 95 % interval.
        accuracy: share of photos whose class got the highest probability.
        wrong_share: of all loss, the share of photos whose class did not.
        worst_1_share, worst_10_share: of all loss, the share of the worst 1 % and 10 % of photos.
    """

    photos: int
    classes: int
    log_loss: float
    interval: float
    accuracy: float
    wrong_share: float
    worst_1_share: float
    worst_10_share: float


@dataclass(frozen=True)
class Confusion:
    """Photos of one class that were taken for another one.

    Attributes:
        label, guess: names of the classes.
        photos, loss, share: how many, the sum of their losses, and its share of the loss of all photos.
        photos_back, loss_back: the same of photos of `guess` that were taken for `label`.
    """

    label: str
    guess: str
    photos: int
    loss: float
    share: float
    photos_back: int
    loss_back: float


@dataclass(frozen=True)
class HardPhoto:
    """A photo of high loss.

    Attributes:
        probability: what its class got.
        guess, guess_probability: the class that got most, and how much.
        cumulative_share: of all loss, the share of this photo and those above it.
    """

    path: str
    label: str
    probability: float
    guess: str
    guess_probability: float
    loss: float
    cumulative_share: float


@dataclass(frozen=True)
class ClassLoss:
    """One class.

    Attributes:
        number: its column, from 0; what pictures call it where no font has its letters.
        photos, log_loss, share: how many, their mean loss, and the share of their sum in the loss of all photos.
        accuracy, probability: share that was recognised, and mean probability of the right class.
        confused_with, confused_photos: the class that most of the others were taken for, and how many; "" without any.
    """

    number: int
    name: str
    photos: int
    log_loss: float
    share: float
    accuracy: float
    probability: float
    confused_with: str
    confused_photos: int


@dataclass(frozen=True)
class AliasLoss:
    """Two names that count as one class: how the photos under each of them do; None where there are none."""

    alias: str
    same_as: str
    photos: int
    log_loss: float | None
    accuracy: float | None
    photos_same_as: int
    log_loss_same_as: float | None
    accuracy_same_as: float | None


def judge(class_names: tuple[str, ...], paths: tuple[str, ...], labels: IntArray, probabilities: FloatArray) -> Answers:
    """Put together what all tables are made from; the arguments are described at `Answers`."""
    losses = -np.log(true_class(probabilities, labels))
    return Answers(class_names, paths, labels, probabilities, losses, probabilities.argmax(axis=1))


def headline(answers: Answers, standard_error: float) -> Headline:
    """The loss as a whole; `standard_error` is that of the ensemble's log loss."""
    wrong = answers.guesses != answers.labels
    return Headline(
        photos=len(answers.losses),
        classes=len(answers.class_names),
        log_loss=float(answers.losses.mean()),
        interval=1.96 * standard_error,
        accuracy=float(1 - wrong.mean()),
        wrong_share=float(answers.losses[wrong].sum() / answers.losses.sum()),
        worst_1_share=worst_share(answers.losses, 0.01),
        worst_10_share=worst_share(answers.losses, 0.1),
    )


def worst_share(losses: FloatArray, part: float) -> float:
    """What share of all loss this part of the photos makes, the worst ones first; the part is rounded up.

    Example:
        >>> worst_share(np.array([1.0, 6.0, 1.0, 2.0]), 0.25)
        0.6
    """
    worst = np.sort(losses)[::-1][: math.ceil(part * len(losses))]
    return float(worst.sum() / losses.sum())


def confusions(answers: Answers) -> tuple[Confusion, ...]:
    """Every pair of classes with at least one mistaken photo, the costliest first."""
    names, total = answers.class_names, answers.losses.sum()
    wrong = np.flatnonzero(answers.guesses != answers.labels)
    pairs = np.stack([answers.labels[wrong], answers.guesses[wrong]], axis=1)
    found, inverse = np.unique(pairs, axis=0, return_inverse=True)
    counts = np.bincount(inverse.ravel(), minlength=len(found))
    sums = np.bincount(inverse.ravel(), weights=answers.losses[wrong], minlength=len(found))
    by_pair = {
        (label, guess): (count, loss)
        for (label, guess), count, loss in zip(found.tolist(), counts.tolist(), sums.tolist(), strict=True)
    }
    costliest = sorted(by_pair.items(), key=lambda item: (-item[1][1], item[0]))
    return tuple(
        Confusion(names[label], names[guess], count, loss, float(loss / total), *by_pair.get((guess, label), (0, 0.0)))
        for (label, guess), (count, loss) in costliest
    )


def hard_photos(answers: Answers) -> tuple[HardPhoto, ...]:
    """The 1 % of the photos that make most of the loss, at least 20 where there are so many, the worst first."""
    names, given, tops = answers.class_names, answers.given, answers.tops
    count = max(FEWEST_HARD, math.ceil(HARD_SHARE * len(answers.losses)))
    worst = np.argsort(-answers.losses, kind="stable")[:count]
    shares = answers.losses[worst].cumsum() / answers.losses.sum()
    return tuple(
        HardPhoto(
            path=answers.paths[row],
            label=names[answers.labels[row]],
            probability=float(given[row]),
            guess=names[answers.guesses[row]],
            guess_probability=float(tops[row]),
            loss=float(answers.losses[row]),
            cumulative_share=float(share),
        )
        for row, share in zip(worst.tolist(), shares, strict=True)
    )


def class_losses(answers: Answers) -> tuple[ClassLoss, ...]:
    """Every class that has photos among those judged, the costliest first."""
    photos = np.bincount(answers.labels, minlength=len(answers.class_names))
    order = np.argsort(answers.labels, kind="stable")
    parts = np.split(order, photos.cumsum()[:-1])  # the rows of each class
    rows = [_class_loss(answers, number, part) for number, part in enumerate(parts) if len(part)]
    return tuple(sorted(rows, key=lambda row: (-row.share, row.number)))


def _class_loss(answers: Answers, number: int, rows: IntArray) -> ClassLoss:
    losses, guesses = answers.losses[rows], answers.guesses[rows]
    others = np.bincount(guesses[guesses != number], minlength=len(answers.class_names))
    most = int(others.argmax())
    return ClassLoss(
        number=number,
        name=answers.class_names[number],
        photos=len(rows),
        log_loss=float(losses.mean()),
        share=float(losses.sum() / answers.losses.sum()),
        accuracy=float((guesses == number).mean()),
        probability=float(answers.probabilities[rows, number].mean()),
        confused_with=answers.class_names[most] if others[most] else "",
        confused_photos=int(others[most]),
    )


def alias_losses(answers: Answers, written: Sequence[str], aliases: Mapping[str, str]) -> tuple[AliasLoss, ...]:
    """How the photos of each pair of names do that the contest counts as one class.

    Args:
        written: (N,), the name that each photo's label is written as, NFC.
        aliases: {alias: name that it counts as}, NFC.
    """
    names = np.array(written, dtype=np.str_)
    return tuple(
        AliasLoss(alias, same_as, *_under(answers, names == alias), *_under(answers, names == same_as))
        for alias, same_as in aliases.items()
    )


def _under(
    answers: Answers, chosen: np.ndarray[tuple[int], np.dtype[np.bool_]]
) -> tuple[int, float | None, float | None]:
    """Photos, log loss and accuracy of the chosen rows."""
    if not chosen.any():
        return 0, None, None
    right = answers.guesses[chosen] == answers.labels[chosen]
    return int(chosen.sum()), float(answers.losses[chosen].mean()), float(right.mean())
