"""What an evaluation found beside its measures: costs, other sizes of the corpus, and the weight of the hybrid."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from embedsearch.evaluate.cost import Cost, Rate
from embedsearch.evaluate.report import Evaluation, Figures, SizeFigures
from embedsearch.measures import Interval
from embedsearch.render.tables import Column, Table

QUALITY = "MRR@10"

Number = tuple[float, float | None, float | None]
"""With the ends of its interval."""


def more_tables(found: Evaluation) -> list[Table]:
    """Those that there is something for."""
    made = []
    if found.alike_changes:
        made.append(_alike_table(found))
    if found.sizes:
        made.append(_size_table(found))
    if found.choices:
        made.append(_choice_table(found))
    if found.costs:
        made.append(_cost_table(found))
    return made


def _alike_table(found: Evaluation) -> Table:
    columns = (
        Column("queries"),
        Column("mode"),
        Column("entry"),
        Column("n_with", "have some"),
        Column("n_changed", "rank changed"),
        Column("mrr_without", f"{QUALITY} without"),
        Column("mrr_with", "with"),
    )
    rows = tuple(
        (of.queries, of.mode, of.entry, of.n_with, of.n_changed, of.mrr_without, of.mrr_with)
        for of in found.alike_changes
    )
    alike = found.alike
    about = "" if alike is None else f" of {alike.min_cosine:g} under {alike.entry}, or of the same title,"
    centred = ", about the mean of the papers" if alike is not None and alike.is_centered else ""
    return Table(columns, rows, f"Near-duplicates{about} count as the right paper in all figures{centred}.")


def best_figure(found: Evaluation, entry: str) -> Figures | None:
    """Of an entry on the first set of queries: hybrid, where it can be."""
    queries = next(iter(found.n_queries))
    figures = (found.figure(entry, queries, mode) for mode in ("hybrid", "dense", "keyword"))
    return next((of for of in figures if of is not None), None)


def _size_table(found: Evaluation) -> Table:
    asked = found.n_papers_asked or found.n_papers
    sizes = _shown_sizes(found.sizes[0], asked)
    columns = [Column("queries"), Column("mode"), Column("entry")]
    columns += [Column(f"at_{n}", f"{n:,} papers") for n in sizes]
    rows: tuple[tuple[Any, ...], ...] = tuple(
        (of.queries, of.mode, of.entry, *(str(of.curve.at(n).value) for n in sizes)) for of in found.sizes
    )
    if len(found.entries) > 1:
        columns.append(Column("difference", f"less {found.entries[0]}, at {asked:,}"))
        than = [None if of.difference is None else signed(of.difference.value) for of in found.sizes]
        rows = tuple((*row, difference) for row, difference in zip(rows, than, strict=True))
    corpus = found.n_papers
    caption = (
        f"{QUALITY} against the size of the corpus. Up to {corpus:,} papers exact; beyond, a fit, whose interval holds"
        " those of all of its models."
    )
    return Table(tuple(columns), rows, caption)


def _shown_sizes(of: SizeFigures, asked: int) -> list[int]:
    """A tenth of the corpus or so, the corpus, and what was asked for: a screen has room for no more."""
    corpus = of.curve.n_corpus
    below = [point.n_papers for point in of.curve.points if point.n_papers <= corpus / 5][-1:]
    return sorted({*below, corpus, asked})


def _choice_table(found: Evaluation) -> Table:
    columns = (
        Column("entry"),
        Column("weight", "best weight", digits=2),
        Column("queries"),
        Column("chosen", f"{QUALITY}, best"),
        Column("default", "by default"),
        Column("difference"),
        Column("dense"),
        Column("keyword"),
        Column("n", "of queries"),
    )
    rows = tuple(
        (
            choice.entry,
            choice.weight,
            of.queries,
            str(of.chosen),
            str(of.by_default),
            signed(of.difference),
            of.dense.mean,
            of.keyword.mean,
            of.n_reported,
        )
        for choice in found.choices
        for of in choice.sets
    )
    caption = (
        "The weight of the cosine in the hybrid, chosen on one half of the queries; the figures are of the other half."
        f" The default is {found.choices[0].default:g}."
    )
    return Table(columns, rows, caption)


def _cost_table(found: Evaluation) -> Table:
    n = found.n_papers_asked
    columns = [
        Column("entry"),
        Column("quality", QUALITY),
        Column("papers_a_second", "papers/s"),
        Column("ms_a_query", "ms a query"),
        Column("bytes_a_paper", "bytes a paper", digits=0),
    ]
    if n is not None:
        columns += [Column("hours", f"hours for {n:,}", digits=1), Column("gigabytes", "GB", digits=1)]
        columns.append(Column("usd", "US dollars", digits=2))
    rows = tuple(tuple(_cost_cells(found, cost, n)) for cost in found.costs)
    of = best_figure(found, found.entries[0])
    what = f"{QUALITY} of {of.queries}, {of.mode}. " if of else ""
    return Table(
        tuple(columns),
        rows,
        f"{what}Medians on this machine, with the quarter below and above; a query is embedded and searched alone.",
    )


def _cost_cells(found: Evaluation, cost: Cost, n: int | None) -> Iterator[Any]:
    of = best_figure(found, cost.entry)
    yield cost.entry
    yield None if of is None else str(of.intervals[QUALITY])
    yield _rate(cost.papers_a_second)
    yield _rate(cost.ms_a_query)
    yield float(sum(cost.bytes_a_paper.values()))
    if n is not None:
        there = cost.at(n)
        yield from (there.hours, there.n_bytes / 1e9, there.usd)


def _rate(rate: Rate | None) -> str | None:
    return None if rate is None else f"{_short(rate.value)} [{_short(rate.low)}, {_short(rate.high)}]"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def signed(value: Interval) -> str:
    """An interval of a difference: +0.012 [-0.003, +0.027]."""
    return f"{value.mean:+.3f} [{value.low:+.3f}, {value.high:+.3f}]"


def numbers(found: Evaluation) -> Iterator[tuple[tuple[Any, ...], Number]]:
    """(of, queries, mode, entry, base, measure, n_queries) of each number, for the long form."""
    for change in found.alike_changes:
        of_set = ("near-duplicates", change.queries, change.mode, change.entry, None)
        yield (*of_set, f"{QUALITY} without", change.n_queries), (change.mrr_without, None, None)
        yield (*of_set, "ranks changed", change.n_queries), (float(change.n_changed), None, None)
    for of in found.sizes:
        for point in of.curve.points:
            name = f"{of.curve.measure} of {point.n_papers} papers"
            yield ("size", of.queries, of.mode, of.entry, None, name, of.curve.n_queries), _three(point.value)
        if of.difference is not None:
            name = f"{of.curve.measure} of {of.difference.n_papers} papers"
            place = ("size difference", of.queries, of.mode, of.entry, of.base, name, of.curve.n_queries)
            yield place, _three(of.difference.value)
    for choice in found.choices:
        yield ("hybrid", None, "hybrid", choice.entry, None, "weight", None), (choice.weight, None, None)
        for each in choice.sets:
            yield ("hybrid", each.queries, "hybrid", choice.entry, None, QUALITY, each.n_reported), _three(each.chosen)
    for cost in found.costs:
        for name, rate in (("papers a second", cost.papers_a_second), ("ms a query", cost.ms_a_query)):
            if rate is not None:
                yield ("cost", None, None, cost.entry, None, name, None), (rate.value, rate.low, rate.high)
        size = float(sum(cost.bytes_a_paper.values()))
        yield ("cost", None, None, cost.entry, None, "bytes a paper", None), (size, None, None)


def _three(value: Interval) -> Number:
    return value.mean, value.low, value.high


def to_dict(found: Evaluation) -> dict[str, Any]:
    """As JSON can have it."""
    n = found.n_papers_asked
    return {
        **_alike_dict(found),
        "sizes": [
            {
                "queries": of.queries,
                "mode": of.mode,
                "entry": of.entry,
                "curve": of.curve.as_dict(),
                "base": of.base,
                "difference": None if of.difference is None else asdict(of.difference),
            }
            for of in found.sizes
        ],
        "hybrid": [choice.as_dict() for choice in found.choices],
        "costs": [cost.as_dict() | ({} if n is None else {"at": _projection(cost, n)}) for cost in found.costs],
    }


def _alike_dict(found: Evaluation) -> dict[str, Any]:
    """Only where near-duplicates count: else JSON stays as it was."""
    if found.alike is None:
        return {}
    alike = found.alike
    how = {"entry": alike.entry, "min_cosine": alike.min_cosine, "centered": alike.is_centered}
    return {"near_duplicates": how | {"changes": [asdict(change) for change in found.alike_changes]}}


def _projection(cost: Cost, n: int) -> dict[str, Any]:
    there = cost.at(n)
    return {"n_papers": n, "hours": there.hours, "bytes": there.n_bytes, "usd": there.usd}
