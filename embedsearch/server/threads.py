"""The threads that search: few, since searching is mostly Python, of which one thread runs at a time."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from embedsearch.errors import Overloaded
from embedsearch.search import Searcher

T = TypeVar("T")

SEARCH_THREADS = 1
SWITCH_SECONDS = 0.0005
"""How long Python lets a thread wait for another. torch has to wait so after each operation: with the usual 5 ms a
server under load answers a quarter fewer queries (134.6 against 170.5 a second on two cores, `benchmarks.serve`)."""


def stopping() -> Overloaded:
    """What is said to those who ask, or wait, while the server stops."""
    return Overloaded("expected a server that goes on, found that it stops: try again in a moment")


class SearchThreads:
    """Runs calls off the event loop, in the order in which they came; what was cancelled before its turn is dropped."""

    def __init__(self, n: int = SEARCH_THREADS) -> None:
        self._n = n
        self._switch_before: float | None = None
        self._pool = ThreadPoolExecutor(n, thread_name_prefix="search")

    def start(self) -> None:
        """Let all threads of this process take shorter turns, until `close`."""
        self._switch_before = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_SECONDS)

    async def run(self, call: Callable[[], T], *, waited: Callable[[float], None] = lambda seconds: None) -> T:
        """What `call` returns or raises. `waited(seconds)` is called first, in the thread.

        Raises Overloaded after `close`.
        """
        submitted = time.perf_counter()

        def timed() -> T:
            waited(time.perf_counter() - submitted)
            return call()

        try:
            running = asyncio.get_running_loop().run_in_executor(self._pool, timed)
        except RuntimeError:  # it is closed
            raise stopping() from None
        return await running

    async def connect(self, searcher: Searcher) -> None:
        """Let each thread open what it needs of a store, the caller's too, so that no query looks for files."""
        met = threading.Barrier(self._n)

        def connect() -> None:
            searcher.connect()
            with suppress(threading.BrokenBarrierError):  # held, so that each thread takes one of these
                met.wait(timeout=5)

        await asyncio.gather(*(self.run(connect) for _ in range(self._n)))
        searcher.connect()

    async def close(self) -> None:
        """Finish the calls that run, drop those that wait."""
        if self._switch_before is not None:
            sys.setswitchinterval(self._switch_before)
        await asyncio.to_thread(self._pool.shutdown, wait=True, cancel_futures=True)
