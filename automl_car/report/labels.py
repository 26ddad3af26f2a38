"""Photos whose label may be wrong, for a person to look at; nothing is changed or deleted.

Two signs: the ensemble, which did not see the photo, says something else (confident learning: Northcutt, Jiang and
Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 70), and the same picture is there
under another label.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from automl_car.data.audit import DuplicateGroup
from automl_car.records import FloatArray
from automl_car.report.losses import Answers

LISTED_SHARE, FEWEST_LISTED = 0.02, 40  # of the photos, and at least so many, are listed though none is flagged


@dataclass(frozen=True)
class Suspect:
    """A photo whose label may be wrong.

    Attributes:
        rank: from 1, the likeliest first.
        label, suggested: the given class, and the one that got the highest probability.
        probability: of the suggested class.
        quality: of the given label, from 0 (wrong) to 1.
        flagged: whether confident learning estimates that this label is wrong.
    """

    rank: int
    path: str
    label: str
    suggested: str
    probability: float
    quality: float
    flagged: bool


@dataclass(frozen=True)
class Suspects:
    """What is known of the labels.

    Attributes:
        listed: the flagged photos, and the likeliest others.
        flagged: how many photos of all are flagged.
        log_loss_without: of all photos but the flagged ones; a bound and no estimate, as hard photos are flagged too.
    """

    listed: tuple[Suspect, ...]
    flagged: int
    log_loss_without: float


@dataclass(frozen=True)
class DuplicatePhoto:
    """A photo that is there under another label as well.

    Attributes:
        group: from 1; photos of a group show the same picture.
        exact: whether the files of the group are the same byte for byte; else they look the same.
        loss: None where the photo is not among those judged.
    """

    group: int
    path: str
    label: str
    exact: bool
    loss: float | None


def find_suspects(answers: Answers) -> Suspects:
    """The photos whose label the ensemble doubts most.

    Args:
        answers: out of fold; a model that had seen the label would believe it.
    """
    quality, flagged = _quality(answers), _flagged(answers)
    doubted = answers.guesses != answers.labels
    count = max(FEWEST_LISTED, math.ceil(LISTED_SHARE * len(quality)))
    order = np.argsort(quality, kind="stable")
    likeliest = order[doubted[order]][:count]
    chosen = flagged.copy()
    chosen[likeliest] = True
    rows = order[chosen[order]]
    tops = answers.tops
    listed = (
        Suspect(
            rank=rank,
            path=answers.paths[row],
            label=answers.class_names[answers.labels[row]],
            suggested=answers.class_names[answers.guesses[row]],
            probability=float(tops[row]),
            quality=float(quality[row]),
            flagged=bool(flagged[row]),
        )
        for rank, row in enumerate(rows.tolist(), start=1)
    )
    kept = answers.losses[~flagged]
    return Suspects(tuple(listed), int(flagged.sum()), float(kept.mean()))


def _quality(answers: Answers) -> FloatArray:
    """The probability of the given label, "self-confidence"."""
    from cleanlab.rank import get_label_quality_scores

    scores: FloatArray = get_label_quality_scores(answers.labels, answers.probabilities, method="self_confidence")
    return scores


def _flagged(answers: Answers) -> NDArray[np.bool_]:
    """The photos beyond the estimated share of right labels, for each pair of classes ("prune by noise rate")."""
    from cleanlab.filter import find_label_issues

    with warnings.catch_warnings():
        # It warns of each class with one photo or none; where some folds alone are judged, there may be many.
        warnings.filterwarnings("ignore", "May not flag all label issues in class", UserWarning)
        flagged: NDArray[np.bool_] = find_label_issues(
            answers.labels, answers.probabilities, filter_by="prune_by_noise_rate", n_jobs=1
        )
    return flagged


def conflicting_duplicates(groups: Sequence[DuplicateGroup], answers: Answers) -> tuple[DuplicatePhoto, ...]:
    """The photos of groups that carry more than one label, group by group.

    Args:
        groups: of the audit, such as `Audit.conflicts`.
        answers: for the losses.
    """
    losses = dict(zip(answers.paths, answers.losses.tolist(), strict=True))
    return tuple(
        DuplicatePhoto(number, path, label, group.exact, losses.get(path))
        for number, group in enumerate(groups, start=1)
        for path, label in zip(group.paths, group.labels, strict=True)
    )
