"""What a store answers, and what a build of the same papers does: stores of the fake encoder, by kind of ann."""

from __future__ import annotations

import atexit
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import corpora
import numpy as np
from fake_encoder import WORDS, FakeEncoder

from embedsearch.build import BuildOptions, build_index
from embedsearch.scores import unit_rows
from embedsearch.search import Mode, Searcher
from embedsearch.store.filters import Filters
from embedsearch.store.space import Space

Record = dict[str, Any]

SHARD_ROWS = 4
QUERIES = ("star", "galaxy gas", "dust planet wave", "nothing of these")
FILTERS = (
    Filters(),
    Filters(categories=("astro-ph.*",), since="2020-04"),
    Filters(authors=("Writer1",), until="2020-08"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What a store answers: `exact` does not depend on how it came to its papers, scores by words may, `words` not."""

    exact: dict[str, Any]
    words: dict[str, set[str]]
    scores: dict[str, Any]

    @classmethod
    def of(cls, folder: Path) -> Answers:
        searcher = Searcher.open(folder, encoder=FakeEncoder())
        space = Space.open(folder)
        exact: dict[str, Any] = {"space": dict(zip(space.ids, map(np.ndarray.tobytes, space.vectors), strict=True))}
        exact["papers"] = {id: searcher.paper(id) for id in space.ids}
        exact["similar"] = {id: _hits(searcher.similar_to(id, k=50)) for id in space.ids}
        vector = unit_rows(np.arange(1, len(WORDS) + 2, dtype=np.float32)[None])[0]
        scores, words = {}, {}
        for number, filters in enumerate(FILTERS):
            exact[f"vector {number}"] = _hits(searcher.search_vector(vector, k=5, filters=filters))
            exact[f"dense {number}"] = _searched(searcher, Mode.DENSE, filters, k=7)
            scores[f"keyword {number}"] = found = _searched(searcher, Mode.KEYWORD, filters, k=50)
            scores[f"hybrid {number}"] = _searched(searcher, Mode.HYBRID, filters, k=7)
            words |= {f"{query} {number}": {id for id, *_ in hits} for query, hits in found.items()}
        return cls(exact=exact, words=words, scores=scores)

    def differences(self, right: Answers, *, with_scores: bool, may_miss: bool = False) -> list[str]:
        """The names of the parts in which they differ from those of a store that was built at once.

        An index that `may_miss` papers, or cut a group of ties, has as many hits, of which those in both agree.
        """
        parts = ("exact", "words", "scores") if with_scores else ("exact", "words")
        return [
            name
            for part in parts
            for name, value in getattr(right, part).items()
            if not _agree(getattr(self, part).get(name), value, may_miss=may_miss and name.startswith(BY_VECTOR))
        ]


BY_VECTOR = ("similar", "vector", "dense", "hybrid")
"""Parts that the index over vectors proposes papers for."""


def _agree(found: Any, right: Any, *, may_miss: bool) -> bool:
    if not may_miss or found is None:
        return bool(found == right)
    if isinstance(right, dict):
        return found.keys() == right.keys() and all(_agree(found[each], right[each], may_miss=True) for each in right)
    here, there = ({id: scores for id, *scores in hits} for hits in (found, right))
    return len(found) == len(right) and all(here[id] == there[id] for id in here.keys() & there.keys())


def _hits(result: Any) -> list[tuple[str, float, float | None]]:
    return [(hit.id, hit.score, hit.cosine) for hit in result.hits]


def _searched(searcher: Searcher, mode: Mode, filters: Filters, *, k: int) -> dict[str, Any]:
    results = searcher.search(list(QUERIES), mode=mode, filters=filters, k=k)
    return {query: _hits(result) for query, result in zip(QUERIES, results, strict=True)}


@cache
def started(kind: str, n: int) -> Path:
    """A new store of n papers, which is copied."""
    kept = tempfile.TemporaryDirectory(prefix="embedsearch-updating-")
    atexit.register(kept.cleanup)
    start = Path(kept.name) / "start"
    _build(start, kind, corpora.records(n))
    return start


_fresh: dict[tuple[str, str], Answers] = {}


def fresh(kind: str, papers: Mapping[str, Record]) -> Answers:
    """What a build of these papers answers."""
    key = (kind, json.dumps(papers, sort_keys=True))
    if key not in _fresh:
        with tempfile.TemporaryDirectory(prefix="embedsearch-updating-") as folder:
            _build(Path(folder) / "index", kind, list(papers.values()))
            _fresh[key] = Answers.of(Path(folder) / "index")
    return _fresh[key]


def _build(index: Path, kind: str, records: Sequence[Record]) -> None:
    index.parent.mkdir(exist_ok=True)
    corpus = corpora.write(index.parent / "papers.jsonl", list(records))
    build_index(corpus, index, encoder=FakeEncoder(), options=BuildOptions(ann=kind, shard_rows=SHARD_ROWS))
