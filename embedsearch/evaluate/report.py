"""The evaluation of entries on the same papers and queries, and what it found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from embedsearch.errors import OptionError
from embedsearch.evaluate.alike import Alike, AlikeChange, find_alike
from embedsearch.evaluate.asking import Scored
from embedsearch.evaluate.cost import Cost
from embedsearch.evaluate.entries import Entry, Papers
from embedsearch.evaluate.hybrid import HybridChoice
from embedsearch.evaluate.measuring import MEASURES, measure
from embedsearch.evaluate.misses import Miss, worst_of
from embedsearch.evaluate.queries import QuerySet
from embedsearch.evaluate.recall import AnnRecall, ann_recall
from embedsearch.evaluate.scoring import Words, score
from embedsearch.evaluate.significance import holm, permutation_p, queries_to_resolve
from embedsearch.evaluate.sizes import SizeCurve, SizePoint
from embedsearch.measures import Interval, mean_interval
from embedsearch.scores import Float64, Rows
from embedsearch.search import Mode

Progress = Callable[[str, int, int], None]
"""Called with what is done, how much of it, and of how much."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Figures:
    """One entry by one mode on one set of queries.

    `values` has by measure the value of each query, (q,), `intervals` their mean. `ranks` (q,) is as `Scored.ranks`.
    """

    entry: str
    queries: str
    mode: str
    values: Mapping[str, Float64]
    intervals: Mapping[str, Interval]
    ranks: Rows

    @property
    def n_queries(self) -> int:
        """q."""
        return len(self.ranks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """An entry less the first one, on the same queries.

    `p` is of a permutation test, `p_holm` corrected for all comparisons of this measure. `n_to_resolve` is how many
    such queries would show a difference of 0.01.
    """

    entry: str
    base: str
    queries: str
    mode: str
    measure: str
    value: Interval
    p: float
    p_holm: float
    n_to_resolve: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeFigures:
    """MRR@10 of an entry against the size of the corpus, and its `difference` from the entry `base` at the
    size that was asked about."""

    queries: str
    mode: str
    entry: str
    curve: SizeCurve
    base: str
    difference: SizePoint | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """What was found, `entries` and `figures` in the order in which they were asked for.

    The last four are what `study` adds where it is asked to; `n_papers_asked` is the size that it looked at.
    `alike` and `alike_changes` are of the near-duplicates that count as the right paper, where they do.
    """

    entries: tuple[str, ...]
    n_papers: int
    n_queries: Mapping[str, int]
    figures: tuple[Figures, ...]
    differences: tuple[Difference, ...]
    recalls: tuple[AnnRecall, ...]
    worst: tuple[Miss, ...]
    notes: tuple[str, ...]
    alike: Alike | None = None
    alike_changes: tuple[AlikeChange, ...] = ()
    costs: tuple[Cost, ...] = ()
    sizes: tuple[SizeFigures, ...] = ()
    choices: tuple[HybridChoice, ...] = ()
    n_papers_asked: int | None = None

    def figure(self, entry: str, queries: str, mode: str) -> Figures | None:
        """Of an entry by a mode on a set of queries."""
        asked = (entry, queries, mode)
        return next((of for of in self.figures if (of.entry, of.queries, of.mode) == asked), None)


def evaluate(
    entries: Sequence[Entry],
    papers: Papers,
    sets: Sequence[QuerySet],
    *,
    modes: Sequence[Mode] = tuple(Mode),
    n_worst: int = 10,
    notes: Sequence[str] = (),
    near_duplicates: float | None = None,
    also: Callable[[str, Scored], None] = lambda queries, scored: None,
    progress: Progress = lambda what, done, total: None,
) -> Evaluation:
    """Ask all `sets` of all `entries`, whose common papers are `papers`.

    `also` is called with the name of each set and every entry's scores, which are let go afterwards. With
    `near_duplicates`, a cosine, papers that near to one that answers count as it: see `find_alike`. Memory: the scores
    of two sets for one entry, at most 1 GiB each. Raises OptionError where no entry has any of `modes`, MissingExtra
    without ir-measures, and what encoders raise.
    """
    if len({entry.name for entry in entries}) < len(entries):
        raise OptionError("expected entries of different names, found two of one: see `distinct`")
    entries = by_modes(entries, modes)
    by_words = set(modes) != {Mode.DENSE}
    figures: list[Figures] = []
    recalls: list[AnnRecall | None] = []
    worst: list[Miss] = []
    changes: list[AlikeChange] = []
    alike = None if near_duplicates is None else find_alike(entries, papers, sets, near_duplicates)
    with Words(papers) as words_of:
        for found in sets:
            # Of queries that are made of papers one BM25 for all: what they are made of must not be in the index.
            ticks = _of(progress, f"words, {found.name}")
            words = words_of.scores(found, tick=ticks) if by_words and found.known_items else None
            for entry, rows in zip(entries, papers.rows, strict=True):
                what = f"{entry.name}, {found.name}"
                progress(what, 0, len(found))
                tick = _of(progress, what)
                scored = score(found, entry, papers, rows, words=words, by_words=by_words, tick=tick)
                bare, scored = scored, alike.applied(scored) if alike else scored
                also(found.name, scored)
                made = [_figures(found.name, scored, mode) for mode in scored.modes if mode in modes]
                if alike:
                    changes += [_change(of, _figures(found.name, bare, Mode(of.mode)), scored) for of in made]
                figures += made
                if made:
                    worst += worst_of(made[-1].queries, Mode(made[-1].mode), made[-1].ranks, scored, papers, n_worst)
                progress(what, len(found), len(found))
    for entry in entries:
        recalls.append(ann_recall(entry, sets[0].name, [query.text for query in sets[0].queries]))
    if not figures:
        raise OptionError(f"expected an entry with {' or '.join(mode.value for mode in modes)}, found none")
    return Evaluation(
        entries=tuple(entry.name for entry in entries),
        n_papers=len(papers),
        n_queries={found.name: len(found) for found in sets},
        figures=tuple(figures),
        differences=tuple(_differences(figures, entries[0].name)),
        recalls=tuple(recall for recall in recalls if recall is not None),
        worst=tuple(worst),
        notes=(*(note for entry in entries for note in entry.notes()), *notes),
        alike=alike,
        alike_changes=tuple(changes),
    )


def by_modes(entries: Sequence[Entry], modes: Sequence[Mode]) -> list[Entry]:
    """As they are; without their models, where `modes` are words alone."""
    return [replace(entry, words_only=True) for entry in entries] if set(modes) == {Mode.KEYWORD} else list(entries)


def _of(progress: Progress, what: str) -> Callable[[int, int], None]:
    return lambda done, total: progress(what, done, total)


def _figures(queries: str, scored: Scored, mode: Mode) -> Figures:
    values = measure(scored, mode)
    return Figures(
        entry=scored.name,
        queries=queries,
        mode=mode.value,
        values=values,
        intervals={name: mean_interval(each) for name, each in values.items()},
        ranks=scored.ranks(mode),
    )


def _change(found: Figures, bare: Figures, scored: Scored) -> AlikeChange:
    return AlikeChange(
        entry=found.entry,
        queries=found.queries,
        mode=found.mode,
        n_queries=found.n_queries,
        n_with=sum(any(alike.values()) for alike in scored.alike),
        n_changed=int((found.ranks != bare.ranks).sum()),
        mrr_without=bare.intervals["MRR@10"].mean,
        mrr_with=found.intervals["MRR@10"].mean,
    )


def _differences(figures: Sequence[Figures], base: str) -> Iterator[Difference]:
    """Of all entries from the first. What no query tells apart, such as two entries' keywords, is not compared."""
    first = {(of.queries, of.mode): of for of in figures if of.entry == base}
    for name in MEASURES:
        pairs = [
            (of, of.values[name] - first[of.queries, of.mode].values[name])
            for of in figures
            if of.entry != base and (of.queries, of.mode) in first
        ]
        pairs = [(of, differences) for of, differences in pairs if differences.any()]
        p_values = [permutation_p(differences) for _, differences in pairs]
        for (of, differences), p, p_holm in zip(pairs, p_values, holm(p_values), strict=True):
            yield Difference(
                entry=of.entry,
                base=base,
                queries=of.queries,
                mode=of.mode,
                measure=name,
                value=mean_interval(differences),
                p=p,
                p_holm=p_holm,
                n_to_resolve=queries_to_resolve(differences),
            )
