"""Where two models disagree: the pairs that diverge most, in both directions, with what chance alone would give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from embedsearch.errors import OptionError, PaperNotFound
from embedsearch.pairs.divergent.describing import Describer
from embedsearch.pairs.divergent.divergence import Closer, Divergence, Measure
from embedsearch.pairs.divergent.greedy import count_at_least, most_divergent
from embedsearch.pairs.divergent.known_papers import KnownPapers
from embedsearch.pairs.divergent.nulls import CopulaNull, Halves
from embedsearch.pairs.divergent.selecting import Found, Pool
from embedsearch.pairs.scan import Progress, scan_pairs
from embedsearch.pairs.similarity import distinct_labels
from embedsearch.records import PairRecord
from embedsearch.scores import Float32, Rows
from embedsearch.store.space import Space


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Which pairs are looked for.

    `min_cosine` is asked of the space that finds a pair closer, `categories` (patterns such as `astro-ph*`) of both
    papers; `per_paper` None lets a paper occur in any number of pairs.
    """

    measure: Measure | str = Measure.RANK
    n: int = 10
    per_paper: int | None = 1
    min_cosine: float | None = None
    categories: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DivergentPairs:
    """Pairs on which two spaces disagree.

    `first` holds the pairs that the first space finds closer and `second` those that the second does, most divergent
    first; where pairs were named, each list has those that fall on its side. `n_papers` were compared, `n_pairs` looked
    at: those that the filters let through, `min_cosine` apart. `halves` has the lists for one model on the odd
    sentences of each abstract (as first space) and the even ones, None where it was not asked for; its `n_left_out`
    papers have one sentence alone.
    """

    labels: tuple[str, str]
    measure: str
    n_papers: int
    n_pairs: int
    spearman: float
    first: tuple[PairRecord, ...]
    second: tuple[PairRecord, ...]
    halves: DivergentPairs | None = None
    n_left_out: int = 0

    @property
    def records(self) -> tuple[PairRecord, ...]:
        """Both lists, the first space's before."""
        return self.first + self.second

    def label_of(self, record: PairRecord) -> str:
        """The space that finds a pair closer."""
        return self.labels[0 if record.closer == Closer.FIRST.value else 1]


class Study:
    """Two aligned spaces whose pairs have been counted: answers which diverge, and describes those that are named."""

    def __init__(
        self,
        vectors: Sequence[Float32],
        ids: Sequence[str],
        *,
        labels: tuple[str, str],
        known_papers: KnownPapers | None = None,
        measure: Measure | str = Measure.RANK,
        fast: bool = False,
        device: str = "cpu",
        progress: Progress | None = None,
    ) -> None:
        """See `of`; `vectors` are two arrays of unit rows, (n, d_s) float32, of the papers `ids`."""
        self.vectors, self.ids, self.labels = (vectors[0], vectors[1]), tuple(ids), labels
        self.known_papers, self._device, self._progress = known_papers, device, progress
        self._scan = scan_pairs(self.vectors, joint=True, fast=fast, device=device, progress=progress)
        self.divergence = Divergence.of(self._scan, measure)
        self.spearman = self._scan.joints[0].spearman()[0]

    @classmethod
    def of(
        cls,
        spaces: Sequence[Space],
        *,
        known_papers: KnownPapers | None = None,
        measure: Measure | str = Measure.RANK,
        fast: bool = False,
        device: str = "cpu",
        progress: Progress | None = None,
    ) -> Study:
        """Count the pairs of two aligned spaces (one pass). `known_papers` has titles, categories and words.

        Raises OptionError where there are not two aligned spaces, or the measure is unknown.
        """
        if len(spaces) != 2 or list(spaces[0].ids) != list(spaces[1].ids):
            raise OptionError(f"expected two aligned spaces, found {len(spaces)}: use store.space.align")
        one, other = distinct_labels(spaces)
        return cls(
            [space.vectors for space in spaces],
            spaces[0].ids,
            labels=(one, other),
            known_papers=known_papers,
            measure=measure,
            fast=fast,
            device=device,
            progress=progress,
        )

    def search(self, search: Search, *, halves: Halves | None = None) -> DivergentPairs:
        """The most divergent pairs of both directions, and how many diverge as much: here, and by chance.

        `halves` are of one model on the halves of these papers' abstracts. Raises OptionError for a filter by category
        without a catalogue, or one that leaves fewer than two papers.
        """
        chosen = self._chosen(search.categories)
        pool = self._pool(chosen, search.min_cosine)
        found = most_divergent(pool, n=search.n, per_paper=search.per_paper, progress=self._progress)
        result = self._result(pool, {c: _moved(f, chosen) for c, f in found.items()}, found, search.min_cosine)
        return self._beside_halves(result, search, halves) if halves is not None else result

    def describe(self, pairs: Sequence[tuple[str, str]], *, halves: Halves | None = None) -> DivergentPairs:
        """These pairs of ids, each in the list of the space that finds it closer, in the order given.

        Raises PaperNotFound for an id that is not among the papers compared, OptionError for a paper with itself.
        """
        place = {id: i for i, id in enumerate(self.ids)}
        for pair in pairs:
            for id in pair:
                if id not in place:
                    raise PaperNotFound(f"expected one of the {len(place):,} papers compared, found {id!r}")
            if pair[0] == pair[1]:
                raise OptionError(f"expected two papers, found {pair[0]} twice")
        first, second = (np.array([place[pair[side]] for pair in pairs], np.int64) for side in (0, 1))
        pool = self._pool(None, None)
        both = pool.cosines(first, second)
        values = self.divergence(*both, Closer.FIRST)
        by_rank = replace(self.divergence, measure=Measure.RANK)(*both, Closer.FIRST) >= 0
        found = {}
        for closer, side in ((Closer.FIRST, by_rank), (Closer.SECOND, ~by_rank)):
            value = values if closer is Closer.FIRST else self.divergence(*both, closer)
            everything = Found(first=first, second=second, divergence=value, tie=pool.ties(first, second))
            found[closer] = everything.take(side)
        result = self._result(pool, found, found, None)
        return self._beside_halves(result, Search(measure=self.divergence.measure), halves) if halves else result

    def _chosen(self, categories: Sequence[str]) -> Rows | None:
        if not categories:
            return None
        if self.known_papers is None:
            raise OptionError("expected an index for a filter by category, found files of vectors alone")
        chosen = np.flatnonzero(self.known_papers.in_categories(self.ids, categories))
        if len(chosen) < 2:
            raise OptionError(f"expected at least 2 papers in {', '.join(categories)}, found {len(chosen)}")
        return chosen

    def _pool(self, chosen: Rows | None, min_cosine: float | None) -> Pool:
        vectors = self.vectors if chosen is None else tuple(rows[chosen] for rows in self.vectors)
        ids = self.ids if chosen is None else [self.ids[i] for i in chosen]
        return Pool.of(vectors, ids, self.divergence, min_cosine=min_cosine, device=self._device)

    def _result(
        self, pool: Pool, whole: dict[Closer, Found], found: dict[Closer, Found], min_cosine: float | None
    ) -> DivergentPairs:
        """Records of pairs: `whole` has positions among all papers, `found` those in the pool."""
        counts = count_at_least(pool, {c: f.divergence for c, f in found.items()}, progress=self._progress)
        null = CopulaNull.of(self.divergence)
        describer = Describer(self.vectors, self.ids, self.divergence, self.known_papers)
        lists = {}
        for closer, pairs in whole.items():
            lists[closer] = tuple(
                replace(
                    record,
                    n_at_least=int(n),
                    n_expected=pool.n_pairs * null.share(record.divergence, closer, min_cosine=min_cosine),
                )
                for record, n in zip(describer.records(pairs, closer), counts[closer], strict=True)
            )
        return DivergentPairs(
            labels=self.labels,
            measure=self.divergence.measure.value,
            n_papers=len(self.ids),
            n_pairs=pool.n_pairs,
            spearman=self.spearman,
            first=lists[Closer.FIRST],
            second=lists[Closer.SECOND],
        )

    def _beside_halves(self, result: DivergentPairs, search: Search, halves: Halves) -> DivergentPairs:
        """The same search for one model on two halves; its counts are brought to the same number of pairs."""
        study = Study(
            (halves.odd, halves.even),
            halves.ids,
            labels=("odd sentences", "even sentences"),
            known_papers=self.known_papers,
            measure=search.measure,
            device=self._device,
            progress=self._progress,
        )
        null = replace(study.search(search), n_left_out=halves.n_left_out)
        pool = study._pool(study._chosen(search.categories), search.min_cosine)
        lists = {Closer.FIRST: result.first, Closer.SECOND: result.second}
        values = {closer: np.array([r.divergence for r in records]) for closer, records in lists.items()}
        counts = count_at_least(pool, values, progress=self._progress)
        scale = result.n_pairs / pool.n_pairs
        first, second = (
            tuple(replace(r, n_halves=scale * int(n)) for r, n in zip(lists[closer], counts[closer], strict=True))
            for closer in (Closer.FIRST, Closer.SECOND)
        )
        return replace(result, first=first, second=second, halves=null)


def _moved(found: Found, chosen: Rows | None) -> Found:
    """Positions among all papers from those among the chosen."""
    return found if chosen is None else replace(found, first=chosen[found.first], second=chosen[found.second])
