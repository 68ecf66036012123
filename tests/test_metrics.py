"""What is measured, in one process and in several."""

from __future__ import annotations

import os
import subprocess
import sys

from prometheus_client.parser import text_string_to_metric_families

from embedsearch.server import metrics

NAMES = {
    "embedsearch_requests", "embedsearch_request_seconds", "embedsearch_stage_seconds", "embedsearch_batch_texts",
    "embedsearch_generation", "embedsearch_waiting", "embedsearch_swaps", "embedsearch_query_cache",
}  # fmt: skip


def value(text: str, name: str, **labels: str) -> float | None:
    """That of the one sample with these labels."""
    found = [
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    assert len(found) <= 1
    return found[0] if found else None


def now() -> str:
    body, content_type = metrics.exposition()
    assert content_type.startswith("text/plain")
    return body.decode()


def test_all_metrics_are_told_under_their_names():
    assert {family.name for family in text_string_to_metric_families(now())} == NAMES


def test_a_request_is_counted_by_route_method_and_status():
    labels = {"route": "/v1/counted/{id}", "method": "GET", "status": "404"}
    for seconds in (0.002, 0.2):
        metrics.request_done("/v1/counted/{id}", "GET", 404, seconds)
    text = now()
    assert value(text, "embedsearch_requests_total", **labels) == 2
    assert value(text, "embedsearch_request_seconds_sum", route=labels["route"]) == 0.202
    assert value(text, "embedsearch_request_seconds_bucket", route=labels["route"], le="0.0025") == 1


def test_a_method_that_a_client_makes_up_is_no_label_of_its_own():
    for method in ("BREW", "X" * 100):
        metrics.request_done("/made-up", method, 405, 0.1)
    assert value(now(), "embedsearch_requests_total", route="/made-up", method="OTHER") == 2
    assert "BREW" not in now()


def test_stages_and_results_are_there_before_anything_happened():
    text = now()
    for stage in ("queue", "encode", "search", "catalogue"):
        assert value(text, "embedsearch_stage_seconds_count", stage=stage) is not None
    assert value(text, "embedsearch_swaps_total", result="failed") is not None
    assert value(text, "embedsearch_query_cache_total", result="hit") is not None


WORKER = """
import sys
from embedsearch.server import metrics
metrics.request_done("/v1/search", "GET", 200, 0.5)
metrics.stage("encode", 0.25)
metrics.pass_done(8)
metrics.serving(int(sys.argv[1]))
metrics.waiting(2)
print("ready", flush=True)
sys.stdin.readline()
print(metrics.exposition()[0].decode())
"""


def worker(generation: int) -> subprocess.Popen[str]:
    started = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(generation)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert started.stdout is not None
    assert started.stdout.readline() == "ready\n"
    return started


def test_any_worker_tells_what_all_of_them_did():
    with metrics.prepare_multiprocess() as folder:
        first, second = worker(3), worker(4)
        text, _ = first.communicate("\n")
        assert value(text, "embedsearch_requests_total", route="/v1/search", method="GET", status="200") == 2
        assert value(text, "embedsearch_stage_seconds_sum", stage="encode") == 0.5
        assert value(text, "embedsearch_batch_texts_sum") == 16
        assert value(text, "embedsearch_generation") == 3  # that of the one which is behind
        assert value(text, "embedsearch_waiting") == 4
        metrics.worker_died(first.pid)
        text, _ = second.communicate("\n")
        assert value(text, "embedsearch_generation") == 4
        assert value(text, "embedsearch_waiting") == 2
        assert value(text, "embedsearch_requests_total", route="/v1/search") == 2  # what was done stays done
        assert os.environ[metrics.MULTIPROCESS] == str(folder)
    assert metrics.MULTIPROCESS not in os.environ
    assert not folder.exists()
