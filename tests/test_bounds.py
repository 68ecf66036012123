"""The bounds that are configured, at and past their edge."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving import in_process, make_store

from embedsearch.server.bounds import show
from embedsearch.server.options import Limits


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("bounds"))


@pytest.fixture(scope="module")
def plain(index: Path) -> Iterator[httpx.Client]:
    with in_process(index) as url, httpx.Client(base_url=url, trust_env=False) as http:
        yield http


def got(http: httpx.Client, **params: Any) -> Any:
    answer = http.get("/v1/search", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def posted(http: httpx.Client, path: str = "/v1/search", **body: Any) -> Any:
    answer = http.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(http: httpx.Client, method: str, path: str, status: int, **more: Any) -> Any:
    answer = http.request(method, path, **more)
    assert answer.status_code == status, answer.text
    return answer.json()


@pytest.fixture(scope="module")
def tight(index: Path) -> Iterator[httpx.Client]:
    """A server with small bounds."""
    limits = Limits(k=5, text=20, n_texts=3)
    with in_process(index, limits=limits) as url, httpx.Client(base_url=url, trust_env=False) as http:
        yield http


def test_bounds_at_and_past_their_edge(tight: httpx.Client) -> None:
    long, longer = "star " * 4, "star " * 4 + "s"
    assert len(got(tight, q=long, k=5)["hits"]) == 5
    assert got(tight, q="gas", facets=5)["facets"]["n_counted"] == 5
    assert len(posted(tight, query=[long] * 3, k=5)) == 3
    assert len(posted(tight, "/v1/embeddings", input=[long] * 3)["data"]) == 3
    for method, path, more, expected in [
        ("GET", "/v1/search", {"params": {"q": "gas", "k": 6}}, "expected k of at most 5, found 6"),
        ("POST", "/v1/search", {"json": {"query": "gas", "k": 6}}, "expected k of at most 5, found 6"),
        ("GET", "/v1/papers/2001.10000/similar", {"params": {"k": 6}}, "expected k of at most 5, found 6"),
        ("GET", "/v1/search", {"params": {"q": "gas", "facets": 6}}, "expected facets of at most 5, found 6"),
        ("GET", "/v1/search", {"params": {"q": longer}}, "expected a text of at most 20 characters, found 21"),
        (
            "POST",
            "/v1/search",
            {"json": {"query": [long, longer]}},
            "expected a text of at most 20 characters, found 21, the 2. of 2",
        ),
        ("POST", "/v1/search", {"json": {"query": [long] * 4}}, "expected at most 3 texts in a request, found 4"),
        ("POST", "/v1/embeddings", {"json": {"input": [long] * 4}}, "expected at most 3 texts in a request, found 4"),
        ("POST", "/v1/embeddings", {"json": {"input": longer}}, "expected a text of at most 20 characters, found 21"),
    ]:
        said = refused(tight, method, path, 422, **more)
        assert (said["detail"], said["code"]) == (expected, "OverLimit")


def test_a_bound_below_the_default_lowers_the_default(tight: httpx.Client) -> None:
    assert len(got(tight, q="gas")["hits"]) == 5
    assert len(posted(tight, query="gas")["hits"]) == 5


def test_hits_are_bounded_in_all(plain: httpx.Client) -> None:
    assert len(posted(plain, query=["star"] * 10, k=1000)) == 10
    said = refused(plain, "POST", "/v1/search", 422, json={"query": ["star"] * 11, "k": 1000})
    assert said["code"] == "OverLimit"
    assert said["detail"].startswith("expected at most 10,000 papers in all, found 11 texts with 1,000 papers each")


def test_a_mark_becomes_the_bound_of_its_type() -> None:
    document = {
        "a": {"type": "integer", "x-limit": "k", "default": 10},
        "b": [{"type": "array", "x-limit": "n_texts", "items": {"type": "string", "x-limit": "text"}}],
        "c": {"type": "integer", "maximum": 3, "default": True},
    }
    show(document, Limits(k=5, text=6, n_texts=7))
    assert document == {
        "a": {"type": "integer", "maximum": 5, "default": 5},
        "b": [{"type": "array", "maxItems": 7, "items": {"type": "string", "maxLength": 6}}],
        "c": {"type": "integer", "maximum": 3, "default": True},
    }
