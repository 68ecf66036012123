"""Near-duplicates of papers whose vectors are in memory: an abstract that was revised, split over two ids or written
twice.

Such papers must not be each other's negatives in a training, nor lie on both sides of a validation split.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from embedsearch.duplicates.links import Groups, Links
from embedsearch.duplicates.scan import Read, scan
from embedsearch.errors import OptionError
from embedsearch.scores import Float32, Float64, unit_rows

CROWDED = 0.5
"""Mean cosine of all pairs from which on a space is crowded: language models that nobody trained to tell texts apart
put all of them into one narrow cone, where any two papers look like near-duplicates."""
NOTHING_LEFT = 1e-6
"""Length of what is left of a vector without the mean, from which on it tells nothing."""
READ_AT_ONCE = 8192


def near_duplicates(vectors: Float32, *, min_cosine: float = 0.95, keys: Sequence[str] | None = None) -> Groups:
    """The group of each of n papers, (n,) int64: the position of its first paper. Alone in it: its own position.

    `vectors` (n, d) are of unit length. Two papers are in one group if a chain of papers joins them, each link a cosine
    (`scores.cosines`) of at least `min_cosine` or an equal key that is not "". All pairs are looked at, by blocks; a
    space in which everything is alike is centred first (`uncrowded`). Raises OptionError for a cosine that cannot be.
    """
    check_cosine(min_cosine)
    links = Links(len(vectors))
    for rows, columns in _same_keys(keys or ()):
        links.add(rows, columns)
    if len(vectors) > 1:
        rows_of = uncrowded(vectors)[0]
        for near in scan(lambda first, end: rows_of[first:end], len(vectors), min_cosine):
            is_near = near.at_least(min_cosine)
            links.add(near.first[is_near], near.second[is_near])
    return links.groups()


def check_cosine(min_cosine: float) -> None:
    """Raise OptionError for one that makes no near-duplicates."""
    if not 0 < min_cosine <= 1:
        raise OptionError(f"expected a cosine above 0 and at most 1 for near-duplicates, found {min_cosine}")


def uncrowded(vectors: Float32) -> tuple[Float32, bool]:
    """(unit rows (n, d) as they are, or less their mean where their mean cosine is above CROWDED; whether it is)."""
    n = len(vectors)
    crowding, mean = mean_cosine(lambda first, end: vectors[first:end], n)
    if n < 3 or crowding <= CROWDED:
        return vectors, False
    # Rows that are all the same leave nothing: they stay what they are, which is duplicates.
    if not leaves_something(lambda first, end: vectors[first:end], n, mean):
        return vectors, False
    return centred(vectors, mean), True


def mean_cosine(read: Read, n: int) -> tuple[float, Float64]:
    """Of all pairs of n papers, NaN of fewer than two, and the mean vector (d,): its squared length is the mean over
    all pairs, less what each row has with itself."""
    mean = sum(block.sum(axis=0, dtype=np.float64) for block in _blocks(read, n)) / max(n, 1)
    return (n * float(mean @ mean) - 1) / (n - 1) if n > 1 else float("nan"), mean


def leaves_something(read: Read, n: int, mean: Float64) -> bool:
    """Whether each of n papers differs from the mean (d,)."""
    return all(bool(np.all(np.linalg.norm(block - mean, axis=1) > NOTHING_LEFT)) for block in _blocks(read, n))


def centred(rows: Float32, mean: Float64) -> Float32:
    """Unit rows (n, d) less the mean (d,), of unit length again."""
    return unit_rows(rows - mean)


def _blocks(read: Read, n: int) -> Iterator[Float32]:
    for first in range(0, n, READ_AT_ONCE):
        yield read(first, min(first + READ_AT_ONCE, n))


def _same_keys(keys: Sequence[str]) -> list[tuple[Groups, Groups]]:
    first: dict[str, int] = {}
    pairs = [(i, first.setdefault(key, i)) for i, key in enumerate(keys) if key]
    return [(np.array([i for i, _ in pairs], np.int64), np.array([j for _, j in pairs], np.int64))] if pairs else []
