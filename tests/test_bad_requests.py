"""Requests that are wrong, one a line: what is sent, the status of its answer, and the gist of it.

All but a few are bytes on a socket, so that no client can put them right. Every answer is a problem document.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from raw_http import ask, get, post
from serving import in_process, make_store

from embedsearch.server.keys import Role, add_key
from embedsearch.server.options import Limits

SLOW = 0.5
"""Seconds within which a request must have arrived."""


@dataclass(frozen=True)
class Servers:
    """Two of the same index: one open, one that wants keys; `token` is a key that may read."""

    open: str
    keyed: str
    token: str


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    folder = tmp_path_factory.mktemp("bad")
    index, file = make_store(folder), folder / "keys.json"
    token = add_key(file, "reader", role=Role.READ)
    limits = Limits(receive_seconds=SLOW)
    with in_process(index, limits=limits) as first, in_process(index, limits=limits, keys_file=file) as second:
        yield Servers(first, second, token)


def search(body: Any, *headers: str) -> bytes:
    return post("/v1/search", body, *headers)


def chunked(*chunks: bytes) -> bytes:
    """The head of a chunked request to search, and the first of its chunks."""
    head = get("/v1/search", "Content-Type: application/json", "Transfer-Encoding: chunked", method="POST")
    return head + b"".join(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n" for chunk in chunks)


V = "/v1/search"
DEEP = b'{"query": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"
MIB = 1 << 20
EMPTY = "expected words to search for, found an empty query"
MANY_FIELDS = b'{"query": "star", ' + b", ".join(b'"%05x": 0' % n for n in range(75_000)) + b', "12000": 0}'

TABLE: list[tuple[str, bytes, int, str]] = [
    # what                           request                                    status  gist of the answer
    # Parameters of a query
    ("no q", get(V), 422, "expected a value at query.q, found none"),
    ("empty q", get(f"{V}?q="), 422, EMPTY),
    ("q of blanks", get(f"{V}?q=%20%09"), 422, EMPTY),
    ("q of a NUL", get(f"{V}?q=%00"), 422, EMPTY),
    ("q of a mark that turns text", get(f"{V}?q=%E2%80%AE"), 422, EMPTY),
    ("q twice", get(f"{V}?q=star&q=gas"), 422, "expected q once, found it 2 times"),
    ("unknown parameter", get(f"{V}?q=star&kk=5"), 422, "expected query parameters among"),
    ("the name of another index", get(f"{V}?q=star&index=../../etc"), 422, "found 'index'"),
    ("parameter where there are none", get("/v1/info?verbose=1"), 422, "expected query parameters among none"),
    ("k of zero", get(f"{V}?q=star&k=0"), 422, "expected at least 1 at query.k, found 0"),
    ("negative k", get(f"{V}?q=star&k=-1"), 422, "expected a whole number at query.k, found '-1'"),
    ("k over the limit", get(f"{V}?q=star&k=1001"), 422, "expected k of at most 1,000, found 1,001"),
    ("absurd k", get(f"{V}?q=star&k={'9' * 400}"), 422, "expected a whole number at query.k"),
    ("k with a point", get(f"{V}?q=star&k=5.0"), 422, "expected a whole number at query.k, found '5.0'"),
    ("k in other digits", get(f"{V}?q=star&k=%D9%A5"), 422, "expected a whole number at query.k"),
    ("unknown mode", get(f"{V}?q=star&mode=fuzzy"), 422, "expected 'hybrid', 'dense' or 'keyword' at query.mode"),
    ("unknown order", get(f"{V}?q=star&sort=up"), 422, "expected 'score' or 'date' at query.sort"),
    ("no date", get(f"{V}?q=star&since=yesterday"), 422, "expected a date such as 2023, 2023-01 or 2023-01-15"),
    ("no such day", get(f"{V}?q=star&until=2023-02-30"), 422, "expected a date such as"),
    ("no bool", get(f"{V}?q=star&full=yes"), 422, "expected true or false at query.full, found 'yes'"),
    ("author without a letter", get(f"{V}?q=star&author=..."), 422, "expected words at query.author.0"),
    ("too many categories", get(f"{V}?q=star" + "&category=a" * 33), 422, "expected a list of at most 32"),
    ("facets over the limit", get(f"{V}?q=star&facets=1001"), 422, "expected facets of at most 1,000"),
    ("text over the limit", get(f"{V}?q={'a' * 10_001}"), 422, "expected a text of at most 10,000 characters"),
    ("invalid UTF-8 in a query", get(f"{V}?q=%FF%FE"), 400, "expected a query in UTF-8"),
    ("half a surrogate in a query", get(f"{V}?q=%ED%A0%80"), 400, "expected a query in UTF-8"),
    # Ids and paths
    ("unknown id", get("/v1/papers/2301.99999"), 404, "expected the id of one of the 60 papers in index"),
    ("no id", get("/v1/papers/"), 404, "expected the id of a paper behind /v1/papers/, found none"),
    ("path traversal", get("/v1/papers/../../../etc/passwd"), 404, "found '../../../etc/passwd'"),
    ("escaped path traversal", get("/v1/papers/..%2F..%2Fetc%2Fpasswd"), 404, "found '../../etc/passwd'"),
    ("traversal out of the page's files", get("/static/../../keys.json"), 404, ""),
    ("a NUL in an id", get("/v1/papers/a%00b"), 404, "found 'a\\x00b'"),
    ("id without end", get(f"/v1/papers/{'a' * 1001}"), 422, "expected an id of at most 1,000 characters"),
    ("invalid UTF-8 in a path", get("/v1/papers/%C3%28"), 400, "expected a path in UTF-8"),
    ("no such path", get("/v2/search"), 404, "expected a path that GET /openapi.json describes, found /v2/search"),
    ("a slash too many", get("/v1/search/?q=star"), 404, "found /v1/search/"),
    # Bodies
    ("no body", post(V, b""), 422, "expected a value at body, found none"),
    ("no JSON", search(b"query=star"), 400, "expected a body of JSON, found an error in it"),
    ("cut JSON", search(b'{"query": "star'), 400, "expected a body of JSON"),
    ("two values", search(b'{"query": "star"} {}'), 400, "expected a body of JSON"),
    ("a list", search([{"query": "star"}]), 422, "expected an object at body, found a list of 1"),
    ("another type of body", post(V, b"q=star", kind="text/plain"), 415, "expected Content-Type: application/json"),
    ("no type of body", post(V, {"query": "star"}, kind=""), 415, "found ''"),
    ("invalid UTF-8", search(b'{"query": "\xff"}'), 400, "expected a body in UTF-8"),
    ("half a surrogate", search(b'{"query": "\\ud800"}'), 400, "expected a body in UTF-8 without lone surrogates"),
    ("deep JSON", search(DEEP), 400, "expected JSON that a person could write, found it nested too deeply"),
    ("a field twice", search(b'{"query": "star", "query": "gas"}'), 400, "the field 'query' stands in it more"),
    ("a field twice among many", search(MANY_FIELDS), 400, "the field '12000' stands in it more than once"),
    ("no number, very often", search(b'{"vector": [' + b'"",' * 340_000 + b"0]}"), 422, "at body.vector.0, found ''"),
    ("no text, very often", search(b'{"query": [' + b"1," * 500_000 + b"1]}"), 422, "expected a text at body.query.0"),
    ("NaN", search(b'{"vector": [NaN, 0, 0, 0, 0, 0, 0, 0]}'), 400, "NaN is no number of JSON"),
    ("Infinity", search(b'{"vector": [-Infinity, 0, 0, 0, 0, 0, 0, 0]}'), 400, "-Infinity is no number of JSON"),
    ("1e999", search(b'{"vector": [1e999, 0, 0, 0, 0, 0, 0, 0]}'), 422, "at body.vector.0, found inf"),
    ("a number past float32", search({"vector": [1e300] + [0] * 7}), 422, "expected at most 3.4028234663852886e+38"),
    ("10^500", search(b'{"vector": [1' + b"0" * 500 + b", 0]}"), 422, "expected a number at body.vector.0"),
    ("5,000 digits", search(b'{"query": "star", "k": ' + b"9" * 5000 + b"}"), 400, "expected a body of JSON"),
    ("vector of another length", search({"vector": [1.0] * 7}), 422, "expected a vector of 8 numbers"),
    ("vector of zeros", search({"vector": [0.0] * 8}), 422, "expected a vector that is not zero"),
    ("vector of texts", search({"vector": ["1"] * 8}), 422, "expected a number at body.vector.0, found '1'"),
    ("vector of bools", search({"vector": [True] * 8}), 422, "expected a number at body.vector.0, found True"),
    ("empty vector", search({"vector": []}), 422, "expected a vector of 8 numbers, found float32 (0,)"),
    ("neither query nor vector", search({"k": 5}), 422, "expected exactly one of query, vector and like"),
    ("query and vector", search({"query": "star", "vector": [1] * 8}), 422, "found query and vector"),
    ("unknown field", search({"query": "star", "top_k": 5}), 422, "among query, vector, like, combine, k"),
    ("a number for a text", search({"query": 5}), 422, "expected a text or a list at body.query, found 5"),
    ("null for a text", search({"query": None}), 422, "expected exactly one of query, vector and like"),
    ("a text for a number", search({"query": "star", "k": "5"}), 422, "expected a whole number at body.k, found '5'"),
    ("half a k", search({"query": "star", "k": 5.5}), 422, "expected a whole number at body.k, found 5.5"),
    ("a bool for k", search({"query": "star", "k": True}), 422, "expected a whole number at body.k, found True"),
    ("absurd k in JSON", search({"query": "star", "k": 10**30}), 422, "expected k of at most 1,000, found"),
    ("a number for a bool", search({"query": "star", "full": 1}), 422, "expected true or false at body.full, found 1"),
    ("empty list of texts", search({"query": []}), 422, "expected a list of at least 1 at body.query"),
    ("an empty text among others", search({"query": ["star", ""]}), 422, f"{EMPTY}, the 2. of 2"),
    ("too many texts", search({"query": ["star"] * 257}), 422, "expected at most 256 texts in a request, found 257"),
    ("too many papers", search({"query": ["star"] * 256, "k": 1000}), 422, "expected at most 10,000 papers in all"),
    ("like no paper", search({"like": "none"}), 404, "expected the id of one of the 60 papers in index, found 'none'"),
    ("like none of several", search({"like": ["2001.10000", "none"]}), 404, "expected the id of one of the 60 papers"),
    ("like nothing", search({"like": []}), 422, "expected a list of at least 1 at body.like"),
    ("like too many", search({"like": ["2001.10000"] * 101}), 422, "expected a list of at most 100 at body.like"),
    ("combined otherwise", search({"like": ["2001.10000"], "combine": "median"}), 422, "expected 'nearest' or 'mean'"),
    ("words combined", search({"query": "star", "combine": "mean"}), 422, "expected combine with like alone"),
    ("like, by words", search({"like": "2001.10000", "mode": "keyword"}), 422, "expected mode dense, or none"),
    ("tokens", post("/v1/embeddings", {"input": [1, 2]}), 422, "expected a text or a list of texts; tokens mean"),
    ("no number for a text", search({"query": "star NAN"}), 422, "expected finite vectors, found NaN"),
    # Sizes and times
    ("body over the limit", post(V, b" " * (MIB + 1)), 413, "at most 1,048,576 bytes, found 1,048,577"),
    ("promise of more", get(V, f"Content-Length: {10**15}", method="POST"), 413, "found 1,000,000,000,000,000"),
    ("chunks over the limit", chunked(*[b" " * 65536] * 17), 413, "expected a body of at most 1,048,576 bytes"),
    ("chunks without end", chunked(b'{"query":'), 408, "expected the whole request in time, found 9 bytes"),
    ("a body that does not come", search(b"").replace(b"th: 0", b"th: 10"), 408, "found 0 bytes"),
    ("a head that does not end", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n", 408, "expected"),
    ("a head without end", get("/healthz", f"X-Long: {'a' * 100_000}"), 431, "expected"),
    ("a path without end", get(f"{V}?q={'a' * 100_000}"), 431, "expected"),
    # HTTP
    ("unknown method", get("/v1/info", method="BREW"), 400, "expected a request in HTTP/1.1"),
    ("wrong method", get(V, method="DELETE"), 405, "expected one of GET, HEAD, POST for /v1/search, found DELETE"),
    ("OPTIONS", get(V, method="OPTIONS"), 405, "expected one of GET, HEAD, POST"),
    ("no HTTP", b"hello\r\n\r\n", 400, "expected"),
    ("a TLS handshake", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 50, 400, "expected"),
    ("bytes that are no path", get(b"/v1/papers/\xff"), 400, "expected"),
    ("no Host", get("/healthz", host=""), 400, "expected one Host header, found none"),
    ("two Hosts", get("/healthz", "Host: other"), 400, "expected"),
    ("the Host of a page elsewhere", get("/v1/info", host="evil.example"), 421, "expected a name of this server"),
    ("two Content-Lengths", get(V, "Content-Length: 2", "Content-Length: 3", method="POST") + b"{}", 400, "expected"),
    ("Content-Length and chunks", chunked().replace(b"Host:", b"Content-Length: 2\r\nHost:") + b"{}", 400, "expected"),
    ("negative Content-Length", get(V, "Content-Length: -1", method="POST"), 400, "expected"),
    ("a header without a colon", get("/healthz", "oops"), 400, "expected"),
    ("no length of a chunk", chunked() + b"zz\r\n", 400, "expected a request in HTTP/1.1"),
    ("reload without a key", post("/v1/reload", b"", kind=""), 401, "expected a key as 'Authorization: Bearer KEY'"),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "status", "gist"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_a_bad_request(servers: Servers, request_: bytes, status: int, gist: str) -> None:
    found, answer, body = ask(servers.open, request_)
    assert found == status, body
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"]
    said = json.loads(body)
    assert said["status"] == status
    assert said["request_id"] == answer.headers["x-request-id"]
    assert gist in said["detail"]
    assert httpx.get(f"{servers.open}/healthz", trust_env=False).status_code == 200


KEYS = [
    ("no key", (), 401, "expected a key as 'Authorization: Bearer KEY', found none"),
    ("another key", ("Authorization: Bearer es_other",), 401, "expected a key that this server knows, found another"),
    ("an empty key", ("Authorization: Bearer ",), 401, "expected a key"),
    ("a password", ("Authorization: Basic YTpi",), 401, "expected a key as 'Authorization: Bearer KEY', found none"),
    ("a key of strange bytes", ("Authorization: Bearer \u00e9",), 401, "expected a key that this server knows"),
    ("a key that may only read", ("Authorization: Bearer TOKEN",), 403, "expected a key with the role admin"),
]


@pytest.mark.parametrize(("headers", "status", "gist"), [row[1:] for row in KEYS], ids=[row[0] for row in KEYS])
def test_a_key_that_will_not_do(servers: Servers, headers: tuple[str, ...], status: int, gist: str) -> None:
    given = [header.replace("TOKEN", servers.token) for header in headers]
    for request in (post("/v1/reload", b"", *given, kind=""), get("/v1/info", *given), get("/metrics", *given)):
        found, answer, body = ask(servers.keyed, request)
        if status == 403 and b"reload" not in request:
            assert found == 200
            continue
        assert found == status
        assert gist in json.loads(body)["detail"]
        assert servers.token.encode() not in body
        assert (answer.headers["www-authenticate"] == "Bearer") == (status == 401)


def test_the_key_decides_before_anything_else_is_told(servers: Servers) -> None:
    for path in ("/v1/search?nonsense=1", "/v1/papers/none", "/v1/search", "/v1/search?q=%FF"):
        assert ask(servers.keyed, get(path))[0] == 401
    for path in ("/healthz", "/readyz"):
        assert ask(servers.keyed, get(path))[0] == 200


@pytest.mark.parametrize(
    "request_",
    [
        search(b"{"),
        search({"query": 5}),
        search(DEEP),
        post(V, b"q=star", kind="text/plain"),
        post("/v1/embeddings", {"input": [1, 2]}),
        post("/v1/reload?nonsense=1", b"{", kind=""),
        chunked(b'{"query":'),
        chunked(*[b" " * 65536] * 17),
        chunked() + b"zz\r\n",
    ],
    ids=["JSON", "type", "deep JSON", "media type", "tokens", "reload", "chunks without end", "chunks", "chunk"],
)
def test_nothing_of_a_body_is_looked_at_before_the_key(servers: Servers, request_: bytes) -> None:
    found, _, body = ask(servers.keyed, request_)
    assert (found, json.loads(body)["code"]) == (401, "NotAllowed")


def test_who_is_refused_before_the_body_was_asked_for_is_not_taken_at_its_word(servers: Servers) -> None:
    """Its next request would be taken for the body that it promised."""
    head = get(V, "Content-Type: application/json", "Content-Length: 9", "Expect: 100-continue", method="POST")
    found, answer, _ = ask(servers.keyed, head)
    assert (found, answer.headers["connection"]) == (401, "close")


@pytest.mark.parametrize("body", [{"query": ""}, {"query": ["star", " "]}, {"vector": [0] * 8}, {"vector": []}])
def test_what_says_nothing_is_what_the_searcher_calls_it(servers: Servers, body: dict[str, Any]) -> None:
    assert json.loads(ask(servers.open, search(body))[2])["code"] == "QueryError"


def test_an_answer_to_head_has_no_body_whatever_is_wrong(servers: Servers) -> None:
    for path, status in (
        ("/v1/info", 200),
        (V, 422),
        ("/v1/papers/none", 404),
        ("/none", 404),
        ("/v1/embeddings", 405),
    ):
        found, answer, body = ask(servers.open, get(path, method="HEAD"))
        assert (found, body) == (status, b"")
        assert int(answer.headers["content-length"]) > 0


def test_what_is_old_is_not_wrong(servers: Servers) -> None:
    found, _, body = ask(servers.open, get("/healthz", version="1.0", host=""))
    assert (found, json.loads(body)) == (200, {"status": "ok"})


def test_a_request_id_is_taken_only_if_it_is_harmless(servers: Servers) -> None:
    for given, is_taken in (("abc-1.2_X", True), ("a" * 128, True), ("a" * 129, False), ("a b", False), ("<x>", False)):
        _, answer, _ = ask(servers.open, get("/healthz", f"X-Request-ID: {given}"))
        assert (answer.headers["x-request-id"] == given) is is_taken
