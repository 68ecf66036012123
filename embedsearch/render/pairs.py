"""Divergent pairs as text: rows of a table, JSON, Markdown, and what pages and terminals say of a pair."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from embedsearch.pairs.divergent import DivergentPairs
from embedsearch.pairs.divergent.printed import PRINTED, Pooled
from embedsearch.records import PairRecord
from embedsearch.render.results import arxiv_url
from embedsearch.render.tables import Column, Table, printable, shown


def record_dict(record: PairRecord) -> dict[str, Any]:
    """A pair as JSON has it; lists of two are of the first and the second space, or paper."""
    return {
        "rank": record.rank,
        "closer": record.closer,
        "divergence": record.divergence,
        "ids": list(record.ids),
        "titles": list(record.titles),
        "urls": [arxiv_url(id) for id in record.ids],
        "cosines": [float(f"{cosine:.9g}") for cosine in record.cosines],
        "percentiles": list(record.percentiles),
        "neighbour_ranks": [list(ranks) for ranks in record.neighbour_ranks],
        "terms": [{"term": term.term, "n_papers": term.n_papers} for term in record.terms],
        "n_at_least": record.n_at_least,
        "n_expected": record.n_expected,
        "n_halves": record.n_halves,
    }


def result_dict(result: DivergentPairs) -> dict[str, Any]:
    """A result as JSON has it."""
    halves = result.halves
    return {
        "spaces": list(result.labels),
        "by": result.measure,
        "n_papers": result.n_papers,
        "n_pairs": result.n_pairs,
        "spearman": result.spearman,
        "first": [record_dict(record) for record in result.first],
        "second": [record_dict(record) for record in result.second],
        "halves": result_dict(halves) | {"n_left_out": halves.n_left_out} if halves else None,
    }


def pooled_dict(pooled: Pooled) -> dict[str, Any]:
    """The poolings of one model as JSON has them, a number for each of the printed pairs."""
    return {
        "model": pooled.label,
        "as_text": list(pooled.as_text),
        "as_card_two": list(pooled.as_card_two),
        "as_card_four": list(pooled.as_card_four),
        "nearer": pooled.nearer,
    }


def pairs_table(result: DivergentPairs, *, brief: bool = False) -> Table:
    """A row for each pair of both lists: all that is known, or what a paper prints (`brief`)."""
    a, b = result.labels
    columns: tuple[Column, ...]
    if brief:
        columns = (
            Column("closer"), Column("titles"), Column("cosine_first", a), Column("cosine_second", b),
            Column("percentile_first", f"% below, {a}", 1), Column("percentile_second", f"% below, {b}", 1),
            Column("terms", "shared terms"),
        )  # fmt: skip
    else:
        columns = tuple(Column(name) for name in _COLUMNS)
    row = _brief_row if brief else _whole_row
    caption = f"Pairs of papers on which {a} and {b} disagree most, by {result.measure}." if brief else ""
    return Table(columns=columns, rows=tuple(row(result, record) for record in result.records), caption=caption)


_COLUMNS = (
    "closer", "rank", "divergence", "id_1", "id_2", "title_1", "title_2", "url_1", "url_2", "cosine_first",
    "cosine_second", "percentile_first", "percentile_second", "rank_of_2_from_1_first", "rank_of_1_from_2_first",
    "rank_of_2_from_1_second", "rank_of_1_from_2_second", "terms", "n_at_least", "n_expected", "n_halves",
)  # fmt: skip


def _whole_row(result: DivergentPairs, record: PairRecord) -> tuple[Any, ...]:
    urls = [arxiv_url(id) for id in record.ids]
    return (
        result.label_of(record), record.rank, record.divergence, *record.ids, *record.titles, *urls, *record.cosines,
        *record.percentiles, *record.neighbour_ranks[0], *record.neighbour_ranks[1],
        [term.term for term in record.terms], record.n_at_least, record.n_expected, record.n_halves,
    )  # fmt: skip


def _brief_row(result: DivergentPairs, record: PairRecord) -> tuple[Any, ...]:
    titles = " / ".join(shown_titles(record))
    terms = ", ".join(term.term for term in record.terms)
    return (result.label_of(record), titles, *record.cosines, *record.percentiles, terms)


def printed_table(result: DivergentPairs, pairs: Sequence[tuple[str, str]], pooled: Sequence[Pooled]) -> Table:
    """The AstroLLaMA paper's pairs (`pairs` has their ids): what it prints, and what these spaces and poolings give."""
    records = {record.ids: record for record in result.records}
    found = [records[(min(pair), max(pair))] for pair in pairs]
    rows: list[tuple[Any, ...]] = [
        ("printed: ada-002", *(pair.ada for pair in PRINTED)),
        ("printed: AstroLLaMA", *(pair.astrollama for pair in PRINTED)),
        *((label, *(record.cosines[space] for record in found)) for space, label in enumerate(result.labels)),
    ]
    for model in pooled:
        rows += [
            (f"{model.label}, as the paper's text pools", *model.as_text),
            (f"{model.label}, as the model card's code, 2 texts", *model.as_card_two),
            (f"{model.label}, as the model card's code, 4 texts", *model.as_card_four),
        ]
    columns = (
        Column("model"),
        Column("gyrokinetics_coulomb", "gyrokinetics / Coulomb law"),
        Column("ic348_kr140", "IC 348 / KR 140"),
    )
    return Table(columns=columns, rows=tuple(rows))


def heading(result: DivergentPairs, closer: str) -> str:
    """What the pairs of a list have in common."""
    a, b = result.labels if closer == "first" else result.labels[::-1]
    if result.measure == "conditional":
        a, b = result.labels
        return f"{b} finds {'less' if closer == 'first' else 'more'} alike than the cosine under {a} lets expect"
    return f"{a} finds close, {b} does not"


def summary(result: DivergentPairs, closer: str) -> str:
    """How many pairs diverge as much as the last of a list, and how many would by chance."""
    records = result.first if closer == "first" else result.second
    known = [record for record in records if record.n_at_least is not None]
    if not known:
        return "No such pair." if not records else ""
    last = min(known, key=lambda record: record.divergence)
    halves = "" if last.n_halves is None else f", one model on two halves of each abstract {amount(last.n_halves)}"
    if result.measure == "conditional":
        by, least = "the measure's own definition", f"{1 - last.divergence:.2g} from 1 or less"
    else:
        by = f"a Gaussian copula of the same Spearman correlation ({shown(result.spearman, 2)})"
        least = f"{last.divergence:.4g} or more"
    return (
        f"{last.n_at_least:,} of {result.n_pairs:,} pairs observed with a divergence of {least}; {by} gives"
        f" {amount(last.n_expected or 0.0)} expected{halves}."
    )


def shown_divergence(result: DivergentPairs, record: PairRecord) -> str:
    """As a list has it: of the conditional measure the improbability, which differs from pair to pair."""
    return f"{1 - record.divergence:.0e}" if result.measure == "conditional" else f"{record.divergence:.3f}"


def about(result: DivergentPairs) -> str:
    """One line on what was compared."""
    return (
        f"{result.labels[0]} against {result.labels[1]}: {result.n_papers:,} papers, {result.n_pairs:,} pairs, by"
        f" {result.measure}; Spearman correlation {shown(result.spearman)}"
    )


def shown_titles(record: PairRecord) -> tuple[str, str]:
    """Titles on one line each, the id where there is none."""
    one, other = (printable(title or id) for title, id in zip(record.titles, record.ids, strict=True))
    return one, other


def sides(result: DivergentPairs, record: PairRecord) -> tuple[str, str]:
    """What each space makes of a pair: `minilm 0.712, above 99.9 % of the pairs, 2nd neighbour`."""
    one, other = (
        f"{label} {cosine:.3f}, above {share(percentile)} of pairs, {ordinal(min(ranks))} neighbour"
        for label, cosine, percentile, ranks in zip(
            result.labels, record.cosines, record.percentiles, record.neighbour_ranks, strict=True
        )
    )
    return one, other


def why(record: PairRecord) -> str:
    """The rare terms that both abstracts share: `magnetized (12 papers), plasma (31)`."""
    shown = [term.term if term.n_papers is None else f"{term.term} ({term.n_papers:,})" for term in record.terms]
    return ", ".join(printable(term) for term in shown)


def chance(record: PairRecord) -> str:
    """How many pairs diverge at least as much, here and by chance."""
    if record.n_at_least is None or record.n_expected is None:
        return ""
    halves = "" if record.n_halves is None else f", {amount(record.n_halves)} between halves of abstracts"
    return f"as divergent: {record.n_at_least:,} observed, {amount(record.n_expected)} expected{halves}"


def ordinal(n: int) -> str:
    """1st, 2nd, 3rd, 11th, 1,840th."""
    ending = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n:,}{ending}"


def share(percentile: float) -> str:
    """A percentage with as many digits as tell it from 0 and 100: 12 %, 99.98 %."""
    edge = min(percentile, 100 - percentile)
    digits = 0 if edge >= 10 else 1 if edge >= 1 else 2 if edge >= 0.1 else 3 if edge >= 0.01 else 4
    return f"{percentile:.{digits}f} %"


def amount(n: float) -> str:
    """An expected number: 1,234, 12.3, 0.045, and < 0.001 below that; 0 is 0."""
    if math.isnan(n):
        return "an unknown number"
    if n >= 100:
        return f"{n:,.0f}"
    if n == 0 or n >= 0.001:
        return f"{n:.2g}" if n < 10 else f"{n:.3g}"
    return "< 0.001"
