"""An evaluation as tables, as one table in long form, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from embedsearch.evaluate.measuring import MEASURES
from embedsearch.evaluate.queries import plain
from embedsearch.evaluate.report import Evaluation, Figures
from embedsearch.evaluate.significance import RESOLVED
from embedsearch.measures import Interval, mean_interval
from embedsearch.render import evaluation_more as more
from embedsearch.render import tables
from embedsearch.render.tables import UNKNOWN, Column, Table

COMPARED = ("MRR@10", "nDCG@10")
"""The measures whose differences people see, and of the first its interval: JSON and CSV have them all."""


def evaluation_tables(found: Evaluation) -> list[Table]:
    """What is best; the measures; with several entries their differences; the recall of the indexes; the worst
    queries."""
    best = _best_table(found)
    made = [best, _measure_table(found)] if best.rows else [_measure_table(found)]
    if found.differences:
        made.append(_difference_table(found))
    if found.recalls:
        made.append(_recall_table(found))
    made += more.more_tables(found)
    if found.worst:
        made.append(_worst_table(found))
    return made


def to_text(found: Evaluation, format: str, *, about: dict[str, Any] | None = None, width: int | None = None) -> str:
    """In a format of `tables.to_text`: `csv` is the long form, a number a line; `json` is `to_dict` with `about`."""
    if format == "json":
        return tables.to_json(to_dict(found) | (about or {}))
    if format == "csv":
        return tables.to_text(long_table(found), "csv")
    return "\n".join(tables.to_text(table, format, width=width) for table in evaluation_tables(found))


def _best_table(found: Evaluation) -> Table:
    """Without rows where there is nothing to choose from."""
    by = COMPARED[0]
    columns = (Column("queries"), Column("best"), Column(by), Column("next"), Column("difference"))
    rows = []
    for queries in found.n_queries:
        order = sorted((of for of in found.figures if of.queries == queries), key=lambda of: -of.intervals[by].mean)
        pairs = [(of, order[0].values[by] - of.values[by]) for of in order[1:]]
        other = next(((of, differences) for of, differences in pairs if differences.any()), None)
        if other is not None:
            ahead = more.signed(mean_interval(other[1]))
            rows.append((queries, _named(found, order[0]), str(order[0].intervals[by]), _named(found, other[0]), ahead))
    caption = f"The best by {by}. It is ahead of the next for certain only where the difference's interval is above 0."
    return Table(columns, tuple(rows), caption)


def _named(found: Evaluation, of: Figures) -> str:
    return of.mode if len(found.entries) == 1 else f"{of.entry}, {of.mode}"


def _measure_table(found: Evaluation) -> Table:
    columns = (Column("queries"), Column("mode"), Column("entry"), *(Column(name) for name in MEASURES))
    rows = tuple((of.queries, of.mode, of.entry, *_cells(of)) for of in found.figures)
    asked = ", ".join(f"{n:,} of {name}" for name, n in found.n_queries.items())
    caption = f"{found.n_papers:,} papers; queries: {asked}. In brackets 95 % intervals over queries."
    return Table(columns, rows, caption)


def _cells(of: Figures) -> Iterator[Any]:
    for name in MEASURES:
        yield str(of.intervals[name]) if name == COMPARED[0] else of.intervals[name].mean


def _difference_table(found: Evaluation) -> Table:
    columns = (
        Column("queries"),
        Column("mode"),
        Column("entry"),
        Column("measure"),
        Column("difference"),
        Column("p"),
        Column("p_holm", "p, Holm"),
        Column("n_to_resolve", f"queries for {RESOLVED}"),
    )
    rows = tuple(
        (of.queries, of.mode, of.entry, of.measure, more.signed(of.value), _p(of.p), _p(of.p_holm), of.n_to_resolve)
        for of in found.differences
        if of.measure in COMPARED
    )
    caption = (
        f"Less {found.entries[0]}, on the same queries. p: permutation test; Holm: for all comparisons of a measure."
        f" Last: how many such queries would show a difference of {RESOLVED} (80 % power, 5 %)."
    )
    return Table(columns, rows, caption)


def _p(value: float) -> str:
    return "< 0.0001" if value < 1e-4 else f"{value:.4f}"


def _recall_table(found: Evaluation) -> Table:
    columns = (Column("entry"), Column("kind", "index"), Column("recall", "recall of the exact 10"), Column("queries"))
    rows = tuple((of.entry, of.kind, str(of.recall), f"{of.n_queries:,} of {of.queries}") for of in found.recalls)
    return Table(columns, rows, "What searching by way of the index finds of the exact ten by meaning.")


def _worst_table(found: Evaluation) -> Table:
    columns = (
        Column("entry"),
        Column("queries"),
        Column("mode"),
        Column("rank"),
        Column("query"),
        Column("wanted"),
        Column("first", "found first"),
    )
    rows = tuple(
        (
            of.entry,
            of.queries,
            of.mode,
            of.rank,
            of.query,
            of.wanted if plain(of.wanted_title) == of.query else f"{of.wanted} {of.wanted_title}",
            f"{of.first} {of.first_title}" if of.first else UNKNOWN,
        )
        for of in found.worst
    )
    return Table(columns, rows, f"The worst queries. {UNKNOWN}: not among the answers.")


LONG = (
    "of", "queries", "mode", "entry", "base", "measure", "n_queries", "value", "low", "high", "p", "p_holm",
    "n_to_resolve",
)  # fmt: skip
"""Columns of the long form."""


def long_table(found: Evaluation) -> Table:
    """One number a row, with its 95 % interval."""
    return Table(tuple(Column(name) for name in LONG), tuple(_long(found)))


def _long(found: Evaluation) -> Iterator[tuple[Any, ...]]:
    nothing = (None, None, None)
    for of in found.figures:
        for name, value in of.intervals.items():
            asked = (of.queries, of.mode, of.entry, None, name, of.n_queries)
            yield ("entry", *asked, value.mean, value.low, value.high, *nothing)
    for than in found.differences:
        both = (than.queries, than.mode, than.entry, than.base, than.measure, found.n_queries[than.queries])
        numbers = (than.value.mean, than.value.low, than.value.high, than.p, than.p_holm, than.n_to_resolve)
        yield ("difference", *both, *numbers)
    for recall in found.recalls:
        there = (recall.queries, "dense", recall.entry, None, f"recall of {recall.kind}", recall.n_queries)
        yield ("index", *there, recall.recall.mean, recall.recall.low, recall.recall.high, *nothing)
    for place, (number, low, high) in more.numbers(found):
        yield (*place, number, low, high, *nothing)


def to_dict(found: Evaluation) -> dict[str, Any]:
    """Everything, with the values and ranks of each query, as JSON can have it."""
    return {
        "entries": list(found.entries),
        "n_papers": found.n_papers,
        "n_queries": dict(found.n_queries),
        "measures": [
            {
                "queries": of.queries,
                "mode": of.mode,
                "entry": of.entry,
                **{name: interval(value) for name, value in of.intervals.items()},
                "ranks": of.ranks,
                "values": dict(of.values),
            }
            for of in found.figures
        ],
        "differences": [
            {name: getattr(of, name) for name in ("queries", "mode", "entry", "base", "measure")}
            | interval(of.value)
            | {"p": of.p, "p_holm": of.p_holm, "n_to_resolve": of.n_to_resolve}
            for of in found.differences
        ],
        "index_recall": [
            {"entry": of.entry, "kind": of.kind, "queries": of.queries, "n_queries": of.n_queries} | interval(of.recall)
            for of in found.recalls
        ],
        "worst": [{name: getattr(of, name) for name in of.__slots__} for of in found.worst],
        **more.to_dict(found),
        "notes": list(found.notes),
    }


def interval(value: Interval) -> dict[str, float]:
    """An interval as JSON has it."""
    return {"mean": value.mean, "low": value.low, "high": value.high}
