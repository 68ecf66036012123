"""One pass of the encoder for all texts that wait.

All bookkeeping is done in the event loop, without locks; one thread runs the passes. A pass starts as soon as the
thread is free, so a lone query waits for nothing; while it runs, the next one gathers. Queries of searches go before
texts to embed, which are taken a few at a time, since an abstract takes as long as some ten queries.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np

from embedsearch.encoders import Encoded, Encoder, Role
from embedsearch.errors import BadVector
from embedsearch.scores import Float32
from embedsearch.server import metrics
from embedsearch.server.options import Batching
from embedsearch.server.passes import Embedded, encode_each
from embedsearch.server.threads import stopping

PASS_CHARS = 8192
"""Characters of a pass of queries: some 2,000 tokens, a fraction of a second on two cores."""
DOCUMENT_TEXTS, DOCUMENT_CHARS = 8, 4096
"""Of a pass of texts to embed, since that is what a search may have to wait for."""
CACHED_CHARS = 1000
"""Of a query whose vector is kept: longer ones seldom come again, and 10,000 of the longest are 400 MB of text."""
QUERY_PASSES = 8
"""So many passes of queries in a row, and then one of the texts to embed, which would else never be reached."""


class Waited(NamedTuple):
    """Seconds that a request's texts waited for the encoder, and were in it."""

    queue: float
    encode: float


@dataclass(eq=False, slots=True)
class _Job:
    """A text to embed, and how many wait for it; `started` is None until its pass begins."""

    text: str
    role: Role
    done: asyncio.Future[Embedded]
    is_query: bool = False
    n_waiting: int = 0
    started: float | None = None


@dataclass(slots=True)
class _Lane:
    """Jobs in the order in which they came; nobody waits any more for some of them."""

    max_texts: int
    max_chars: int
    jobs: deque[_Job] = field(default_factory=deque)

    def take(self) -> list[_Job]:
        """The jobs of the next pass: of one role, within the bounds, but at least one where any is wanted."""
        taken: list[_Job] = []
        n_chars = 0
        while self.jobs and len(taken) < self.max_texts:
            job = self.jobs[0]
            if job.n_waiting:
                n_chars += len(job.text)
                if taken and (n_chars > self.max_chars or job.role is not taken[0].role):
                    break
                taken.append(job)
            else:
                job.done.cancel()
            self.jobs.popleft()
        return taken


class QueryBatcher:
    """Embeds by one encoder for everybody, in passes that run in `thread`, a pool of one.

    All methods are for one event loop. Vectors are those of the model, before a store's transform.
    """

    def __init__(self, encoder: Encoder, *, thread: ThreadPoolExecutor, options: Batching) -> None:
        self.encoder = encoder
        self._thread = thread
        self._options = options
        n = options.max_texts
        self._queries = _Lane(n, PASS_CHARS)
        self._documents = _Lane(min(n, DOCUMENT_TEXTS), DOCUMENT_CHARS)
        self._known: dict[str, _Job] = {}
        """Queries that are waited for or in a pass."""
        self._cache: OrderedDict[str, Float32] = OrderedDict()
        self._running = False
        self._n_in_a_row = 0

    async def queries(self, texts: Sequence[str]) -> tuple[dict[str, Float32], Waited]:
        """Vectors (dim,) float32 of `texts` as queries, each once, and how long they took.

        Raises BadVector, whose `position` is that in `texts`, if one has none; what the encoder raises.
        """
        found, missing = self._look_up(texts)
        if not missing:
            return found, Waited(0.0, 0.0)
        jobs = [self._query(text) for text in missing]
        made, waited = await self._all(jobs, position=texts.index)
        return found | {job.text: one.vector for job, one in zip(jobs, made, strict=True)}, waited

    async def documents(self, texts: Sequence[str], *, role: Role) -> tuple[Encoded, Waited]:
        """Vectors and tokens of any texts, after the queries that wait. Raises as `queries` does."""
        loop = asyncio.get_running_loop()
        jobs = [_Job(text, role, loop.create_future()) for text in texts]
        self._documents.jobs.extend(jobs)
        made, waited = await self._all(jobs, position=texts.index)
        encoded = Encoded(
            vectors=np.array([one.vector for one in made], np.float32).reshape(len(made), -1),
            n_tokens=np.array([one.n_tokens for one in made], np.int64),
            truncated=np.array([one.is_truncated for one in made], bool),
        )
        return encoded, waited

    def _look_up(self, texts: Iterable[str]) -> tuple[dict[str, Float32], list[str]]:
        """Vectors that are known, and the texts whose are not."""
        found: dict[str, Float32] = {}
        missing: list[str] = []
        for text in dict.fromkeys(texts):
            vector = self._cache.get(text)
            if vector is None:
                missing.append(text)
            else:
                self._cache.move_to_end(text)
                found[text] = vector
        metrics.cache_asked(n_hits=len(found), n_misses=len(missing))
        return found, missing

    def _query(self, text: str) -> _Job:
        """The job of this query: somebody else's where it is on its way already."""
        job = self._known.get(text)
        if job is None or job.done.done():
            job = _Job(text, Role.QUERY, asyncio.get_running_loop().create_future(), is_query=True)
            job.done.add_done_callback(lambda _: self._forget(job))
            self._known[text] = job
            self._queries.jobs.append(job)
        return job

    def _forget(self, job: _Job) -> None:
        if self._known.get(job.text) is job:
            del self._known[job.text]

    def _keep(self, text: str, vector: Float32) -> None:
        if self._options.cached_queries and len(text) <= CACHED_CHARS:
            self._cache[text] = vector
            if len(self._cache) > self._options.cached_queries:
                self._cache.popitem(last=False)

    async def _all(self, jobs: list[_Job], *, position: Callable[[str], int]) -> tuple[list[Embedded], Waited]:
        asked = time.perf_counter()
        for job in jobs:
            job.n_waiting += 1
        self._wake()
        try:
            made = [await self._one(job, position, len(jobs)) for job in jobs]
        finally:  # also of those that nobody waits for any more: see _Lane.take
            for job in jobs:
                job.n_waiting -= 1
        started = min((job.started for job in jobs if job.started is not None), default=asked)
        queue = max(0.0, started - asked)  # below zero where somebody else's pass was under way already
        return made, Waited(queue, time.perf_counter() - asked - queue)

    async def _one(self, job: _Job, position: Callable[[str], int], n: int) -> Embedded:
        try:
            # Shielded: the job may be others' as well.
            return await asyncio.shield(job.done)
        except BadVector as error:
            reason = str(error).removesuffix(f" at position {error.position}")
            at = position(job.text)
            raise BadVector(reason if n == 1 else f"{reason} at position {at}", position=at) from None

    def _wake(self) -> None:
        if not self._running:
            self._running = True
            # In the loop's next turn: requests that came together are in one pass from the start.
            asyncio.get_running_loop().call_soon(self._next_pass)

    def _next_pass(self) -> None:
        self._running = False
        while jobs := self._take():
            texts, role, now = [job.text for job in jobs], jobs[0].role, time.perf_counter()
            for job in jobs:
                job.started = now
            try:
                running = asyncio.get_running_loop().run_in_executor(
                    self._thread, encode_each, self.encoder, texts, role
                )
            except RuntimeError:  # the thread was stopped
                self._settle(jobs, [stopping()] * len(jobs))
                continue
            self._running = True
            running.add_done_callback(partial(self._finish, jobs))
            return

    def _take(self) -> list[_Job]:
        lanes = [self._queries, self._documents]
        if self._n_in_a_row >= QUERY_PASSES:
            lanes.reverse()
        for lane in lanes:
            if jobs := lane.take():
                has_to_wait = lane is self._queries and self._documents.jobs
                self._n_in_a_row = self._n_in_a_row + 1 if has_to_wait else 0
                return jobs
        return []

    def _finish(self, jobs: list[_Job], done: asyncio.Future[list[Embedded | BadVector]]) -> None:
        self._next_pass()  # first: the encoder goes on while what it made is handed out
        error = stopping() if done.cancelled() else done.exception()
        self._settle(jobs, [error] * len(jobs) if error is not None else done.result())

    def _settle(self, jobs: list[_Job], results: Sequence[Embedded | BaseException]) -> None:
        for job, result in zip(jobs, results, strict=True):
            if isinstance(result, Embedded):
                if job.is_query:
                    self._keep(job.text, result.vector)
                job.done.set_result(result)
            else:
                job.done.set_exception(result)
                job.done.exception()  # marks it as seen: all who waited may be gone
