"""What a server measures of itself, for Prometheus.

Where PROMETHEUS_MULTIPROC_DIR is set when this is imported, each worker writes its values to files there and any of
them answers for all: `prepare_multiprocess` is for the process that starts them.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
_IS_SHARED = MULTIPROCESS in os.environ
"""Settled now, as prometheus_client does when it is imported."""

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
STAGES = ("queue", "encode", "search", "catalogue")
"""Of a query: waiting for a pass and for a thread; the pass that it was in; finding rows; reading their papers."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Any other is counted as OTHER: a client may send what it likes, and each label value is kept for good."""

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second line beside each value, which nobody asks for
REGISTRY = CollectorRegistry()

_requests = Counter(
    "embedsearch_requests", "Requests that were answered.", ("route", "method", "status"), registry=REGISTRY
)
_request_seconds = Histogram(
    "embedsearch_request_seconds", "From a request to its answer.", ("route",), buckets=SECONDS, registry=REGISTRY
)
_stage_seconds = Histogram(
    "embedsearch_stage_seconds",
    f"Of a request: {', '.join(STAGES)}.",
    ("stage",),
    buckets=SECONDS,
    registry=REGISTRY,
)
_batch_texts = Histogram("embedsearch_batch_texts", "Texts in a pass of the encoder.", buckets=TEXTS, registry=REGISTRY)
# The oldest of all workers: it is the one that an alert waits for.
_generation = Gauge(
    "embedsearch_generation", "Generation of the index that answers.", multiprocess_mode="livemin", registry=REGISTRY
)
_waiting = Gauge(
    "embedsearch_waiting", "Requests that wait or are worked on.", multiprocess_mode="livesum", registry=REGISTRY
)
_swaps = Counter(
    "embedsearch_swaps", "New states of the index: swapped in, or failed to open.", ("result",), registry=REGISTRY
)
_cached = Counter(
    "embedsearch_query_cache", "Queries whose vector was known (hit) or not (miss).", ("result",), registry=REGISTRY
)

# Known from the start, so that a rate of them needs no first event.
_stages = {name: _stage_seconds.labels(name) for name in STAGES}
_swap_results = {True: _swaps.labels("ok"), False: _swaps.labels("failed")}
_cache_results = {True: _cached.labels("hit"), False: _cached.labels("miss")}


def request_done(route: str, method: str, status: int, seconds: float) -> None:
    """Count a request by the template of its path (never the path itself: ids would be labels without end)."""
    _requests.labels(route, method if method in METHODS else "OTHER", str(status)).inc()
    _request_seconds.labels(route).observe(seconds)


def stage(name: str, seconds: float) -> None:
    """Note what a stage of a request took; `name` is one of STAGES."""
    _stages[name].observe(seconds)


def pass_done(n_texts: int) -> None:
    """Note a pass of the encoder."""
    _batch_texts.observe(n_texts)


def cache_asked(*, n_hits: int, n_misses: int) -> None:
    """Note how many queries of a request were found in the cache."""
    if n_hits:
        _cache_results[True].inc(n_hits)
    if n_misses:
        _cache_results[False].inc(n_misses)


def waiting(n: int) -> None:
    """Say how many requests this worker has taken and not answered."""
    _waiting.set(n)


def serving(generation: int) -> None:
    """Say which generation answers."""
    _generation.set(generation)


def swap_done(*, ok: bool) -> None:
    """Count a swap, or a new state that could not be opened."""
    _swap_results[ok].inc()


def exposition() -> tuple[bytes, str]:
    """All metrics as text, those of all workers where there are several, and its content type."""
    if not _IS_SHARED:
        return generate_latest(REGISTRY), CONTENT_TYPE_LATEST
    collected = CollectorRegistry()
    MultiProcessCollector(collected)  # type: ignore[no-untyped-call]
    return generate_latest(collected), CONTENT_TYPE_LATEST


def _memory() -> Path | None:
    """A folder in memory where there is one, else None, which stands for the usual one.

    Workers map their files: on a disk that is full they would end (SIGBUS) as soon as one of these grows.
    """
    shared = Path("/dev/shm")
    return shared if os.access(shared, os.W_OK) else None


@contextmanager
def prepare_multiprocess() -> Iterator[Path]:
    """An empty folder that workers which are spawned meanwhile share their metrics through; removed at the end."""
    before = os.environ.get(MULTIPROCESS)
    folder = Path(tempfile.mkdtemp(prefix="embedsearch-metrics-", dir=_memory()))
    os.environ[MULTIPROCESS] = str(folder)
    try:
        yield folder
    finally:
        if before is None:
            del os.environ[MULTIPROCESS]
        else:
            os.environ[MULTIPROCESS] = before
        shutil.rmtree(folder, ignore_errors=True)


def worker_died(pid: int) -> None:
    """Forget what a worker that ended said of itself (waiting, generation); its counts stay."""
    mark_process_dead(pid)  # type: ignore[no-untyped-call]
