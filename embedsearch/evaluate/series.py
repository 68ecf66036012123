"""Series of papers in a corpus: "Paper I" and "Paper II" of the same authors, found by their titles."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from embedsearch.corpus import sample_key
from embedsearch.duplicates.series import part_of
from embedsearch.evaluate.queries import Query, QuerySet, plain
from embedsearch.store.catalogue import StoredPaper
from embedsearch.store.filters import fold_name

SEED = 0


@dataclass(frozen=True, slots=True)
class _Part:
    id: str
    title: str
    number: int
    surnames: frozenset[str]

    def is_beside(self, other: _Part) -> bool:
        """Whether the two can be of one series, whose stem they share."""
        return self.number != other.number and bool(self.surnames & other.surnames)


def series_queries(papers: Iterable[StoredPaper], n: int) -> QuerySet:
    """The title of a part, which must find the abstracts of the series's other parts; itself is not in the corpus then.

    A series has one stem ("The survey. II. A map" and "The survey. III. A catalogue"), and each two of its parts other
    numbers and a surname in common. Of more than n such titles, those with the smallest hash.
    """
    stems: dict[str, list[_Part]] = defaultdict(list)
    for stored in papers:
        if (found := part_of(stored.title)) is not None:
            surnames = frozenset(words[-1] for name in stored.authors if (words := fold_name(name)))
            stems[found[0]].append(_Part(stored.paper.id, stored.title, found[1], surnames))
    queries = [query for parts in stems.values() if len(parts) > 1 for query in _queries(parts)]
    queries.sort(key=lambda query: sample_key(query.id, SEED))
    return QuerySet(name="series", queries=tuple(queries[:n]), known_items=True, titles=False)


def _queries(parts: Sequence[_Part]) -> list[Query]:
    made = []
    for part in parts:
        others = {other.id: 1 for other in parts if part.is_beside(other)}
        if others:
            made.append(Query(id=part.id, text=plain(part.title), relevant=others, left_out=(part.id,)))
    return made
