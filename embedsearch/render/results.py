"""Hits and papers as JSON and CSV: one shape for the command line and the server."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from embedsearch.corpus import is_arxiv_id
from embedsearch.records import Facets, Hit, Paper, SearchResult

AUTHORS_SHOWN = 4
"""People read the names of so many, and "et al." for the others."""


def hit_dict(hit: Hit, *, full: bool = False) -> dict[str, Any]:
    """A hit as JSON has it; in full with the sentence that answers, and the paper as its corpus has it."""
    more = {"sentence": hit.sentence, "paper": paper_dict(hit.paper)} if full else {}
    like = {} if hit.like is None else {"like": hit.like}
    return {
        "rank": hit.rank,
        "id": hit.id,
        "score": _short(hit.score),
        "cosine": None if hit.cosine is None else _short(hit.cosine),
        "title": hit.title,
        "abstract": hit.abstract,
        "authors": list(hit.authors),
        "categories": list(hit.categories),
        "published": hit.published,
        **like,
        **more,
    }


def result_dict(result: SearchResult, *, full: bool = False) -> dict[str, Any]:
    """A result as JSON has it; `full` as for `hit_dict`."""
    counted = {"facets": _facets_dict(result.facets)} if result.facets else {}
    hits = [hit_dict(hit, full=full) for hit in result.hits]
    return {"query": result.query, "mode": result.mode, "hits": hits, **counted}


def paper_dict(paper: Paper) -> dict[str, Any]:
    """A paper as JSON has it: LaTeX and line breaks are kept."""
    return {name: getattr(paper, name) for name in _PAPER_FIELDS}


_PAPER_FIELDS = tuple(field.name for field in fields(Paper) if field.name != "deleted")  # none that is shown is


def _facets_dict(facets: Facets) -> dict[str, Any]:
    return {
        "n_counted": facets.n_counted,
        "categories": [{"name": name, "n": n} for name, n in facets.categories],
        "years": [{"name": name, "n": n} for name, n in facets.years],
    }


def to_json(value: Any, *, indent: int | None = 2) -> str:
    """JSON text; indent None makes one line, as JSON Lines wants."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)


def to_csv(results: Sequence[SearchResult]) -> str:
    """A row for each hit, the query first; lists are joined by "; ". Only papers like several have a column "like"."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    columns = ["rank", "id", "score", "cosine", "title", "authors", "categories", "published", "abstract"]
    if any(hit.like is not None for result in results for hit in result.hits):
        columns.append("like")
    writer.writerow(("query", *columns))
    for result in results:
        for hit in result.hits:
            values = hit_dict(hit) | {"authors": "; ".join(hit.authors), "categories": "; ".join(hit.categories)}
            writer.writerow([result.query, *(values.get(column) for column in columns)])
    return buffer.getvalue()


def arxiv_url(id: str) -> str | None:
    """Where arXiv shows the paper; None for an id that is not arXiv's."""
    return f"https://arxiv.org/abs/{id}" if is_arxiv_id(id) else None


def _short(score: float) -> float:
    """float32 to as many digits as tell float32 numbers apart."""
    return float(f"{score:.9g}")
