"""What every request must keep to, and what every answer has: around applications of a few lines, and the real one."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving import in_process, make_store
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from embedsearch.errors import QueryError
from embedsearch.server import logs, metrics
from embedsearch.server.edge import Edge
from embedsearch.server.hosts import is_loopback, is_ours
from embedsearch.server.keys import Keys
from embedsearch.server.logs import Answered
from embedsearch.server.options import Limits, ServeOptions


def client(app: ASGIApp, *, keys: Keys | None = None, **options: Any) -> httpx.AsyncClient:
    told = ServeOptions(index=Path("index"), **options)
    edge = Edge(app, options=told, keys=keys or Keys(None, None))
    return httpx.AsyncClient(transport=httpx.ASGITransport(edge), base_url="http://localhost")


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    body = await Request(scope, receive).body()
    await PlainTextResponse(f"{scope['method']} {len(body)}")(scope, receive, send)


async def broken(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError("secret /etc/shadow")


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[Answered]:
    written: list[Answered] = []
    monkeypatch.setattr(logs, "write_access", written.append)
    return written


async def test_every_answer_has_the_headers_and_its_own_id() -> None:
    async with client(echo) as http:
        answers = [await http.get("/"), await http.get("/v1/x"), await http.post("/", content=b"x" * (2 << 20))]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
    assert answers[1].headers["cache-control"] == "no-store"
    assert "cache-control" not in answers[0].headers
    assert len({answer.headers["x-request-id"] for answer in answers}) == 3


async def test_what_the_application_set_stays() -> None:
    async with client(
        PlainTextResponse("x", headers={"Referrer-Policy": "origin", "Cache-Control": "max-age=9"})
    ) as http:
        answer = await http.get("/v1/x")
    assert answer.headers.get_list("referrer-policy") == ["origin"]
    assert answer.headers.get_list("cache-control") == ["max-age=9"]


@pytest.mark.parametrize("given", ["a", "A.b_c-9", "x" * 128])
async def test_a_harmless_id_is_taken(given: str, lines: list[Answered]) -> None:
    async with client(echo) as http:
        assert (await http.get("/", headers={"X-Request-ID": given})).headers["x-request-id"] == given
    assert lines[0].request_id == given


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "a\x1b[31m", "a;b", "é"])
async def test_another_id_is_not(given: str) -> None:
    async with client(echo) as http:
        made = (await http.get("/", headers={"X-Request-ID": given.encode()})).headers["x-request-id"]
    assert made != given
    assert len(made) == 32


async def parts(n: int) -> AsyncIterator[bytes]:
    for _ in range(n):
        yield b"x" * 10


@pytest.mark.parametrize(("n", "status"), [(9, 200), (10, 200), (11, 413), (1000, 413)])
@pytest.mark.parametrize("chunked", [False, True])
async def test_the_body_is_bounded(n: int, status: int, chunked: bool, lines: list[Answered]) -> None:
    async with client(echo, limits=Limits(body=100)) as http:
        answer = await http.post("/", content=parts(n) if chunked else b"x" * 10 * n)
    assert answer.status_code == status == lines[0].status
    if status == 413:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == "OverLimit"
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
        assert answer.json()["detail"].startswith("expected a body of at most 100 bytes, found ")
    else:
        assert answer.text == f"POST {10 * n}"


async def test_a_body_that_was_never_asked_for_is_told_to_stay_away() -> None:
    async with client(echo, limits=Limits(body=100)) as http:
        answer = await http.post("/", content=b"x" * 101, headers={"Expect": "100-continue"})
    assert answer.headers["connection"] == "close"


async def call(app: ASGIApp, *, receive: Receive, **options: Any) -> list[Any]:
    """What an application sends for POST / on a connection as `receive` has it."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"host", b"localhost")], "http_version": "1.1"}
    edge = Edge(app, options=ServeOptions(index=Path("index"), **options), keys=Keys(None, None))
    await edge(scope | {"query_string": b""}, receive, send)
    return sent


async def test_a_body_that_does_not_come(lines: list[Answered]) -> None:
    async def never() -> Any:
        await asyncio.Event().wait()

    sent = await call(echo, receive=never, limits=Limits(receive_seconds=0.05))
    assert sent[0]["status"] == 408 == lines[0].status
    assert (b"connection", b"close") in sent[0]["headers"]
    assert json.loads(sent[1]["body"])["code"] == "TookTooLong"


async def test_the_time_for_a_body_is_not_the_time_for_an_answer() -> None:
    async def whole() -> Any:
        return {"type": "http.request", "body": b"x", "more_body": False}

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await asyncio.sleep(0.1)
        await PlainTextResponse("done")(scope, receive, send)

    sent = await call(slow, receive=whole, limits=Limits(receive_seconds=0.02))
    assert sent[0]["status"] == 200


async def test_a_client_that_left_gets_no_answer_and_a_line(
    lines: list[Answered], caplog: pytest.LogCaptureFixture
) -> None:
    async def gone() -> Any:
        return {"type": "http.disconnect"}

    assert await call(echo, receive=gone) == []
    assert lines[0].status == 499
    assert not caplog.records


async def test_head_is_get_without_its_body(lines: list[Answered]) -> None:
    async def streamed(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["method"] == "GET"
        await StreamingResponse(parts(3), headers={"Content-Length": "30"})(scope, receive, send)

    async with client(streamed) as http:
        got, asked = await http.get("/"), await http.head("/")
    assert (len(got.content), asked.content) == (30, b"")
    assert asked.headers["content-length"] == "30"
    assert [(line.method, line.bytes) for line in lines] == [("GET", 30), ("HEAD", 0)]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8000", 200),
        ("a.localhost.", 200),
        ("127.0.0.1:8000", 200),
        ("[::1]:80", 200),
        ("192.168.1.5", 200),
        ("search.example", 200),
        ("search.example:8000", 200),
        ("evil.example", 421),
        ("evil.example:8000", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("evillocalhost", 421),
        ("", 421),
        ("[::1].evil", 421),
        ("a\x1b[0m", 421),
    ],
)
async def test_a_foreign_name_is_not_answered(host: str, status: int) -> None:
    async with client(echo, allowed_hosts=("search.example",)) as http:
        answer = await http.get("/", headers={"Host": host})
    assert answer.status_code == status
    if status == 421:
        assert answer.json()["detail"].startswith("expected a name of this server in Host")
        assert "\\u001b" not in answer.text


async def test_with_keys_any_name_is_answered_unless_names_were_given() -> None:
    keys = Keys(None, "abc")
    async with client(echo, keys=keys) as http:
        assert (await http.get("/", headers={"Host": "any.example"})).status_code == 200
    async with client(echo, keys=keys, allowed_hosts=("search.example",)) as http:
        assert (await http.get("/", headers={"Host": "any.example"})).status_code == 421


async def test_two_hosts_are_none() -> None:
    async with client(echo) as http:
        answer = await http.get("/", headers=[("Host", "localhost"), ("Host", "evil.example")])
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        *((host, True) for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost")),
        *((host, False) for host in ("0.0.0.0", "::", "192.168.1.5", "example.org")),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
    assert is_ours(f"[{host}]" if ":" in host else host, ()) is (host != "example.org")


async def test_a_bug_is_an_answer_that_says_nothing_and_a_traceback_in_the_log(
    caplog: pytest.LogCaptureFixture, lines: list[Answered]
) -> None:
    async with client(broken) as http:
        answer = await http.get("/v1/x?q=private", headers={"X-Request-ID": "abc"})
    assert (answer.status_code, answer.json()["code"]) == (500, "InternalError")
    assert "secret" not in answer.text
    assert answer.json()["request_id"] == "abc" == lines[0].request_id
    assert "request abc, GET /v1/x: a bug" in caplog.text
    assert "secret /etc/shadow" in caplog.text
    assert "private" not in caplog.text


async def test_an_error_of_ours_is_no_bug(caplog: pytest.LogCaptureFixture) -> None:
    async def wrong(scope: Scope, receive: Receive, send: Send) -> None:
        raise QueryError("expected this, found that")

    async with client(wrong) as http:
        answer = await http.get("/")
    assert (answer.status_code, answer.json()["code"]) == (422, "QueryError")
    assert not caplog.records


async def test_what_breaks_within_an_answer_is_not_followed_by_another(caplog: pytest.LogCaptureFixture) -> None:
    async def half(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("half")

    async def whole() -> Any:
        return {"type": "http.request"}

    assert [message["type"] for message in await call(half, receive=whole)] == ["http.response.start"]
    assert "a bug" in caplog.text


async def test_a_request_that_is_cut_off_by_the_servers_end_is_told_so() -> None:
    started = asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        started.set()
        await asyncio.sleep(60)

    async with client(slow) as http:
        asked = asyncio.create_task(http.get("/"))
        await started.wait()
        asked.cancel()
        answer = await asked
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


async def test_a_line_has_no_query_and_no_control_character(lines: list[Answered]) -> None:
    async with client(PlainTextResponse("abc", headers={"X-Index-Generation": "7"})) as http:
        await http.get("/v1/%0a%1b[31m x?q=private")
    (line,) = lines
    assert (line.status, line.bytes, line.generation, line.method) == (200, 3, 7, "GET")
    assert line.path == "/v1/%0A%1B[31m%20x" or "%0a" in line.path.lower()
    assert "private" not in line.as_text()
    assert logs.clean("a\n\x1b\u202e b") == "a\\n\\x1b\\u202e\\x20b"
    assert logs.clean("x" * 300) == "x" * 200 + "..."


def formatted(formatter: logging.Formatter, message: str, *args: Any, error: Exception | None = None) -> str:
    exc_info = (type(error), error, None) if error else None
    return formatter.format(logging.LogRecord("embedsearch", logging.ERROR, "", 0, message, args, exc_info))


def test_text_lines_cannot_be_forged() -> None:
    text = formatted(logs.TextFormatter(), "found %s", "a\n2026-01-01 ERROR forged\x1b[31m\r\x85b")
    first, *rest = text.split("\n")
    assert first.endswith("Z ERROR found a")
    assert all(line.startswith("    ") for line in rest)
    assert "\x1b" not in text
    assert "\r" not in text


def test_json_lines_are_json(lines: list[Answered]) -> None:
    made = Answered(
        request_id="r", client="c", method="GET", path="/", status=200, bytes=3, ms=1.5, generation=None
    )  # fmt: skip
    assert json.loads(formatted(logs.JSONFormatter(), "%s", made))["generation"] is None
    entry = json.loads(formatted(logs.JSONFormatter(), "a\nb\ud800", error=ValueError("why")))
    assert entry["message"].startswith("a\nb")
    assert "ValueError: why" in entry["traceback"]
    assert entry["time"].endswith("Z")


def counted() -> str:
    return metrics.exposition()[0].decode()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with in_process(make_store(tmp_path_factory.mktemp("edge"))) as url:
        yield url


def test_requests_are_counted_by_the_template_of_their_path(url: str) -> None:
    for id in ("2001.10000", "2002.10001", "none"):
        httpx.get(f"{url}/v1/papers/{id}")
    httpx.get(f"{url}/none/such/path")
    text = counted()
    assert 'method="GET",route="/v1/papers/{' in text
    assert 'route="unmatched"' in text
    assert "2001.10000" not in text
    assert "/none/such" not in text


def test_the_real_application_stands_behind_it(url: str) -> None:
    answer = httpx.head(f"{url}/v1/search?q=star&k=1")
    assert (answer.status_code, answer.content) == (200, b"")
    assert int(answer.headers["content-length"]) > 100
    assert answer.headers["x-index-generation"] == "1"
    assert httpx.get(url, headers={"Host": "evil.example"}).status_code == 421
    assert httpx.post(f"{url}/v1/search", content=b"x" * (2 << 20)).status_code == 413


def test_a_page_in_a_browser_cannot_read_what_is_not_its_own(url: str) -> None:
    answer = httpx.get(f"{url}/v1/info", headers={"Origin": "http://evil.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
