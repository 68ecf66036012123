"""Batches side by side on the processor, each on one thread of torch's.

Where every operation is spread over all threads, all wait for the slowest at each of some hundred operations a pass: on
a processor that others use as well, most of the time. Lanes wait for one another at the end only.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch

A = TypeVar("A")
B = TypeVar("B")

LEAST_IN_A_LANE = 4
"""Batches, on the average: with fewer, lanes that have finished would wait too long for the last."""

_MAKING = threading.Lock()


def n_lanes(n_batches: int) -> int:
    """How many lanes this many batches are worth: as many as torch has threads here, or 1."""
    n_threads = torch.get_num_threads()
    return n_threads if n_batches >= LEAST_IN_A_LANE * n_threads else 1


def in_lanes(work: Callable[[A], B], items: Sequence[A], *, n: int) -> Iterator[B]:
    """`work` of each item, in their order, in `n` lanes. With one lane it is called in this thread.

    What `work` raises comes out at its item; nothing of it runs any more once the iterator is closed.
    """
    if n == 1:
        yield from map(work, items)
        return
    futures = [_lanes(n).submit(work, item) for item in items]
    try:
        for future in futures:
            yield future.result()
    finally:
        for future in futures:
            future.cancel()
        concurrent.futures.wait(futures)


def _lanes(n: int) -> concurrent.futures.ThreadPoolExecutor:
    with _MAKING:
        return _pool(n)


@functools.cache
def _pool(n: int) -> concurrent.futures.ThreadPoolExecutor:
    """Kept, since torch has no way to set the threads of one thread that leaves those of threads to come alone."""
    n_threads = torch.get_num_threads()
    begun = threading.Barrier(n + 1)

    def begin() -> None:
        torch.get_num_threads()  # the first question of a thread gives it the number that new threads get
        torch.set_num_threads(1)
        with contextlib.suppress(threading.BrokenBarrierError):
            begun.wait()

    pool = concurrent.futures.ThreadPoolExecutor(n, thread_name_prefix="lane", initializer=begin)
    try:
        for _ in range(n):
            pool.submit(int)  # begins a thread, as all others are still at the barrier
        begun.wait()
    except BaseException:  # no thread more, or Control-C: those at the barrier would keep the process from ending
        begun.abort()
        pool.shutdown()
        raise
    finally:
        torch.set_num_threads(n_threads)  # of threads to come
    return pool
