"""nginx with the shipped configuration in front of a server."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from fronting import NGINX, in_front
from serving import free_port, in_process, make_store

from embedsearch.server.options import Limits

NAME = "search.example.org"

needs_nginx = pytest.mark.skipif(NGINX is None, reason="needs nginx")


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("deploy"))


@pytest.fixture(scope="module")
def front(index: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of nginx under the name of the site, with shorter deadlines and no limit of the rate."""
    if NGINX is None:
        pytest.skip("needs nginx")
    changed = {
        "client_header_timeout 15s": "client_header_timeout 1s",
        "client_body_timeout 15s": "client_body_timeout 1s",
        "rate=20r/s": "rate=10000r/s",
    }
    with (
        in_process(index, allowed_hosts=(NAME,)) as server,
        in_front(server, tmp_path_factory.mktemp("front"), changed=changed) as url,
        httpx.Client(base_url=url, headers={"Host": NAME}, trust_env=False) as client,
    ):
        yield client


def test_a_search_goes_through(front: httpx.Client) -> None:
    answer = front.get("/v1/search", params={"q": "star", "k": 20})
    assert answer.status_code == 200
    assert len(answer.json()["hits"]) == 20
    assert answer.headers["X-Index-Generation"] == "1"
    assert answer.headers["Content-Encoding"] == "gzip"


def test_the_page_and_what_it_loads_go_through(front: httpx.Client) -> None:
    page = front.get("/", params={"q": "star"})
    assert page.status_code == 200
    assert page.headers["Content-Type"].startswith("text/html")
    files = re.findall(r'(?:href|src)="(/static/[^"]+)"', page.text)
    assert files
    for file in files:
        assert front.get(file).status_code == 200, file


@pytest.mark.parametrize("given", ["seen-1", "a.b_c-D9", "x" * 128])
def test_a_harmless_request_id_is_passed_on(front: httpx.Client, given: str) -> None:
    assert front.get("/healthz", headers={"X-Request-ID": given}).headers["X-Request-ID"] == given


@pytest.mark.parametrize("given", ["a b", "x" * 129, "<script>", ""])
def test_another_request_id_is_replaced(front: httpx.Client, given: str) -> None:
    assert re.fullmatch("[0-9a-f]{32}", front.get("/healthz", headers={"X-Request-ID": given}).headers["X-Request-ID"])


def test_errors_of_the_server_go_through(front: httpx.Client) -> None:
    answer = front.get("/v1/papers/none")
    assert (answer.status_code, answer.json()["code"]) == (404, "PaperNotFound")


def test_a_body_over_the_limit_is_refused_by_nginx_in_the_servers_words(front: httpx.Client) -> None:
    answer = front.post("/v1/search", content=b" " * (Limits().body + 1))
    assert (answer.status_code, answer.headers["Content-Type"]) == (413, "application/problem+json")
    assert answer.json()["code"] == "OverLimit"
    assert answer.json()["status"] == 413


def test_a_body_at_the_limit_goes_through(front: httpx.Client) -> None:
    body = b'{"query": "star"}'.ljust(Limits().body)
    assert front.post("/v1/search", content=body, headers={"Content-Type": "application/json"}).status_code == 200


def test_the_longest_text_is_for_post(front: httpx.Client) -> None:
    text = "a" * Limits().text
    assert front.post("/v1/search", json={"query": text}).status_code == 200
    answer = front.get("/v1/search", params={"q": "\u03bb" * Limits().text})
    assert (answer.status_code, answer.json()["code"]) == (414, "OverLimit")


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /v1/search?q=star HTTP/1.1\r\nHost: search",
        b"POST /v1/search HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{",
    ],
    ids=["head", "body"],
)
def test_a_client_that_sends_no_more_is_cut_off_by_nginx(front: httpx.Client, sent: bytes) -> None:
    with socket.create_connection((front.base_url.host, front.base_url.port or 0), timeout=10) as slow:
        slow.sendall(sent)
        assert front.get("/v1/search", params={"q": "star"}).status_code == 200
        assert slow.recv(1000) == b""


def test_another_name_is_refused(front: httpx.Client) -> None:
    answer = front.get("/v1/search", params={"q": "star"}, headers={"Host": "elsewhere.example"})
    assert 400 <= answer.status_code < 500


def test_nginx_keeps_no_queries(front: httpx.Client, tmp_path_factory: pytest.TempPathFactory) -> None:
    front.get("/v1/search", params={"q": "unutterable"}, headers={"X-Request-ID": "look-for-me"})
    logs = [path.read_text() for path in tmp_path_factory.getbasetemp().glob("front*/nginx/access.log")]
    assert any("look-for-me" in text for text in logs)
    assert not any("unutterable" in text for text in logs)


@needs_nginx
def test_too_many_requests_from_one_address_are_told_to_wait(index: Path, tmp_path: Path) -> None:
    with (
        in_process(index) as server,
        in_front(server, tmp_path, changed={"rate=20r/s": "rate=1r/m", "burst=60": "burst=2"}) as url,
        httpx.Client(base_url=url, trust_env=False) as client,
    ):
        answers = [client.get("/healthz") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[-1].headers["Retry-After"] == "1"
    assert answers[-1].json()["code"] == "Overloaded"


@needs_nginx
def test_a_server_that_is_down_is_a_problem_document(tmp_path: Path) -> None:
    with in_front(f"http://127.0.0.1:{free_port()}", tmp_path) as url:
        answer = httpx.get(f"{url}/v1/search?q=star", trust_env=False)
    assert (answer.status_code, answer.json()["code"]) == (502, "Overloaded")
    assert answer.headers["Retry-After"]


@contextmanager
def dying() -> Iterator[tuple[str, list[bytes]]]:
    """A server that takes the first request and dies with it; the next ones are answered. What it was sent."""
    taken: list[bytes] = []

    def answer(listening: socket.socket) -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                taken.append(connection.recv(65536))
                if len(taken) > 1:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=answer, args=(listening,))
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", taken
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(10)


@needs_nginx
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_a_worker_leaves_unanswered_is_asked_again(tmp_path: Path, method: str) -> None:
    with dying() as (url, taken), in_front(url, tmp_path) as front:
        answer = httpx.request(method, f"{front}/v1/search", content=b"{}", trust_env=False)
    assert (answer.status_code, answer.text) == (200, "ok")
    assert len(taken) == 2
