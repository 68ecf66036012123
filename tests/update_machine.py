"""Random sequences of changes, for hypothesis: see updating.py."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import corpora
import numpy as np
from fake_encoder import WORDS
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from updating import Model, Papers, Record

POOL = 24
"""Papers that there can be: those that went may come again."""
FEWEST = 3
"""A store is never emptied."""

KILLS = st.none() | st.integers(1, 30) | st.integers(1, 90)
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["new", "new", "change", "renew", "delete", "same"]), st.integers(0, 99), st.integers(0, 999)
    ),
    min_size=1,
    max_size=5,
)

COUNTS: Counter[str] = Counter()
"""Steps that were done, and kills that happened, by name."""


class Updates(RuleBasedStateMachine):
    """Adds, removes, compacts and rolls back, killed or not, and checks after each."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="embedsearch-updates-"))

    @initialize(kind=st.sampled_from(["exact", "flat", "ivf"]), n=st.sampled_from([6, 9]))
    def start(self, kind: str, n: int) -> None:
        self.model = Model(self.folder, kind)
        self.model.start(n)
        COUNTS["sequences"] += 1

    @rule(changes=CHANGES, kill=KILLS)
    def add(self, changes: list[tuple[str, int, int]], kill: int | None) -> None:
        batch = records(self.model.newest, changes)
        if batch:
            self._done("add", lambda: self.model.add(batch, kill))

    @precondition(lambda self: self.model.manifest.building is None)
    @rule(which=st.lists(st.integers(0, POOL - 1), min_size=1, max_size=4), kill=KILLS)
    def remove(self, which: list[int], kill: int | None) -> None:
        pool = [record["id"] for record in corpora.records(POOL)]
        ids = [pool[i] for i in which]
        if len(self.model.papers.keys() - set(ids)) >= FEWEST:
            self._done("remove", lambda: self.model.remove(ids, kill))

    @precondition(lambda self: self.model.can_be_compacted)
    @rule(kill=KILLS)
    def compact(self, kill: int | None) -> None:
        self._done("compact", lambda: self.model.compact(kill))

    @precondition(lambda self: self.model.manifest.building or self.model.manifest.previous)
    @rule(kill=st.none() | st.integers(1, 5))
    def rollback(self, kill: int | None) -> None:
        self._done("rollback", lambda: self.model.rollback(kill))

    def teardown(self) -> None:
        if hasattr(self, "model"):
            self.model.tidy()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _done(self, name: str, step: Any) -> None:
        n_killed = len(self.model.killed)
        step()
        self.model.check()
        COUNTS[name] += 1
        COUNTS[f"{name}, killed"] += len(self.model.killed) - n_killed


def records(papers: Papers, changes: list[tuple[str, int, int]]) -> list[Record]:
    """A batch: what happens, to which paper, and what it says then."""
    batch, now = [], dict(papers)
    for what, which, seed in changes:
        record = _record(now, what, which, seed)
        if record is not None:
            batch.append(record)
            now.pop(record["id"], None)
            if not record.get("deleted"):
                now[record["id"]] = record
    return batch


def _record(papers: Papers, what: str, which: int, seed: int) -> Record | None:
    known = papers[sorted(papers)[which % len(papers)]]
    if what == "new":
        new = [record for record in corpora.records(POOL, seed=seed) if record["id"] not in papers]
        return new[which % len(new)] if new else None
    if what == "change":
        random = np.random.default_rng(seed)
        return known | {"abstract": " ".join(random.choice(WORDS, size=random.integers(1, 9)))}
    if what == "renew":
        return known | {"journal_ref": f"J. Inv. {seed}", "title": f"Paper {seed % 5} on {WORDS[seed % len(WORDS)]}"}
    if what == "delete":
        id = known["id"] if seed % 3 else "2012.09999"  # which was never there
        gone = {"id": id, "deleted": True, "update_date": "2030-01-01"}
        return gone if len(papers) > FEWEST else None
    return known
