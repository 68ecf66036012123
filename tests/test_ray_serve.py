"""The server on a Ray cluster of several nodes: the answers of one machine, and a part that is killed under queries."""

from __future__ import annotations

import logging.config
import os
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import httpx
import pytest
from corpora import records, write
from fake_encoder import FakeEncoder
from raw_http import ask, get
from running import run
from serving import free_port, in_process

from embedsearch.build import BuildOptions, build_index
from embedsearch.errors import EmbedsearchError, OptionError, ServerError
from embedsearch.server.options import Limits, RayOptions, ServeOptions

pytestmark = [pytest.mark.filterwarnings("ignore")]  # Ray's own: open files, deprecations

N, PARTS = 250, 2
REQUESTS: list[tuple[str, str, Any]] = [
    ("POST", "/v1/search", {"query": "star gas", "k": 20, "mode": "dense"}),
    ("POST", "/v1/search", {"query": "star", "k": 3}),
    ("POST", "/v1/search", {"query": "galaxy wave plasma", "mode": "keyword"}),
    ("POST", "/v1/search", {"query": "dust star", "category": ["gr-qc"], "author": ["Author3"]}),
    ("POST", "/v1/search", {"query": "dust", "mode": "dense", "until": "2019"}),
    ("POST", "/v1/search", {"query": records(N)[7]["title"], "k": 200}),
    ("POST", "/v1/search", {"query": ["gas", "no such word", records(N)[100]["id"]]}),
    ("POST", "/v1/search", {"vector": [1, 2, 3, 4, 5, 6, 7, 8], "k": 15}),
    ("GET", f"/v1/papers/{records(N)[240]['id']}/similar?k=30", None),
    ("GET", f"/v1/papers/{records(N)[3]['id']}", None),
    ("GET", "/v1/papers/1234.56789/similar", None),
    ("POST", "/v1/search", {"query": "star", "k": 0}),
    ("POST", "/v1/search", {"query": ""}),
    ("POST", "/v1/embeddings", {"input": ["star gas", "dust"], "model": "default"}),
    ("GET", "/v1/info", None),
    ("GET", "/readyz", None),
    ("GET", "/nowhere", None),
    ("GET", "/?q=star+gas", None),
]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ray")
    papers = write(folder / "papers.jsonl", records(N))
    build_index(papers, folder / "index", encoder=FakeEncoder(), options=BuildOptions(shard_rows=16))
    return folder / "index"


@pytest.fixture(scope="module")
def url(index: Path) -> Iterator[str]:
    """A server in parts on a cluster of two nodes, neither of which has room for all."""
    patch = pytest.MonkeyPatch()
    patch.setenv("PYTHONPATH", str(Path(__file__).parent))
    patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ray
        from ray.cluster_utils import Cluster

        from embedsearch.server import ray_serve

        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
        port = free_port()
        options = ServeOptions(index=index, port=port, limits=Limits(receive_seconds=1.0))
        with ray_serve.deployed(options, RayOptions(parts=PARTS, cpus_per_replica=0.5), encoder=FakeEncoder()):
            yield f"http://127.0.0.1:{port}"
        ray.shutdown()
        cluster.shutdown()
    patch.undo()


def answer(client: httpx.Client, method: str, path: str, body: Any) -> tuple[int, str | None, bytes]:
    got = client.request(method, path, json=body)
    content = got.content
    if got.status_code >= 400 and got.headers["content-type"].endswith("json"):
        content = content.replace(got.headers["x-request-id"].encode(), b"ID")
    return got.status_code, got.headers.get("x-index-generation"), content


def test_it_answers_as_one_machine_does(index: Path, url: str) -> None:
    with in_process(index) as alone, httpx.Client(base_url=alone) as one, httpx.Client(base_url=url) as many:
        for request in REQUESTS:
            assert answer(many, *request) == answer(one, *request), request


def test_bounds_and_ids_of_requests_hold(url: str) -> None:
    with httpx.Client(base_url=url) as client:
        large = client.post("/v1/search", content=b"x" * 2_000_000, headers={"content-type": "application/json"})
        assert (large.status_code, large.json()["code"]) == (413, "OverLimit")
        named = client.get("/v1/info", headers={"x-request-id": "mine"})
        assert named.headers["x-request-id"] == "mine"
        assert client.get("/v1/info", headers={"host": "elsewhere.example"}).status_code == 421
    begun = get("/v1/search", "Content-Type: application/json", "Content-Length: 99", method="POST") + b"{"
    assert ask(url, begun)[0] == 408


def replicas(part: str) -> set[str]:
    """The names of the actors of a part."""
    import ray.util

    return {actor["name"] for actor in ray.util.list_named_actors(all_namespaces=True) if f"#{part}#" in actor["name"]}


def test_a_part_that_is_killed_is_waited_for_and_never_left_out(url: str) -> None:
    import ray

    body = {"query": "star gas", "k": 40, "mode": "dense"}
    answers: list[httpx.Response] = []
    is_over = threading.Event()

    def go_on() -> None:
        with httpx.Client(base_url=url, timeout=60) as client:
            while not is_over.is_set():
                answers.append(client.post("/v1/search", json=body))

    right = httpx.post(f"{url}/v1/search", json=body)
    assert right.status_code == 200
    before = replicas("part-2")
    threads = [threading.Thread(target=go_on) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    for name in before:
        ray.kill(ray.get_actor(name, namespace="serve"))
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not replicas("part-2") - before:
        time.sleep(0.2)
    n_before = len(answers)
    while time.monotonic() < deadline and len(answers) < n_before + 10:
        time.sleep(0.1)
    is_over.set()
    for thread in threads:
        thread.join()
    assert before
    assert replicas("part-2") - before
    assert len(answers) >= n_before + 10
    for got in answers:
        if got.status_code == 200:
            assert got.json() == right.json()
        else:
            assert (got.status_code, got.json()["code"]) == (503, "Overloaded")
            assert int(got.headers["retry-after"]) > 0
    assert answers[-1].status_code == 200


def test_a_newer_index_takes_over_in_all_parts_at_once(index: Path, url: str) -> None:
    body = {"query": "star gas", "k": 40, "mode": "dense"}
    papers = write(index.parent / "more.jsonl", records(2 * N, seed=1))
    build_index(papers, index, encoder=FakeEncoder(), options=BuildOptions(shard_rows=16, overwrite=True))
    deadline = time.monotonic() + 30
    with in_process(index) as alone, httpx.Client(base_url=alone) as one, httpx.Client(base_url=url) as many:
        while many.get("/v1/info").json()["generation"] < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert answer(many, "POST", "/v1/search", body) == answer(one, "POST", "/v1/search", body)
        assert many.get("/v1/info").json()["n_papers"] == 2 * N


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--engine ray --workers 2", "Expected no --workers beside --engine ray"),
        ("--engine ray --max-connections 9", "Expected no --max-connections beside --engine ray"),
        ("--engine ray --replicas 3-4", "Expected --replicas as N or MIN:MAX, found '3-4'"),
        ("--parts 3", "Expected --engine ray beside --parts"),
        ("--address 127.0.0.1:6379", "Expected --engine ray beside --address"),
        ("--drain nan", "nan is not a number of seconds"),
        ("--drain inf", "inf is not a number of seconds"),
    ],
)
def test_options_that_do_not_go_together(tmp_path: Path, words: str, message: str) -> None:
    done = run("serve", *words.split(), cwd=tmp_path)
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr


@pytest.fixture
def logs_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests of this process read its log, which the command would send elsewhere."""
    monkeypatch.setattr(logging.config, "dictConfig", lambda config: None)


@pytest.mark.usefixtures("logs_stay")
@pytest.mark.parametrize(
    ("given", "more", "message"),
    [
        ({"parts": 9999}, {}, "as many parts as there are papers .*, found 9999"),
        ({}, {"host": "0.0.0.0"}, "expected a key where others than this machine can ask"),
        ({"address": "127.0.0.1:1"}, {"port": 0}, "expected a --port on a cluster, found 0"),
    ],
)
def test_what_is_refused_before_a_cluster_is_asked(
    index: Path, given: dict[str, Any], more: dict[str, Any], message: str
) -> None:
    from embedsearch.server.ray_serve import serve_on_ray

    with pytest.raises(EmbedsearchError, match=message):
        serve_on_ray(ServeOptions(index=index, **more), RayOptions(**given))


def test_replicas_are_a_range() -> None:
    with pytest.raises(OptionError, match="expected replicas as MIN:MAX, 1 or more, found 3:2"):
        RayOptions(replicas=(3, 2))
    with pytest.raises(OptionError, match="found 1 with nan cores each"):
        RayOptions(cpus_per_replica=float("nan"))
    assert RayOptions(replicas=(1, 4), parts=3, cpus_per_replica=0.5).cpus == 8


@pytest.fixture
def serve_library(monkeypatch: pytest.MonkeyPatch) -> mock.Mock:
    """Ray Serve of a cluster on which nothing runs."""
    from embedsearch.server import ray_serve

    library = mock.Mock()
    library.exceptions.RayServeException = KeyError
    library.status.return_value = SimpleNamespace(proxies={}, applications={})
    ray = mock.Mock(**{"cluster_resources.return_value": {"CPU": 0}})
    monkeypatch.setattr(ray_serve, "_ray_serve", lambda: (library, mock.Mock(), "name"))
    monkeypatch.setattr(ray_serve, "ray_library", lambda: ray)
    return library


def test_a_port_that_is_taken_is_no_traceback_and_nothing_stays(index: Path, serve_library: mock.Mock) -> None:
    from embedsearch.server.ray_serve import deployed

    serve_library.start.side_effect = RuntimeError("Traceback\n  File x\nRuntimeError: Failed to bind")
    with (
        pytest.raises(ServerError, match="to start on the cluster, found: RuntimeError: Failed to bind"),
        deployed(ServeOptions(index=index), RayOptions(), goes_on=True),
    ):
        pass
    serve_library.shutdown.assert_called_once()


@pytest.mark.usefixtures("logs_stay")
def test_a_signal_ends_the_wait_for_room(index: Path, serve_library: mock.Mock) -> None:
    from embedsearch.server.ray_serve import serve_on_ray

    def wait(*_: Any, **__: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
        raise AssertionError("it waits still")

    serve_library.run.side_effect = wait
    with pytest.raises(KeyboardInterrupt):
        serve_on_ray(ServeOptions(index=index, port=0), RayOptions())
    serve_library.delete.assert_called_once_with("name")
    serve_library.shutdown.assert_called_once()  # the cluster is the caller's, and goes on


def test_a_cluster_of_its_own_is_a_new_one() -> None:
    from embedsearch.stages.ray_engine import connect

    ray = mock.Mock()
    connect(ray, None, num_cpus=2)
    assert ray.init.call_args.kwargs["address"] == "local"  # not that of RAY_ADDRESS


def test_every_option_arrives(tmp_path: Path) -> None:
    words = "--engine ray --address a:1 --parts 3 --replicas 2:4 --cpus-per-replica 0.5 --port 9"
    with mock.patch("embedsearch.server.ray_serve.serve_on_ray") as serve:
        assert run("serve", *words.split(), cwd=tmp_path).returncode == 0
    assert serve.call_args.args[0].port == 9
    expected = RayOptions(address="a:1", parts=3, replicas=(2, 4), cpus_per_replica=0.5)
    assert serve.call_args.kwargs["ray_options"] == expected
