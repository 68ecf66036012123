"""Stores that change, beside a model of them in plain Python: a dictionary of records.

After every step, whatever killed it, what is served is what the model says, and answers as a store does that was built
of the model's records at once. A kill here is an exception out of a call that all writing goes through, after which
nothing is tidied up, as in a process that is gone; benchmarks/update_kills.py kills processes.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import corpora
import numpy as np
from crashing import leftovers
from fake_encoder import WORDS, FakeEncoder

from embedsearch.build import BuildOptions, build_index
from embedsearch.scores import unit_rows
from embedsearch.search import Mode, Searcher
from embedsearch.store import atomic, writer
from embedsearch.store.filters import Filters
from embedsearch.store.manifest import Generation, Manifest, read_manifest
from embedsearch.store.space import Space
from embedsearch.verify import verify_store

Record = dict[str, Any]
Papers = dict[str, Record]

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

    def differences(self, right: Answers, *, with_scores: bool) -> list[str]:
        """The names of the parts in which they differ from those of a store that was built at once."""
        parts = ("exact", "words", "scores") if with_scores else ("exact", "words")
        return [
            name
            for part in parts
            for name, value in getattr(right, part).items()
            if getattr(self, part).get(name) != value
        ]


def _hits(result: Any) -> list[tuple[str, float, float | None]]:
    return [(hit.id, hit.score, hit.cosine) for hit in result.hits]


def _searched(searcher: Searcher, mode: Mode, filters: Filters, *, k: int) -> dict[str, Any]:
    results = searcher.search(list(QUERIES), mode=mode, filters=filters, k=k)
    return {query: _hits(result) for query, result in zip(QUERIES, results, strict=True)}


class Killed(BaseException):
    """The process is gone."""


POINTS = (
    (os, "replace", "before"),
    (os, "replace", "after"),
    (atomic, "sync", "before"),
    (writer, "remove", "before"),
)
"""Calls that all writing goes through: a file is written, synced, has its own name, is removed."""


@dataclass(slots=True)
class Points:
    """How many points were come to, and the one at which all ended."""

    n: int = 0
    hit: list[str] = field(default_factory=list)


def _raise() -> None:
    raise Killed


@contextmanager
def killed_at(nth: int | None, end: Callable[[], None] = _raise) -> Iterator[Points]:
    """Call `end` at the n-th of the POINTS that is come to. Nothing is tidied up after it; None: never."""
    points = Points()

    def wrapped(original: Callable[..., Any], name: str, when: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> None:
            if points.hit:
                raise Killed  # whatever goes on, nothing is written any more
            if when == "after":
                original(*args, **kwargs)
            points.n += 1
            if points.n == nth:
                points.hit.append(f"{when} {name}({', '.join(Path(arg).name for arg in args)})")
                end()
            if when == "before":
                original(*args, **kwargs)

        return call

    with ExitStack() as patches:
        for owner, name, when in POINTS:
            patches.enter_context(mock.patch.object(owner, name, wrapped(getattr(owner, name), name, when)))
        tidied = atomic.remove
        patches.enter_context(mock.patch.object(atomic, "remove", lambda path: None if points.hit else tidied(path)))
        yield points


@dataclass(frozen=True, slots=True)
class State:
    """The papers of a generation. `clean`: no record was ever taken out of the segments of its keyword index."""

    papers: Papers
    clean: bool = True


@dataclass(slots=True)
class Model:
    """A store and what it should be. `kind` is that of its ann."""

    folder: Path
    kind: str
    states: dict[int, State] = field(default_factory=dict)
    """By number of generation; those of a change that was not committed are overwritten by the next."""
    killed: list[str] = field(default_factory=list)

    @property
    def index(self) -> Path:
        return self.folder / "index"

    @property
    def manifest(self) -> Manifest:
        return read_manifest(self.index)

    @property
    def papers(self) -> Papers:
        """What is served."""
        return self.states[self.manifest.serving.number].papers

    @property
    def newest(self) -> Papers:
        """What an addition begins with: an interrupted one is finished first."""
        manifest = self.manifest
        return self.states[(manifest.building or manifest.serving).number].papers

    @property
    def can_be_compacted(self) -> bool:
        """Whether there is something to leave out or to join, and nothing in the way."""
        manifest = self.manifest
        serving = manifest.serving
        return manifest.building is None and (serving.n_dead > 0 or len(serving.starts) > 1)

    @property
    def next_number(self) -> int:
        """Of the next generation: what was ever served has a number of its own."""
        manifest = self.manifest
        return 1 + max(each.number for each in [*manifest.generations(), *manifest.history])

    def start(self, n: int) -> None:
        """Build it."""
        records = corpora.records(n)
        shutil.copytree(_started(self.kind, n), self.index)
        self.states = {1: State({record["id"]: record for record in records})}

    def add(self, batch: Sequence[Record], kill: int | None = None) -> None:
        """Add a batch of records; a deleted paper is {"id": ID, "deleted": True}."""
        from embedsearch.update import add

        before = self.manifest
        base = before.building or before.serving
        after = applied(self.states[base.number], batch)
        number = self.next_number
        self.states[number] = after
        corpus = corpora.write(self.folder / "batch.jsonl", list(batch))
        allowed = {before.serving.number, base.number, number}
        is_new = after.papers != self.states[base.number].papers or _is_replaced(base, batch, self.states[base.number])
        with killed_at(kill) as points:
            report = self._tried(lambda: add(corpus, self.index, encoder=FakeEncoder()), points)
        serving = self.manifest.serving.number
        assert serving in allowed
        if report is None:
            return
        assert serving == (number if is_new else base.number)
        assert report.is_nothing == (not is_new and before.building is None)
        assert (report.generation, report.n_papers) == (serving, len(after.papers))
        if before.building is None:
            known = self.states[before.serving.number].papers
            assert set(report.new) == after.papers.keys() - known.keys()
            assert set(report.removed) == known.keys() - after.papers.keys()

    def remove(self, ids: Sequence[str], kill: int | None = None) -> None:
        """Remove papers, of which some may not be there."""
        from embedsearch.update import remove

        before = self.manifest
        known = self.states[before.serving.number]
        gone = known.papers.keys() & set(ids)
        number = self.next_number
        self.states[number] = State({id: r for id, r in known.papers.items() if id not in gone}, clean=False)
        with killed_at(kill) as points:
            report = self._tried(lambda: remove(ids, self.index), points)
        if report is not None:
            assert set(report.removed) == gone
            assert report.n_unknown == len(set(ids)) - len(gone)
            assert self.manifest.serving.number == (number if gone else before.serving.number)
        assert self.manifest.serving.number in {before.serving.number, number}

    def compact(self, kill: int | None = None) -> None:
        """Write it anew."""
        from embedsearch.update import compact

        before = self.manifest.serving
        number = self.next_number
        self.states[number] = State(self.states[before.number].papers)
        with killed_at(kill) as points:
            report = self._tried(lambda: compact(self.index, encoder=FakeEncoder()), points)
        after = self.manifest.serving
        if report is not None:
            assert after.number == (before.number if report.is_nothing else number)
            assert (after.n_dead, after.starts) == (0, [0])
        assert after.number in {before.number, number}

    def rollback(self, kill: int | None = None) -> None:
        """Go back."""
        from embedsearch.update import rollback

        before = self.manifest
        back = before.serving if before.building else before.previous
        assert back is not None
        with killed_at(kill) as points:
            event = self._tried(lambda: rollback(self.index), points)
        assert self.manifest.serving in (before.serving, back)
        if event is not None:
            assert (event.number, event.n_papers) == (back.number, len(self.states[back.number].papers))
            assert self.manifest.serving == back

    def check(self) -> None:
        """What is served is what the model says, and answers as a build of its papers."""
        manifest = self.manifest
        serving, state = manifest.serving, self.states[manifest.serving.number]
        problems = list(verify_store(self.index))
        assert not problems, problems
        assert (serving.complete, serving.n_papers) == (True, len(state.papers))
        found, right = Answers.of(self.index), fresh(self.kind, state.papers)
        with_scores = state.clean and not serving.n_dead
        differences = found.differences(right, with_scores=with_scores)
        assert not differences, differences

    def tidy(self) -> None:
        """The next writer removes what no generation names."""
        from embedsearch.update import remove

        if self.manifest.building is None:
            remove(["not-there"], self.index)
            left = leftovers(self.index)
            assert not left, left

    def _tried(self, change: Callable[[], Any], points: Points) -> Any:
        """What it gives, None where it was killed."""
        try:
            return change()
        except Killed:
            self.killed += points.hit
            return None


def applied(state: State, batch: Sequence[Record]) -> State:
    """The papers after a batch: the last record of a paper stands."""
    papers, clean = dict(state.papers), state.clean
    for record in batch:
        old = papers.get(record["id"])
        clean &= old is None or old == record
        if record.get("deleted"):
            papers.pop(record["id"], None)
        else:
            papers[record["id"]] = record
    return State(papers, clean)


def _is_replaced(base: Generation, batch: Sequence[Record], state: State) -> bool:
    """Whether a paper goes and comes again in a batch: it is embedded again, though the papers are the same."""
    ids = {record["id"] for record in batch if record.get("deleted")}
    return any(id in state.papers for id in ids)


@cache
def _started(kind: str, n: int) -> Path:
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
