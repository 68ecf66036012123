"""Vectors as many as wanted that lie as those of a real store lie: for measures at sizes that nobody has embedded.

    python -m benchmarks.synthetic --like indexes/real [--rows 10000]

shows how far they agree. A new vector is a random convex mixture (all weights equally likely) of a real paper and its
three nearest neighbours, so it lies where papers lie, plus noise: normal, with the covariance of the real residuals
(paper minus such a mixture of its neighbours alone, each scaled to length one), as long as the residual of that paper,
so that crowded regions stay crowded, times NOISE. Lengths are one.

NEIGHBOURS, the equal weights and NOISE were set by looking at 10,000 real papers (minilm): of 16 settings, the one
nearest in the first and tenth neighbour's cosine and in all pairs'. A table over those papers shows how well they were
fitted, not how it would do on others; the spectrum, and the fall of distances with fewer papers, were only looked at.

`source(dim=)` makes longer vectors than the real ones, for want of real ones of that length: behind a made vector come
independent normal numbers whose variances go on falling as those of the real vectors do, and all is turned, so that no
coordinate is the larger for its place. Such numbers are no likeness of a real model's: they only blur what is near.

With more vectors than papers neighbours get nearer, but already from a few times as many on more slowly than the real
subsamples' trend continued, and the first and the tenth come closer together. Which of the two a real corpus of that
size does, nothing here tells.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.fft

from embedsearch.scores import Float32, Rows, exact_top_k, unit_rows
from embedsearch.store.generation import Shard
from embedsearch.store.space import Space
from embedsearch.store.vectors import SHARD_ROWS, write_shard

NEIGHBOURS = 3
NOISE = 0.82
QUANTILES = (5, 25, 50, 75, 95)
ROWS, QUERIES, MIXTURES, TURN = range(4)  # which stream of random numbers


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Source:
    """What new vectors are made from: `rows` (n, d) real unit rows, `near` (n, 1 + m) each paper and its neighbours,
    `residuals` (n,) the lengths of their residuals, `root` (d, d) a square root of the residuals' covariance, `tail`
    (t,) the deviations of what comes behind."""

    rows: Float32
    near: Rows
    residuals: Float32
    root: Float32
    tail: Float32
    seed: int

    @property
    def dim(self) -> int:
        """Of the vectors that are made."""
        return self.rows.shape[1] + len(self.tail)

    def shard(self, number: int, n_rows: int = SHARD_ROWS, *, stream: int = ROWS) -> Float32:
        """The first `n_rows` of shard `number`, (n_rows, dim) unit rows: whatever else is made."""
        rng = np.random.default_rng([self.seed, stream, number])
        papers = rng.integers(0, len(self.rows), SHARD_ROWS)
        weights = rng.dirichlet(np.ones(self.near.shape[1]), SHARD_ROWS).astype(np.float32)
        noise = rng.standard_normal((SHARD_ROWS, self.rows.shape[1]), np.float32) @ self.root
        made = _mixed(weights, self.rows, self.near[papers]) + NOISE * self.residuals[papers, None] * noise
        if len(self.tail):
            made = self._turned(
                np.hstack([made, rng.standard_normal((len(made), len(self.tail)), np.float32) * self.tail])
            )
        return unit_rows(made[:n_rows])

    def _turned(self, rows: Float32) -> Float32:
        """Twice: random signs, and a cosine transform, which keeps lengths and angles."""
        for signs in np.random.default_rng([self.seed, TURN]).choice(np.array([-1, 1], np.float32), (2, self.dim)):
            rows = scipy.fft.dct(rows * signs, norm="ortho", axis=1, overwrite_x=True)
        return rows

    def blocks(self, n: int) -> Iterator[tuple[int, Float32]]:
        """(first row, rows) of `n` vectors, a shard at a time: no more is in memory."""
        for number, first in enumerate(range(0, n, SHARD_ROWS)):
            yield first, self.shard(number, min(SHARD_ROWS, n - first))

    def queries(self, n: int) -> Float32:
        """(n, dim) unit rows made the same way, none of which `blocks` yields. At most a shard of them."""
        return self.shard(0, min(n, SHARD_ROWS), stream=QUERIES)

    def write(self, folder: Path, n: int, *, dtype: str = "float16") -> list[Shard]:
        """Write `n` vectors as the shards of a store in `folder`."""
        (folder / "vectors").mkdir(parents=True, exist_ok=True)
        shards = []
        for number, (first, rows) in enumerate(self.blocks(n), 1):
            file = write_shard(folder, number=number, vectors=rows, dtype=dtype)
            shards.append(Shard(file=file, first_row=first, n_rows=len(rows), n_tokens=0, n_truncated=0, made_with={}))
        return shards


def source(rows: Float32, *, seed: int = 0, neighbours: int = NEIGHBOURS, dim: int | None = None) -> Source:
    """Learn from `rows` (n, d), unit rows, n > `neighbours`. All pairs of them are looked at. The vectors that it makes
    have `dim` numbers, by default d."""
    tail = _tail(rows, dim or rows.shape[1])
    near = np.concatenate([np.arange(len(rows))[:, None], nearest(rows, rows, neighbours, leave_out_self=True)[1]], 1)
    weights = np.random.default_rng([seed, MIXTURES]).dirichlet(np.ones(neighbours), len(rows)).astype(np.float32)
    residuals = rows - _mixed(weights, rows, near[:, 1:])
    lengths = np.maximum(np.linalg.norm(residuals, axis=1), 1e-6)  # a paper that is there twice has none
    directions = residuals / lengths[:, None]
    variances, axes = np.linalg.eigh(directions.T @ directions / len(rows))
    root = np.sqrt(np.maximum(variances, 0))[:, None] * axes.T
    return Source(rows=rows, near=near, residuals=lengths, root=root.astype(np.float32), tail=tail, seed=seed)


def _tail(rows: Float32, dim: int) -> Float32:
    """Deviations of the numbers from the d-th on: the power of the rank by which those of the middle half fall."""
    d = rows.shape[1]
    if dim < d:
        raise ValueError(f"expected at least the {d} numbers of the real vectors, found {dim}")
    middle = np.arange(d // 4, 3 * d // 4)
    variances = np.linalg.eigvalsh(np.cov(rows.T))[::-1][middle]
    power, log_first = np.polyfit(np.log(middle), np.log(np.maximum(variances, 1e-12)), 1)
    tail: Float32 = np.exp((log_first + power * np.log(np.arange(d, dim))) / 2).astype(np.float32)
    return tail


def nearest(queries: Float32, rows: Float32, k: int, *, leave_out_self: bool = False) -> tuple[Float32, Rows]:
    """(cosines, rows), (q, k) each, of the exact k nearest, best first; ties by row."""
    extra = int(leave_out_self)
    blocks = [(first, rows[first : first + SHARD_ROWS]) for first in range(0, len(rows), SHARD_ROWS)]
    scores, found = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
    for first in range(0, len(queries), SHARD_ROWS):
        for i, (near, cosine) in enumerate(exact_top_k(queries[first : first + SHARD_ROWS], blocks, k + extra), first):
            order = np.lexsort((near, -cosine))
            order = order[near[order] != i][:k] if leave_out_self else order[:k]
            scores[i], found[i] = cosine[order], near[order]
    return scores, found


def _mixed(weights: Float32, rows: Float32, near: Rows) -> Float32:
    mixed = weights[:, :1] * rows[near[:, 0]]
    for column in range(1, near.shape[1]):
        mixed += weights[:, column, None] * rows[near[:, column]]
    return mixed


def described(rows: Float32) -> dict[str, list[float]]:
    """How `rows` lie: quantiles of neighbours' cosines, mean and deviation of all pairs', largest variances."""
    scores, _ = nearest(rows, rows, 10, leave_out_self=True)
    products = rows @ rows[: min(len(rows), SHARD_ROWS)].T
    others = products[~np.eye(*products.shape, dtype=bool)]
    variances = np.linalg.eigvalsh(np.cov(rows.T))[::-1]
    effective = variances.sum() ** 2 / (variances**2).sum()
    return {
        "1st neighbour": np.percentile(scores[:, 0], QUANTILES).tolist(),
        "10th neighbour": np.percentile(scores[:, 9], QUANTILES).tolist(),
        "pairs: mean, sd": [float(others.mean()), float(others.std())],
        "variances 1, 10, 50, 200 x 1000": [float(v * 1000) for v in variances[[0, 9, 49, 199]]],
        "effective dimensions": [float(effective)],
    }


def main() -> None:
    """Show real and new vectors side by side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--like", required=True, metavar="SPACE")
    parser.add_argument("--rows", type=int, default=10_000)
    options = parser.parse_args()
    real = unit_rows(np.concatenate([rows for _, rows in Space.open(options.like).blocks()])[: options.rows])
    made = source(real)
    new = np.concatenate([rows for _, rows in made.blocks(len(real))])
    print(f"| {len(real):,} vectors; cosines at {', '.join(map(str, QUANTILES))} % | real | synthetic |\n|---|---|---|")
    synthetic = described(new)
    for name, values in described(real).items():
        print(f"| {name} | {_numbers(values)} | {_numbers(synthetic[name])} |")
    print("\n| n | nearest real (median of those held out) | nearest synthetic |\n|---|---|---|")
    order = np.random.default_rng(0).permutation(len(real))
    held_out, rest = real[order[:500]], real[order[500:]]
    for n in (1250, 2500, 5000, len(rest), *(40_000, 160_000, 320_000)):
        here = _numbers([float(np.median(nearest(held_out, rest[:n], 1)[0]))]) if n <= len(rest) else ""
        many = np.concatenate([rows for _, rows in made.blocks(n)])
        print(f"| {n:,} | {here} | {_numbers([float(np.median(nearest(made.queries(500), many, 1)[0]))])} |")


def _numbers(values: list[float]) -> str:
    return ", ".join(f"{value:.3g}" for value in values)


if __name__ == "__main__":
    main()
