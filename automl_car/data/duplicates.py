"""Perceptual hashes in, groups of photos that show the same picture out.

The hash is the difference hash of Neal Krawetz (hackerfactor.com, "Kind of Like That", 2013), taken along rows and
along columns, at two sizes: 128 coarse bits that sort out almost all pairs, and 512 fine ones that decide. Measured on
2,640 photos of 60 car models: a copy at JPEG quality 30 differs in at most 36 of the 512 bits, one at 60 % of the size
in 46, one a fifth brighter in 54. The nearest pair that is no copy differs in 93: press pictures of one car from one
angle. Crops that lost a twentieth at each edge are not found.

A mirror image is a copy, too: networks are trained on photos and their mirror images, so they would be judged on what
they have seen. Its hash follows from that of the picture, see `mirrored`; the nearest mirrored pair of the same 2,640
photos that is none differs in 70 bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from automl_car.data.parallel import in_order, processors
from automl_car.records import IntArray

COARSE_SIDE, FINE_SIDE = 8, 16
COARSE_WORDS = 2 * COARSE_SIDE**2 // 64  # uint64 words of the coarse part
HASH_WORDS = COARSE_WORDS + 2 * FINE_SIDE**2 // 64
MAX_COARSE_BITS, MAX_FINE_BITS = 16, 64
# A flat picture has hardly any bit set, or all: such hashes agree without showing the same thing.
FEWEST_SET_BITS = 32
_TILE = 512  # rows compared with as many others at a time: 512 x 512 x 8 bytes is 2 MB, which a core's cache holds
_CHUNK = 4096  # hashes whose single bits, of a byte each, are in memory at a time


def difference_hash(pixels: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Hash a picture: which neighbours in a small grey version of it grow brighter.

    Args:
        pixels: uint8 (H, W, 3).

    Returns:
        uint64 (HASH_WORDS,): coarse bits, then fine bits.
    """
    grey = Image.fromarray(pixels).convert("L")
    bits = np.concatenate([_brighter(grey, side) for side in (COARSE_SIDE, FINE_SIDE)])
    return np.packbits(bits).view(np.uint64)


def group_duplicates(sha1s: Sequence[str] | NDArray[np.bytes_], hashes: NDArray[np.uint64]) -> IntArray:
    """Give photos with the same bytes or nearly the same picture the same group.

    Mirror images count as the same picture. Strongly cropped copies are not found.

    Args:
        sha1s: of the N files.
        hashes: uint64 (N, HASH_WORDS), from `difference_hash`.

    Returns:
        int64 (N,): groups, numbered from 0 in the order of their first photo. Groups are connected components: a
        chain of near-duplicates is one group.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = len(sha1s)
    _, first, inverse = np.unique(np.asarray(sha1s), return_index=True, return_inverse=True)
    equal = np.stack([np.arange(count), first[inverse]], axis=1)  # each file and the first one with its bytes
    edges = np.concatenate([equal, *near_pairs(hashes, hashes), *near_pairs(hashes, mirrored(hashes))])
    graph = coo_array((np.ones(len(edges), dtype=bool), (edges[:, 0], edges[:, 1])), shape=(count, count))
    _, labels = connected_components(graph, directed=False)
    return _number_by_first_row(labels)


def mirrored(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The hashes of the mirror images, uint64 (N, HASH_WORDS); off by the neighbours that are equally bright.

    Along rows, neighbours change places: bits come in the opposite order, and what grew brighter grows darker. Along
    columns only the order changes.
    """
    mirrors = np.empty_like(hashes)
    for start in range(0, len(hashes), _CHUNK):
        mirrors[start : start + _CHUNK] = _mirrored(hashes[start : start + _CHUNK])
    return mirrors


def _mirrored(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    bits = np.unpackbits(np.ascontiguousarray(hashes).view(np.uint8), axis=1)
    parts, place = [], 0
    for side in (COARSE_SIDE, FINE_SIDE):
        for inverted in (1, 0):
            lines = bits[:, place : place + side**2].reshape(len(bits), side, side)
            parts.append((lines[:, :, ::-1] ^ inverted).reshape(len(bits), side**2))
            place += side**2
    return np.packbits(np.concatenate(parts, axis=1), axis=1).view(np.uint64)


def near_pairs(hashes: NDArray[np.uint64], others: NDArray[np.uint64]) -> Iterator[IntArray]:
    """Pairs of a row of `hashes` and a later one of `others` with nearly the same hash, as int64 (P, 2) arrays.

    N²/2 comparisons in bounded memory, on all cores. `others` holds the same pictures in the same order, as they are or
    mirrored.
    """
    set_bits = np.bitwise_count(hashes[:, COARSE_WORDS:]).sum(1, dtype=np.int64)
    most = 64 * (HASH_WORDS - COARSE_WORDS) - FEWEST_SET_BITS
    telling = np.flatnonzero((set_bits >= FEWEST_SET_BITS) & (set_bits <= most))
    strip = partial(_near_strip, hashes[telling].T.copy(), others[telling].T.copy())
    for pairs in in_order(strip, range(0, len(telling), _TILE), processors()):
        yield telling[pairs]


def _near_strip(words: NDArray[np.uint64], others: NDArray[np.uint64], above: int) -> IntArray:
    """Pairs of one of `_TILE` pictures and any later one.

    Args:
        words, others: uint64 (HASH_WORDS, N).
        above: the first of the pictures.
    """
    found = [np.zeros((0, 2), dtype=np.int64)]
    rows = words[:, above : above + _TILE]
    for below in range(above, words.shape[1], _TILE):
        columns = others[:, below : below + _TILE]
        # The first word alone sorts out nearly all pairs: what differs more in it differs more in all coarse ones.
        near = np.bitwise_count(rows[0][:, None] ^ columns[0]) <= MAX_COARSE_BITS
        left, right = np.divmod(np.flatnonzero(near), columns.shape[1])  # ten times as fast as `nonzero` of a table
        later = left + above < right + below
        left, right = left[later], right[later]
        for part, limit in ((slice(COARSE_WORDS), MAX_COARSE_BITS), (slice(COARSE_WORDS, None), MAX_FINE_BITS)):
            distance = np.bitwise_count(rows[part, left] ^ columns[part, right]).sum(0, dtype=np.int64)
            left, right = left[distance <= limit], right[distance <= limit]
        found.append(np.stack([left + above, right + below], axis=1))
    return np.concatenate(found)


def _brighter(grey: Image.Image, side: int) -> NDArray[np.bool_]:
    """2 * side² bits: along rows, then along columns."""
    wide = np.asarray(grey.resize((side + 1, side), Image.Resampling.BOX))
    tall = np.asarray(grey.resize((side, side + 1), Image.Resampling.BOX))
    return np.concatenate([(wide[:, 1:] > wide[:, :-1]).ravel(), (tall[1:] > tall[:-1]).ravel()])


def _number_by_first_row(labels: NDArray[np.int32]) -> IntArray:
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]
