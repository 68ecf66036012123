"""What 3 million, 100 million and 1 billion abstracts take, from slopes that were measured: the table of docs/scale.md.

python -m benchmarks.arithmetic
"""

from __future__ import annotations

from collections.abc import Callable

SIZES = {"3 million (all of arXiv)": 3e6, "100 million": 1e8, "1 billion": 1e9}

# Measured on a machine of two cores (AMD EPYC, bfloat16 in AVX-512), on 10,000 real abstracts where papers are meant.
TOKENS = 325
"""Of a paper, to minilm."""
CATALOGUE = 45_355_008 / 10_000
KEYWORDS = 5_483_842 / 10_000
"""Bytes a paper."""
MINILM_RATE = 38.9 / 2
"""Papers a second and core, bfloat16 (benchmarks/results)."""
ANN_384 = 199e6 / 3e6
"""Bytes a vector of IVF4096_HNSW32,RaBitQ over 3,000,000 x 384."""
PAIR_RATE = 58e6
"""Pairs a second, counted exactly: `scan_pairs` on 10,000 x 384; 57.6, 71.2 and 54.4 million."""
MOMENT_SECONDS = 36.5e-6
"""Seconds a paper for mean and sd of all pairs with their errors: `moments` on 100,000 x 384; 37.5 and 35.4 us."""
ERROR_OF_MEAN, SAMPLE = 0.170, 10_000
"""The standard error of the mean cosine, 0.393 for minilm, is this over the root of the number of papers in a sample:
0.174, 0.165, 0.169 and 0.170 for 300, 1,000, 3,000 and 10,000 real abstracts."""
SHARD_ROWS = 4096
MANIFEST = 611
COMMIT_SECONDS = 0.164 / 24_415
"""A shard in the manifest: bytes, and seconds each time that it is written: 16, 56 and 164 ms for 1,000, 10,000 and
24,415 shards."""

# Assumed. No GPU was measured.
GPU_RATE = 0.6 * 790e12
"""Operations a second: 60 % of what an H100 or H200 multiplies in bfloat16."""
OPERATIONS = 2 * (6.74e9 - 2 * 32_000 * 4096) + 4 * TOKENS * 4096 * 32
"""A token of a 7B LLaMA: its weights without the two tables of words, and attention within a text."""
GPU_PRICE, CORE_PRICE = 3.0, 0.04
"""Dollars an hour."""
ANN_4096 = 4096 / 8 + 16
"""Bytes a vector: a bit a dimension, two numbers and an id, as at 384 dimensions, where they are 64 of the 66."""


def gpu_hours(n: float) -> float:
    """Of a 7B model."""
    return n * TOKENS * OPERATIONS / GPU_RATE / 3600


def core_hours(n: float) -> float:
    """Of minilm."""
    return n / MINILM_RATE / 3600


def commits(n: float) -> float:
    """Seconds in which the manifest is written, once a shard, with all that came before."""
    return COMMIT_SECONDS * (n / SHARD_ROWS) ** 2 / 2


ROWS: dict[str, Callable[[float], str]] = {
    "tokens": lambda n: count(n * TOKENS),
    "a 7B model, GPU hours (assumed rate)": lambda n: f"{gpu_hours(n):,.0f}",
    "at $3 an hour": lambda n: f"${gpu_hours(n) * GPU_PRICE:,.0f}",
    "minilm, core hours": lambda n: f"{core_hours(n):,.0f}",
    "at $0.04 an hour": lambda n: f"${core_hours(n) * CORE_PRICE:,.0f}",
    "vectors, 384-d float16": lambda n: size(n * 384 * 2),
    "vectors, 4096-d float16": lambda n: size(n * 4096 * 2),
    "catalogue": lambda n: size(n * CATALOGUE),
    "keyword index": lambda n: size(n * KEYWORDS),
    "ann of 384-d, in memory or mapped": lambda n: size(n * ANN_384),
    "ann of 4096-d": lambda n: size(n * ANN_4096),
    "flat ann of 384-d, for comparison": lambda n: size(n * 384 * 4),
    "shards": lambda n: f"{n / SHARD_ROWS:,.0f}",
    "manifest": lambda n: size(n / SHARD_ROWS * MANIFEST),
    "writing it after each shard, in all": lambda n: duration(commits(n)),
    "all pairs": lambda n: f"{n * n / 2:.1e}",
    "counting them": lambda n: duration(n * n / 2 / PAIR_RATE),
    "their mean and sd by moments": lambda n: duration(n * MOMENT_SECONDS),
    "their mean from 10,000 papers, standard error": lambda n: f"{ERROR_OF_MEAN / SAMPLE**0.5:.4f}",
}


def table() -> str:
    """Markdown: a line for each quantity, a column for each size."""
    lines = [f"| | {' | '.join(SIZES)} |", "|---|" + "---:|" * len(SIZES)]
    lines += [f"| {name} | {' | '.join(row(n) for n in SIZES.values())} |" for name, row in ROWS.items()]
    return "\n".join(lines)


def size(n_bytes: float) -> str:
    """Two digits of it."""
    return _scaled(n_bytes, {"TB": 1e12, "GB": 1e9, "MB": 1e6, "kB": 1e3})


def count(n: float) -> str:
    """Two digits of it."""
    return _scaled(n, {"billion": 1e9, "million": 1e6})


def duration(seconds: float) -> str:
    """Two digits of it."""
    return _scaled(seconds, {"years": 3600 * 24 * 365.25, "days": 3600 * 24, "hours": 3600, "minutes": 60, "s": 1})


def _scaled(value: float, units: dict[str, float]) -> str:
    unit, of = next(((unit, of) for unit, of in units.items() if value >= of), [*units.items()][-1])
    return f"{float(f'{value / of:.2g}'):,g} {unit}"


if __name__ == "__main__":
    print(table())
