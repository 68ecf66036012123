"""The whole of an evaluation: measures, costs, what larger corpora would give, and the weight of the hybrid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from embedsearch.errors import OptionError
from embedsearch.evaluate.asking import Scored
from embedsearch.evaluate.cost import cost_of
from embedsearch.evaluate.entries import Entry, Papers
from embedsearch.evaluate.hybrid import HybridChoice, WeightCurve, choose_hybrid
from embedsearch.evaluate.queries import QuerySet
from embedsearch.evaluate.report import Evaluation, Progress, SizeFigures, by_modes, evaluate
from embedsearch.evaluate.sizes import BM25_NOTE, Ranked, default_sizes, size_curve, size_difference
from embedsearch.search import Mode

MEASURE = "MRR@10"
"""What is told of other sizes of a corpus."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Also:
    """What is found out beside the measures.

    `cost`: speed and latency are measured, ten seconds an entry. `n_papers`: MRR@10 and costs at so many papers.
    `choose_hybrid`: the weight that half of the queries choose.
    """

    cost: bool = False
    n_papers: int | None = None
    choose_hybrid: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """What is kept of scores that are let go."""

    also: Also
    modes: Sequence[Mode]
    ranked: dict[tuple[str, str, Mode], Ranked] = field(default_factory=dict)
    curves: dict[str, list[WeightCurve]] = field(default_factory=dict)

    def __call__(self, queries: str, scored: Scored) -> None:
        if self.also.n_papers is not None:
            for mode in scored.modes:
                if mode in self.modes:
                    self.ranked[queries, scored.name, mode] = Ranked.of(scored, mode)
        if self.also.choose_hybrid and Mode.HYBRID in scored.modes:
            self.curves.setdefault(scored.name, []).append(WeightCurve.of(queries, scored))

    def sizes(self, n_papers: int, base: str) -> list[SizeFigures]:
        """Curves up to `n_papers`, and there the differences from the entry `base`."""
        made = []
        for (queries, name, mode), ranked in self.ranked.items():
            first = self.ranked.get((queries, base, mode))
            difference = None
            if first is not None and name != base and mode is not Mode.KEYWORD:
                (difference,) = size_difference(ranked, first, measure=MEASURE, sizes=[n_papers])
            sizes = {*default_sizes(ranked.n_corpus, n_papers), n_papers}
            curve = size_curve(ranked, measure=MEASURE, sizes=sorted(sizes))
            made.append(
                SizeFigures(queries=queries, mode=mode.value, entry=name, curve=curve, base=base, difference=difference)
            )
        return made


def study(
    entries: Sequence[Entry],
    papers: Papers,
    sets: Sequence[QuerySet],
    also: Also,
    *,
    modes: Sequence[Mode] = tuple(Mode),
    n_worst: int = 10,
    notes: Sequence[str] = (),
    near_duplicates: float | None = None,
    progress: Progress = lambda what, done, total: None,
) -> Evaluation:
    """`evaluate`, and what `also` asks for.

    Raises as that does; OptionError where a weight is to be chosen and no entry has vectors and words.
    """
    seen = _Seen(also, modes)
    found = evaluate(
        entries, papers, sets, modes=modes, n_worst=n_worst, notes=notes, near_duplicates=near_duplicates, also=seen,
        progress=progress,
    )  # fmt: skip
    if also.n_papers is not None:
        said = f"{MEASURE} at other sizes of the corpus: {BM25_NOTE}"
        found = replace(found, sizes=tuple(seen.sizes(also.n_papers, entries[0].name)), notes=(*found.notes, said))
    if also.choose_hybrid:
        choices, said_of = _choices(seen)
        found = replace(found, choices=choices, notes=(*found.notes, *said_of))
    if also.cost:
        queries = [query.text for query in sets[0].queries]
        costs = []
        for i, entry in enumerate(by_modes(entries, modes)):
            progress("cost", i, len(entries))
            costs.append(cost_of(entry, papers, queries))
        found = replace(found, costs=tuple(costs))
    return replace(found, n_papers_asked=also.n_papers)


def _choices(seen: _Seen) -> tuple[tuple[HybridChoice, ...], list[str]]:
    """And of which entries none could be chosen: what else was measured is not lost for that."""
    choices, notes = [], []
    for name, curves in seen.curves.items():
        try:
            choices.append(choose_hybrid(name, curves))
        except OptionError as error:
            notes.append(f"{name}: no hybrid weight is chosen: {error}")
    return tuple(choices), notes
