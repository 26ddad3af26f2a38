"""Photos as a discriminant sees them that was fitted without each: the same as fitting it anew for every photo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from automl_car.training.left_out import leave_one_out
from automl_car.training.rows import Rows

CLASSES, SHRINKAGE = 3, 0.2


@dataclass(frozen=True)
class Fitted:
    """A discriminant in float64: a of the scatter and a multiple of the identity, whatever photos are left."""

    views: tuple[NDArray[np.float32], ...]
    labels: NDArray[np.int64]

    def scatter_and_means(self, photos: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        rows = np.concatenate([view[photos] for view in self.views]).astype(np.float64)
        labels = np.tile(self.labels[photos], len(self.views))
        means = np.stack([rows[labels == label].mean(0) for label in range(CLASSES)])
        apart = rows - means[labels]
        return apart.T @ apart, means

    @property
    def all(self) -> NDArray[np.int64]:
        return np.arange(len(self.labels))

    @property
    def share(self) -> float:
        return (1 - SHRINKAGE) / (len(self.labels) * len(self.views))

    def covariance(self, scatter: NDArray[np.float64]) -> NDArray[np.float64]:
        whole, _ = self.scatter_and_means(self.all)
        size = np.trace(whole) / (len(self.labels) * len(self.views)) / len(whole)
        return self.share * scatter + SHRINKAGE * size * np.eye(len(whole))

    def logits(self, photo: int, photos: NDArray[np.int64]) -> NDArray[np.float64]:
        """Of the mean of a photo's views, by the discriminant of these photos."""
        scatter, means = self.scatter_and_means(photos)
        way = np.mean([view[photo] for view in self.views], axis=0) - means
        squares: NDArray[np.float64] = (way @ np.linalg.inv(self.covariance(scatter)) * way).sum(1)
        return -0.5 * squares

    def left_out(self, rows: NDArray[np.int64] | None = None, chunk: int = 256) -> tuple[Any, Any]:
        scatter, means = self.scatter_and_means(self.all)
        rows = self.all if rows is None else rows
        factor = np.linalg.cholesky(self.covariance(scatter))
        return leave_one_out(
            Rows(self.views, rows, chunk=chunk),
            torch.from_numpy(self.labels[rows]),
            torch.from_numpy(means).float(),
            torch.from_numpy(np.bincount(self.labels, minlength=CLASSES)),
            torch.from_numpy(factor).float(),
            self.share,
        )


def fitted(photos: int, width: int, views: int) -> Fitted:
    random = np.random.default_rng(0)
    labels = np.arange(photos) % CLASSES
    photo = random.normal(0, 1, (CLASSES, width))[labels] + random.normal(0, 1, (photos, width))
    seen = tuple((photo + random.normal(0, 0.5, photo.shape)).astype(np.float32) for _ in range(views))
    return Fitted(seen, labels)


@pytest.mark.parametrize(("photos", "width"), [(40, 12), (15, 60)], ids=["more rows", "more features"])
@pytest.mark.parametrize("views", [1, 3])
def test_it_is_the_same_as_fitting_it_anew_without_each_photo(photos: int, width: int, views: int) -> None:
    case = fitted(photos, width, views)
    expected = [case.logits(photo, np.delete(case.all, photo)) for photo in range(photos)]
    logits, labels = case.left_out()
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(labels, case.labels)


def test_without_leaving_it_out_a_photo_seems_nearer_to_its_class() -> None:
    case = fitted(15, 60, 1)
    logits, labels = case.left_out()
    seen = np.array([case.logits(photo, case.all) for photo in case.all])
    assert (logits[case.all, labels] < seen[case.all, labels] - 1).all()


def test_some_of_the_photos_are_seen_as_among_all() -> None:
    case = fitted(40, 12, 2)
    some = np.array([3, 17, 18, 39])
    np.testing.assert_allclose(case.left_out(some)[0], case.left_out()[0][some], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("chunk", [1, 7, 40])
def test_how_many_are_read_at_a_time_changes_nothing(chunk: int) -> None:
    case = fitted(40, 12, 2)
    np.testing.assert_allclose(case.left_out(chunk=chunk)[0], case.left_out()[0], rtol=1e-4, atol=1e-4)


def test_a_photo_that_is_alone_in_its_class_is_not_judged() -> None:
    case = fitted(20, 4, 2)
    labels = np.where(np.arange(20) == 5, 2, np.arange(20) % 2)
    logits, judged = Fitted(case.views, labels).left_out(chunk=1)
    assert logits.shape == (19, CLASSES)
    np.testing.assert_array_equal(judged, np.delete(labels, 5))
