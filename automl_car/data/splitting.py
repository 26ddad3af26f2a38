"""Classes and groups in, K stratified folds out in which no group is torn.

The algorithm is that of scikit-learn's `StratifiedGroupKFold` (after a kernel of Jakub Wasikowski on Kaggle), and the
folds are the same to the last row. But scikit-learn keeps a row of all classes for each group, and nearly every photo
is a group of its own: with a million photos of 396 classes that is 3 GB several times over, and it looks at all
classes again for each photo and fold. Here a group is its few classes, and only their columns are computed anew.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from automl_car.records import FloatArray, IntArray

_CHUNK = 1024  # rows of all classes that are in memory at a time
_RELATIVE, _ABSOLUTE = 1e-5, 1e-8  # within which two spreads are the same, as for `numpy.isclose`


def split_groups(classes: IntArray, groups: IntArray, *, count: int, seed: int) -> IntArray:
    """Spread the groups over the folds, so that each fold has nearly the same share of each class.

    Args:
        classes: int64 (N,): class of each row.
        groups: int64 (N,): rows with the same number stay together.
        count: of folds; at most the number of groups.
        seed: of the order in which groups that are alike are dealt out.

    Returns:
        int64 (N,): the fold of each row.
    """
    _, column = np.unique(classes, return_inverse=True)
    _, group = np.unique(groups, return_inverse=True)
    order = np.arange(group.max() + 1)
    np.random.RandomState(seed).shuffle(order)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    group = place[group]
    held = _held(column, group)
    fold_of_group = _deal(held, np.bincount(column), count)
    return fold_of_group[group]


@dataclass(frozen=True, eq=False)
class _Held:
    """The classes of each group, one after the other.

    Attributes:
        starts: int64 (G + 1,): where those of each group begin.
        columns: int64 (E,): class.
        photos: int64 (E,): rows of that class in the group.
    """

    starts: IntArray
    columns: IntArray
    photos: IntArray


def _held(column: IntArray, group: IntArray) -> _Held:
    width = int(column.max()) + 1
    pairs, photos = np.unique(group * width + column, return_counts=True)
    starts = np.searchsorted(pairs // width, np.arange(int(group.max()) + 2))
    return _Held(starts, pairs % width, photos)


# ---- the order ------------------------------------------------------------------------------------------------------


def _order(held: _Held, width: int) -> IntArray:
    """Groups with the widest spread over the classes first: they are the hardest to place."""
    spread = np.empty(len(held.starts) - 1)
    alone = np.flatnonzero(np.diff(held.starts) == 1)
    first = held.starts[alone]
    kinds, inverse = np.unique(held.photos[first] * width + held.columns[first], return_inverse=True)
    spread[alone] = _spreads(np.arange(len(kinds)), kinds % width, kinds // width, len(kinds), width)[inverse]
    mixed = np.flatnonzero(np.diff(held.starts) > 1)
    entries = np.flatnonzero(np.repeat(np.diff(held.starts) > 1, np.diff(held.starts)))
    rows = np.repeat(np.arange(len(mixed)), np.diff(held.starts)[mixed])
    spread[mixed] = _spreads(rows, held.columns[entries], held.photos[entries], len(mixed), width)
    return np.argsort(-spread, kind="stable")


def _spreads(rows: IntArray, columns: IntArray, photos: IntArray, count: int, width: int) -> FloatArray:
    """Standard deviation over all classes, float64 (count,), of rows that are 0 but for some entries.

    Groups that differ in their class alone differ in the last bit of this number, and so their order depends on it: it
    has to be computed from the whole row.
    """
    spreads = np.empty(count)
    for start in range(0, count, _CHUNK):
        stop = min(start + _CHUNK, count)
        part = slice(*np.searchsorted(rows, [start, stop]))
        dense = np.zeros((stop - start, width))
        dense[rows[part] - start, columns[part]] = photos[part]
        spreads[start:stop] = np.std(dense, axis=1)
    return spreads


# ---- the folds ------------------------------------------------------------------------------------------------------


def _deal(held: _Held, totals: IntArray, count: int) -> IntArray:
    """The fold of each group, int64 (G,): where the classes' shares of the folds then differ least.

    Among folds that are equally good, it is the one with the fewest photos.
    """
    folds = np.empty(len(held.starts) - 1, dtype=np.int64)
    photos = np.zeros((count, len(totals)))  # of each class in each fold
    spreads = np.zeros((count, len(totals)))  # of each class over the folds, if the group were put into the fold
    sizes = [0] * count
    here = np.eye(count)[:, :, None]
    for group in _order(held, len(totals)).tolist():
        part = slice(held.starts[group], held.starts[group + 1])
        columns, more = held.columns[part], held.photos[part]
        # (folds, fold of the group, its classes); the layout decides in which order the sums below are taken
        put = np.add(photos[:, None, columns], here * more, order="C")
        spreads[:, columns] = _deviation(put / totals[columns])
        fold = _best((np.add.reduce(spreads, axis=1) / len(totals)).tolist(), sizes)
        photos[fold, columns] += more
        sizes[fold] += int(more.sum())
        spreads[:, columns] = spreads[fold, columns]
        folds[group] = fold
    return folds


def _deviation(shares: FloatArray) -> FloatArray:
    """`numpy.std` along the first axis, in the same steps, but without what it asks on the way for each call."""
    centred = shares - np.add.reduce(shares, axis=0) / len(shares)
    deviation: FloatArray = np.sqrt(np.add.reduce(centred * centred, axis=0) / len(shares))
    return deviation


def _best(spreads: list[float], sizes: list[int]) -> int:
    best, least = 0, spreads[0]
    for fold in range(1, len(sizes)):
        spread = spreads[fold]
        as_good = abs(spread - least) <= _ABSOLUTE + _RELATIVE * abs(least)
        if spread < least or (as_good and sizes[fold] < sizes[best]):
            best, least = fold, spread
    return best
