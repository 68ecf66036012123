"""What the client makes of answers, good and bad, and when it asks again."""

from __future__ import annotations

import pickle
import socket
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from serving import free_port

from embedsearch import AsyncClient, Client, errors


def answering(*given: httpx.Response | Exception, seen: list[httpx.Request] | None = None) -> httpx.MockTransport:
    """A server that gives these answers one after the other, the last of them for ever."""
    left = list(given)

    def handle(request: httpx.Request) -> httpx.Response:
        if seen is not None:
            seen.append(request)
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    return httpx.MockTransport(handle)


def problem(code: str, status: int, **headers: str) -> httpx.Response:
    content = {"detail": "expected this, found that", "code": code, "status": status, "request_id": "r1"}
    return httpx.Response(status, json=content, headers={"content-type": "application/problem+json", **headers})


NOTHING = httpx.Response(200, json={"query": "x", "mode": "hybrid", "hits": []})
BUSY = problem("Overloaded", 503, **{"retry-after": "0"})


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waited: list[float] = []

    async def wait(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr("embedsearch.client.sync.time", SimpleNamespace(sleep=waited.append))
    monkeypatch.setattr("embedsearch.client.aio.asyncio", SimpleNamespace(sleep=wait))
    return waited


@pytest.mark.parametrize("name", [name for name in dir(errors) if isinstance(getattr(errors, name), type)])
def test_an_error_comes_back_as_its_class(name: str) -> None:
    client = Client("http://x", transport=answering(problem(name, 422)))
    with pytest.raises(getattr(errors, name)) as caught:
        client.search("x")
    assert caught.type is getattr(errors, name)
    assert str(caught.value) == "expected this, found that"
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize("code", ["InternalError", "annotations", "Exception", "__doc__", "exit"])
def test_a_code_that_is_no_error_of_ours(code: str) -> None:
    with pytest.raises(errors.ServerError, match=r"HTTP 500 of http://x.*request r1") as caught:
        Client("http://x", transport=answering(problem(code, 500))).search("x")
    assert caught.type is errors.ServerError


@pytest.mark.parametrize("status", [401, 403])
def test_says_whether_a_key_is_missing_or_may_not(status: int) -> None:
    with pytest.raises(errors.NotAllowed) as caught:
        Client("http://x", transport=answering(problem("NotAllowed", status))).search("x")
    assert caught.value.status == status


def test_says_when_to_come_back() -> None:
    transport = answering(problem("Overloaded", 503, **{"retry-after": "60"}))
    with pytest.raises(errors.Overloaded) as caught:
        Client("http://x", transport=transport).search("x")
    assert caught.value.retry_after == 60


@pytest.mark.parametrize(
    ("first", "n_sent"),
    [
        ([BUSY, BUSY], 3),
        ([httpx.ConnectError("refused"), BUSY], 3),
        ([httpx.ConnectError("refused")], 2),
        ([httpx.RemoteProtocolError("Server disconnected without sending a response.")], 2),
        ([httpx.ReadError("reset")], 2),
        ([], 1),
    ],
)
def test_asks_again(no_waiting: list[float], first: list[httpx.Response | Exception], n_sent: int) -> None:
    seen: list[httpx.Request] = []
    transport = answering(*first, NOTHING, seen=seen)
    assert Client("http://x", transport=transport).search("x").hits == ()
    assert len(seen) == n_sent == len(no_waiting) + 1


async def test_the_other_client_asks_again(no_waiting: list[float]) -> None:
    async with AsyncClient("http://x", transport=answering(BUSY, NOTHING)) as client:
        assert (await client.search("x")).hits == ()
    assert no_waiting == [0.0]


@pytest.mark.parametrize(
    ("answer", "n_sent"),
    [
        (BUSY, 3),
        (httpx.ConnectError("refused"), 3),
        (problem("Overloaded", 503), 1),
        (problem("Overloaded", 503, **{"retry-after": "6"}), 1),
        (problem("Overloaded", 503, **{"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}), 1),
        (problem("TookTooLong", 504, **{"retry-after": "0"}), 1),
        (httpx.ReadError("reset"), 3),
        (httpx.ReadTimeout("slow"), 1),
    ],
)
def test_gives_up(no_waiting: list[float], answer: httpx.Response | Exception, n_sent: int) -> None:
    seen: list[httpx.Request] = []
    with pytest.raises(errors.ServerError, match="expected"):
        Client("http://x", transport=answering(answer, seen=seen)).search("x")
    assert len(seen) == n_sent


HIT = {"rank": 1, "id": "a", "score": 0.5, "cosine": None, "title": "", "abstract": "", "authors": []}


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, html="<h1>hello</h1>"),
        httpx.Response(404, html="<h1>no</h1>"),
        httpx.Response(200, content=b'{"query": "x", "mode"'),
        httpx.Response(200, content=b"\xff"),
        httpx.Response(200, content=b""),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"query": "x", "mode": "hybrid"}),
        httpx.Response(200, json={"query": "x", "mode": "hybrid", "hits": [HIT]}),
        httpx.Response(200, json={"query": "x", "mode": "hybrid", "hits": [HIT | {"score": "high"}]}),
        httpx.Response(302, headers={"location": "https://elsewhere"}),
        httpx.Response(502, json={"error": "bad gateway"}),
        httpx.Response(422, content=b"[" * 100_000),
    ],
)
def test_what_is_no_answer_of_ours(answer: httpx.Response) -> None:
    with pytest.raises(errors.ServerError, match=r"`embedsearch serve`.*from http://x.*found HTTP.*check") as caught:
        Client("http://x", transport=answering(answer)).search("x")
    assert caught.type is errors.ServerError


@pytest.mark.parametrize(
    "data",
    [
        [],
        [{"index": 1, "embedding": "AACAPw=="}],
        [{"index": 0, "embedding": "AACAPw"}],
        [{"index": 0, "embedding": "AACA"}],
        [{"index": 0, "embedding": [1.0]}],
    ],
)
def test_vectors_that_are_none(data: list[Any]) -> None:
    transport = answering(httpx.Response(200, json={"data": data, "usage": {"total_tokens": 1}}))
    with pytest.raises(errors.ServerError, match="expected an answer of"):
        Client("http://x", transport=transport).embed(["gas"])


def test_fewer_results_than_queries() -> None:
    transport = answering(httpx.Response(200, json=[NOTHING.json()]))
    with pytest.raises(errors.ServerError, match="1 results for 2 queries"):
        Client("http://x", transport=transport).search(["a", "b"])


def test_unknown_fields_of_a_later_server_are_ignored() -> None:
    answer = httpx.Response(200, json={**NOTHING.json(), "took": 3}, headers={"x-index-generation": "seven"})
    client = Client("http://x", transport=answering(answer))
    assert client.search("x").hits == ()
    assert client.generation is None


def test_no_server(no_waiting: list[float]) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(errors.ServerError, match=f"expected a server at {url}, found .*refused.*`embedsearch serve`"):
        Client(url).search("x")


def test_a_server_that_is_slow() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = Client(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.05)
        with pytest.raises(errors.TookTooLong, match=r"expected an answer from .* in time.*longer timeout"):
            client.search("x")


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x", "http://", "http://x?y=1", "http://x\n", "http://x:y"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(errors.OptionError, match="expected an address like http"):
        Client(url)


def test_an_address_below_another() -> None:
    seen: list[httpx.Request] = []
    Client("http://x/search/", transport=answering(NOTHING, seen=seen)).search("x")
    assert str(seen[0].url) == "http://x/search/v1/search"


def test_a_password_in_the_address_is_not_shown() -> None:
    transport = answering(httpx.Response(200, html=""))
    client = Client("http://me:secret@x", transport=transport)
    with pytest.raises(errors.ServerError) as caught:
        client.search("x")
    assert "secret" not in str(caught.value) + repr(client)


@pytest.mark.parametrize(("given", "sent"), [("k1", "k1"), (None, "k2"), ("", None)])
def test_the_key(monkeypatch: pytest.MonkeyPatch, given: str | None, sent: str | None) -> None:
    monkeypatch.setenv("EMBEDSEARCH_API_KEY", "k2")
    seen: list[httpx.Request] = []
    client = Client("http://x", key=given, transport=answering(NOTHING, seen=seen))
    client.search("x")
    assert seen[0].headers.get("Authorization") == (sent and f"Bearer {sent}")
    assert "k" not in repr(client)


@pytest.mark.parametrize("key", ["a b", "a\nX: y", "schlüssel"])
def test_a_key_that_is_none_is_not_repeated(key: str) -> None:
    with pytest.raises(errors.OptionError, match="expected a key of printable ASCII") as caught:
        Client("http://x", key=key)
    assert key not in str(caught.value)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf")])
def test_a_timeout_that_is_none(timeout: float) -> None:
    with pytest.raises(errors.OptionError, match="expected a timeout"):
        Client("http://x", timeout=timeout)
