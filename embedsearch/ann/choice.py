"""What to build for so many vectors, in so much memory: kind, number of lists, bits of a code."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from embedsearch.ann.protocol import AnnKind

BITS = (1, 2, 3, 4, 8)
"""Of each number of a vector in a code: RaBitQ's 1 to 4 (Gao & Long 2024, arXiv:2405.12497; Gao et al. 2024,
arXiv:2409.09913), and plain 8-bit numbers. A code is only looked at to choose what is re-scored."""

CODE_BITS = 256
"""Least bits of a code to begin with: of 384 numbers one bit each does, of 32 it takes eight. A code's error falls as
one over the square root of their number."""

GRAPH_FROM = 4096
"""Lists from which on their centres are found through a graph (HNSW): of fewer, looking at all is as fast."""

LEAST_LIST = 39
"""Rows for each list that k-means wants: FAISS warns of fewer."""

_ID, _FACTORS = 8, {1: 8, 8: 0}
_LINKS = 300  # of a centre in the graph: 64 links of 4 bytes on the ground, few above


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to build. `n_lists` and `bits` are those of `ivf`, 0 for the other kinds."""

    kind: AnnKind
    n_lists: int = 0
    bits: int = 0

    @property
    def has_graph(self) -> bool:
        """Whether the centres of the lists lie in a graph."""
        return self.n_lists >= GRAPH_FROM

    def n_bytes(self, n_rows: int, dim: int) -> int:
        """What an index of so many vectors takes, as a file and in memory: exact but for a graph's links."""
        if self.kind is AnnKind.EXACT:
            return 0
        if self.kind is AnnKind.FLAT:
            return 4 * n_rows * dim
        code = math.ceil(dim * self.bits / 8) + _FACTORS.get(self.bits, 20)
        return n_rows * (code + _ID) + self.n_lists * (4 * dim + _ID + (_LINKS if self.has_graph else 0))

    def with_more_bits(self) -> Plan | None:
        """The next larger codes, None where there are none."""
        larger = [bits for bits in BITS if bits > self.bits]
        return replace(self, bits=larger[0]) if larger and self.kind is AnnKind.IVF else None


def plan_for(kind: AnnKind, n_rows: int, dim: int, *, memory: int | None = None) -> Plan:
    """The index of this kind for so many vectors. Codes are as large as their length asks for, if `memory` bytes hold
    them, else smaller, and one bit in the end.

    Lists are near 3 sqrt(n): the work of choosing lists and of reading some of them then stay in balance.
    """
    if kind is not AnnKind.IVF:
        return Plan(kind=kind)
    n_lists = max(1, min(2 ** round(math.log2(3 * math.sqrt(max(1, n_rows)))), n_rows // LEAST_LIST))
    plans = [Plan(kind=kind, n_lists=n_lists, bits=bits) for bits in BITS]
    wanted = next((plan for plan in plans if plan.bits * dim >= CODE_BITS), plans[-1])
    fitting = [
        plan for plan in plans if plan.bits <= wanted.bits and (memory is None or plan.n_bytes(n_rows, dim) <= memory)
    ]
    return fitting[-1] if fitting else plans[0]
