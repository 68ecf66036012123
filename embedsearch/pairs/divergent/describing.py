"""From two positions to all that is shown of a pair."""

from __future__ import annotations

from dataclasses import dataclass, field

from embedsearch.pairs.divergent.divergence import Closer, Divergence
from embedsearch.pairs.divergent.known_papers import KnownPapers
from embedsearch.pairs.divergent.selecting import Found
from embedsearch.records import PairRecord
from embedsearch.scores import Float32, cosines
from embedsearch.store.catalogue import StoredPaper

REMEMBERED = 64
"""Papers whose cosines with all others are kept, for a paper that occurs again soon."""


def neighbour_rank(cosines_of_all: Float32, self_position: int, position: int) -> int:
    """The rank of a paper among the neighbours of another, 1 for the nearest.

    `cosines_of_all` (n,) are the other's with all papers. 1 + how many papers, itself apart, are strictly nearer: so
    papers that tie have one rank, and it does not depend on the order of the corpus.
    """
    nearer = cosines_of_all > cosines_of_all[position]
    return 1 + int(nearer.sum()) - int(nearer[self_position])


@dataclass(slots=True)
class Describer:
    """Makes records of pairs of aligned unit rows; remembers what it last computed of a few papers."""

    vectors: tuple[Float32, Float32]
    ids: tuple[str, ...]
    divergence: Divergence
    known_papers: KnownPapers | None
    _seen: dict[tuple[int, int], Float32] = field(default_factory=dict)

    def records(self, found: Found, closer: Closer) -> tuple[PairRecord, ...]:
        """Of these pairs, in their order, ranks from 1."""
        pairs = list(zip(found.first.tolist(), found.second.tolist(), strict=True))
        ids = [self.ids[i] for pair in pairs for i in pair]
        papers = self.known_papers.papers(ids) if self.known_papers else {}
        records = []
        for rank, ((i, j), value) in enumerate(zip(pairs, found.divergence.tolist(), strict=True), 1):
            one, other = (i, j) if self.ids[i] < self.ids[j] else (j, i)
            records.append(self._record(rank, one, other, value, closer, papers))
        return tuple(records)

    def _record(
        self, rank: int, i: int, j: int, value: float, closer: Closer, papers: dict[str, StoredPaper]
    ) -> PairRecord:
        both = self._of(0, i)[j], self._of(1, i)[j]
        marginals = self.divergence.first, self.divergence.second
        one, other = papers.get(self.ids[i]), papers.get(self.ids[j])
        ranks = [
            (neighbour_rank(self._of(space, i), i, j), neighbour_rank(self._of(space, j), j, i)) for space in (0, 1)
        ]
        return PairRecord(
            rank=rank,
            ids=(self.ids[i], self.ids[j]),
            titles=(one.title if one else None, other.title if other else None),
            closer=closer.value,
            divergence=value,
            cosines=(float(both[0]), float(both[1])),
            percentiles=(100 * float(marginals[0].cdf(both[0])), 100 * float(marginals[1].cdf(both[1]))),
            neighbour_ranks=(ranks[0], ranks[1]),
            terms=self.known_papers.shared(one, other) if self.known_papers and one and other else (),
        )

    def _of(self, space: int, position: int) -> Float32:
        """The cosines of a paper with all, (n,) float32: `scores.cosines`."""
        key = (space, position)
        if key not in self._seen:
            if len(self._seen) >= REMEMBERED:
                del self._seen[next(iter(self._seen))]  # the oldest
            vectors = self.vectors[space]
            self._seen[key] = cosines(vectors[position], vectors)
        return self._seen[key]
