"""Stores that change, beside a model of them in plain Python: a dictionary of records.

After every step, whatever killed it, what is served is what the model says, and answers as a store does that was built
of the model's records at once. A kill here is an exception out of a call that all writing goes through, after which
nothing is tidied up, as in a process that is gone; benchmarks/update_kills.py kills processes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import corpora
from crashing import leftovers
from fake_encoder import FakeEncoder
from store_answers import Answers, Record, fresh, started

from embedsearch.store import atomic, writer
from embedsearch.store.generation import Generation
from embedsearch.store.manifest import Manifest, read_manifest
from embedsearch.verify import verify_store

Papers = dict[str, Record]


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
        shutil.copytree(started(self.kind, n), self.index)
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
        differences = found.differences(right, with_scores=with_scores, may_miss=self.kind == "ivf")
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
