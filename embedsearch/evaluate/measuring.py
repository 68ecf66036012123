"""Measures of rankings, by ir-measures: trec_eval's definitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from embedsearch.errors import MissingExtra
from embedsearch.evaluate.asking import Scored
from embedsearch.scores import Float64, Rows
from embedsearch.search import Mode

MEASURES = ("MRR@10", "recall@1", "recall@10", "recall@100", "nDCG@10")
"""Recall is of all papers that answer, so that recall@1 of a query with two is 0.5 at most; nDCG has linear gains."""

DEPTH = 100
"""Papers of a ranking that are looked at."""


def measure(scored: Scored, mode: Mode, *, weight: float | None = None) -> dict[str, Float64]:
    """By name of MEASURES, the value of each query: (q,). `weight` is the hybrid's, by default the store's.

    Raises MissingExtra without ir-measures.
    """
    return measure_ranked([rows for rows, _ in scored.top(mode, DEPTH, weight)], scored.relevant)


def measure_ranked(ranked: Sequence[Rows], relevant: Sequence[Mapping[int, int]]) -> dict[str, Float64]:
    """As `measure`, of rankings: the rows that each query is answered with, the best first."""
    ir_measures = _library()
    named = {name: _of_name(ir_measures, name) for name in MEASURES}
    # Scores fall by one from rank to rank: ir-measures would order ties in a way of its own.
    run = {str(i): {str(row): float(-at) for at, row in enumerate(rows)} for i, rows in enumerate(ranked)}
    qrels = {str(i): {str(row): gain for row, gain in gains.items()} for i, gains in enumerate(relevant)}
    values = {name: np.zeros(len(relevant)) for name in MEASURES}
    names = {measure: name for name, measure in named.items()}
    for found in ir_measures.iter_calc(list(names), qrels, run):
        values[names[found.measure]][int(found.query_id)] = found.value
    return values


def _of_name(ir_measures: Any, name: str) -> Any:
    kind, _, k = name.partition("@")
    return {"MRR": ir_measures.RR, "recall": ir_measures.R, "nDCG": ir_measures.nDCG}[kind] @ int(k)


def _library() -> Any:
    try:
        import ir_measures
    except ImportError:
        raise MissingExtra(
            "expected ir-measures, which has the measures, found it not installed: pip install 'embedsearch[evaluate]'"
        ) from None
    return ir_measures
