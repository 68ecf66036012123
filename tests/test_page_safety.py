"""What the page says of errors, what it lets through, who may see it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from fake_encoder import FakeEncoder
from page_papers import ATTACKS, LINK, Elements, get_page
from serving import in_process

from embedsearch.errors import StoreCorrupt, TookTooLong
from embedsearch.server.app import create_app
from embedsearch.server.engine import Engine
from embedsearch.server.keys import Role, add_key
from embedsearch.server.options import ServeOptions

LAMBDA = '<math><mi mathvariant="normal">Λ</mi></math>'


@pytest.fixture(scope="module")
def client(page_index: Path) -> Iterator[httpx.Client]:
    with in_process(page_index) as url, httpx.Client(base_url=url, trust_env=False) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/?q=", 422, "Type what you are looking for"),
        ("/?q=%20%20", 422, "Type what you are looking for"),
        ("/?like=9999.99999", 404, "no such paper"),
        ("/?q=star&mode=magic", 422, "cannot be searched"),
        ("/?q=star&k=0&category=x", 422, "expected k from 1 to 1,000"),
        ("/?q=star&k=1001", 422, "more than this server takes"),
        ("/?q=star&k=" + "9" * 5000, 422, "expected k from 1"),
        ("/?q=star&since=yesterday", 422, "yesterday"),
        ("/?q=star&author=--", 422, "cannot be searched"),
        ("/?q=star&sort=price", 422, "cannot be searched"),
        ("/?q=" + "x" * 10_001, 422, "at most 10,000 characters"),
        ("/?q=star&category=" + "x" * 201, 422, "at most 200 characters"),
        ("/?q=star" + "".join(f"&category={i}" for i in range(33)), 422, "at most 32 values"),
    ],
)
def test_an_error_is_a_sentence_in_the_page(client: httpx.Client, path: str, status: int, said: str) -> None:
    html, page = get_page(client, path, status)
    assert said in page.text
    assert page.named("form", id="search")
    assert "Traceback" not in html
    if path.startswith("/?q=star&"):
        assert page.named("input", id="q", value="star")


def test_the_longest_query_is_taken(client: httpx.Client) -> None:
    get_page(client, "/?q=" + "star+" * 1999 + "star+")


class Failing(Engine):
    """Answers no search."""

    def __init__(self, options: ServeOptions, error: Exception) -> None:
        super().__init__(options, encoder=FakeEncoder())
        self._error = error

    async def search(self, *_: Any, **__: Any) -> Any:
        raise self._error


async def ask(options: ServeOptions, path: str, engine: Engine, *, open: bool = True) -> httpx.Response:
    app = create_app(options, engine=engine)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        if open:
            await engine.start()
        try:
            return await client.get(path)
        finally:
            if open:
                await engine.stop()


async def test_an_index_that_is_not_open_yet_says_to_wait(page_index: Path) -> None:
    options = ServeOptions(index=page_index)
    answer = await ask(options, "/?q=star", Engine(options, encoder=FakeEncoder()), open=False)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert "try again in a moment" in answer.text


async def test_what_takes_too_long_says_so(page_index: Path) -> None:
    options = ServeOptions(index=page_index)
    answer = await ask(options, "/?q=star", Failing(options, TookTooLong("expected 30 s")))
    assert answer.status_code == 504
    assert "took too long" in answer.text


async def test_no_path_of_the_server_is_told(page_index: Path) -> None:
    options = ServeOptions(index=page_index)
    answer = await ask(options, "/?q=star", Failing(options, StoreCorrupt("expected /srv/secret/file")))
    assert answer.status_code == 503
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    "path", ["/?q=plasma", "/?q=hot+plasma&mode=keyword", f"/?like={quote(ATTACKS['id'])}", "/?q=wave"]
)
def test_no_markup_of_a_corpus_gets_through(client: httpx.Client, path: str) -> None:
    _, page = get_page(client, path)
    assert [script for script in page.named("script") if not str(script.get("src")).startswith("/static/")] == []
    assert not page.named("img")
    assert not page.named("b")
    for _, attributes in page.found:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        for name in ("href", "src", "action"):
            assert re.match(r"/|https://arxiv\.org/|#|$", attributes.get(name) or "")
    assert "alert('title')" in page.text or "wave" in page.text


def test_a_link_that_is_none_is_text(client: httpx.Client) -> None:
    _, page = get_page(client, f"/?q={quote(LINK['title'])}&mode=keyword")
    assert LINK["id"] in page.text
    assert not [link for link in page.named("a") if str(link["href"]).startswith("javascript")]


@pytest.mark.parametrize("evil", ['"><script>alert(1)</script>', "'\"<>&", "\u202eevil", "{{ 7*7 }}", "</title><b>"])
def test_no_markup_of_a_query_gets_through(client: httpx.Client, evil: str) -> None:
    for path in (f"/?q={quote(evil)}", f"/?like={quote(evil)}", f"/?q=star&author=x{quote(evil)}&since={quote(evil)}"):
        page = Elements(client.get(path).text)
        assert len(page.named("script")) == 1
        assert not page.named("b")
        assert "49" not in page.text
    box = Elements(client.get(f"/?q={quote(evil)}").text).named("input", id="q")
    assert box[0]["value"] == evil


def test_no_mark_turns_the_text_around(client: httpx.Client) -> None:
    html, _ = get_page(client, "/?q=planet+planet&mode=keyword&k=50")
    assert "gnihton" in html
    assert not re.search("[\u200b\u202a-\u202e\u2066-\u2069]", html)


def test_headers(client: httpx.Client) -> None:
    for path in ("/", "/?q=star", "/?q=", "/page/results?q=star", "/page/bibtex/2301.00001"):
        headers = client.get(path).headers
        policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
        assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == policy["form-action"] == "'self'"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"
    assert client.get("/?q=star").headers["x-index-generation"] == "1"


def test_files_are_kept_for_good_under_the_name_that_the_page_has(client: httpx.Client) -> None:
    _, page = get_page(client, "/")
    names = [str(page.named("script")[0]["src"]), *(str(link["href"]) for link in page.named("link"))]
    assert len(names) == 3
    for name in names:
        assert "immutable" in client.get(name).headers["cache-control"]
        assert client.get(name.split("?")[0] + "?v=old").headers["cache-control"] == "no-cache"
    for path in ("/static/../routes.py", "/static/%2e%2e%2froutes.py", "/static/none.js"):
        assert client.get(path).status_code == 404


def test_nothing_is_inline_and_nothing_is_from_elsewhere(client: httpx.Client) -> None:
    html, page = get_page(client, "/?q=dust")
    assert not page.named("style")
    assert re.search(r"<script[^>]*>[^<]", html) is None
    sources = [found.get("src") or found.get("href") for name, found in page.found if name in ("script", "link", "img")]
    assert all(str(source).startswith("/static/") for source in sources)


def test_with_keys_the_page_is_a_shell_until_one_is_given(page_index: Path, tmp_path: Path) -> None:
    token = add_key(tmp_path / "keys.json", "reader", role=Role.READ)
    with (
        in_process(page_index, keys_file=tmp_path / "keys.json") as url,
        httpx.Client(base_url=url, trust_env=False) as client,
    ):
        html, page = get_page(client, "/?q=dust")
        assert page.named("form", id="key-form")
        assert "<noscript>" in html
        assert "Lambda" not in html
        assert "44" not in page.text
        assert client.get("/page/results?q=dust").status_code == 401
        assert client.get("/page/bibtex/2301.00001").status_code == 401
        assert client.get("/static/page.js").status_code == 200
        answer = client.get("/page/results?q=dust", headers={"Authorization": f"Bearer {token}"})
        assert "CDM" in answer.text


def test_public_reading_needs_no_key(page_index: Path, tmp_path: Path) -> None:
    add_key(tmp_path / "keys.json", "reader", role=Role.READ)
    with in_process(page_index, keys_file=tmp_path / "keys.json", public_read=True) as url:
        assert "CDM" in httpx.get(f"{url}/?q=dust", trust_env=False).text
