"""The client gives what the Searcher gives, and its errors are the server's."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corpora import records, write
from fake_encoder import FakeEncoder
from serving import in_process

from embedsearch import AsyncClient, Client, Filters, Searcher, connect, errors
from embedsearch.build import build_index
from embedsearch.client import answers, calls
from embedsearch.encoders import Role
from embedsearch.search import Combine, Mode, Sort
from embedsearch.server.options import Limits

ODD_IDS = ("math/0309136", "größe/α β?#%25", "../v1/info", "a//b", "text:0f", "..")


@dataclass(frozen=True)
class Served:
    """An index, what searches it here, and a server for it."""

    index: Path
    searcher: Searcher
    url: str


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("client")
    odd = [
        {
            "id": id,
            "title": r"Dust in $\Lambda$CDM" + f" {number}",
            "abstract": f"Star and plasma.\nGas {'wave ' * number}flows <b>here</b>.",
            "authors": r"A. M\"uller and B. Writer0",
            "categories": "gr-qc astro-ph.CO",
            "doi": f"10.1000/{number}",
            "comments": "5 pages",
            "odd": {"nested": [1, None, 2.5]},
        }
        for number, id in enumerate(ODD_IDS)
    ]
    index = folder / "index"
    build_index(write(folder / "papers.jsonl", [*records(80), *odd]), index, encoder=FakeEncoder())
    with in_process(index) as url:
        yield Served(index, Searcher.open(index, encoder=FakeEncoder()), url)


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    with Client(served.url) as client:
        yield client


QUERIES = ("star gas", 'dust "star and plasma"', "Paper 7 on star", "2001.10000", "10.1000/3", "plasma \u202e <script>")


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("query", QUERIES)
def test_searches_as_the_searcher_does(served: Served, client: Client, query: str, mode: Mode) -> None:
    assert client.search(query, mode=mode) == served.searcher.search(query, mode=mode)


@pytest.mark.parametrize(
    "options",
    [
        {"k": 1},
        {"k": 500},
        {"sort": Sort.DATE, "k": 30},
        {"n_counted": 40},
        {"filters": Filters(categories="astro-ph*", since="2001-03", until="2001-11", authors=["B. Writer0"])},
        {"filters": Filters(categories=("gr-qc",)), "n_counted": 5, "mode": "dense"},
        {"filters": Filters(since="2040")},
        {"filters": Filters()},
    ],
    ids=str,
)
def test_takes_the_searchers_options(served: Served, client: Client, options: dict[str, Any]) -> None:
    assert client.search("star gas", **options) == served.searcher.search("star gas", **options)
    assert client.search(["dust", "gas gas"], **options) == served.searcher.search(["dust", "gas gas"], **options)
    options = {name: value for name, value in options.items() if name != "mode"}
    assert client.similar_to(ODD_IDS[1], **options) == served.searcher.similar_to(ODD_IDS[1], **options)
    several = [ODD_IDS[1], "2001.10000", "arXiv:2002.10001v2"]
    for combine in Combine:
        expected = served.searcher.similar_to(several, combine=combine, **options)
        assert client.similar_to(several, combine=combine, **options) == expected
    vector = np.arange(8, dtype=np.float32) / 7
    assert client.search_vector(vector, **options) == served.searcher.search_vector(vector, **options)


@pytest.mark.parametrize("id", [*ODD_IDS, "arXiv:math.GT/0309136v2", "https://arxiv.org/abs/2001.10000"])
def test_finds_a_paper_by_any_id(served: Served, client: Client, id: str) -> None:
    assert client.paper(id) == served.searcher.paper(id)
    assert client.similar_to(id) == served.searcher.similar_to(id)


def test_long_lists_go_in_several_requests(served: Served, client: Client) -> None:
    texts = [f"star gas{' dust' * (n % 5)} {n}" for n in range(150)]
    assert len(calls.embed(texts, role="query")) == 3
    assert client.search(texts, k=2) == served.searcher.search(texts, k=2)
    np.testing.assert_array_equal(client.embed(texts).vectors, served.searcher.embed(texts).vectors)


def test_a_request_stays_below_what_a_server_takes() -> None:
    texts = ["α" * 10_000] * 100
    found = calls.embed(texts, role="query")
    assert all(call.body and len(call.body) < Limits().body for call in found)
    assert [text for call in found for text in json.loads(call.body or b"")["input"]] == texts
    assert Limits().n_texts >= calls.MOST_TEXTS


@pytest.mark.parametrize("role", ["query", Role.DOCUMENT])
def test_embeds(served: Served, client: Client, role: Role | str) -> None:
    texts = ["star gas", "plasma", "nothing of these"]
    mine, theirs = client.embed(texts, role=role), served.searcher.embed(texts, role=role)
    np.testing.assert_array_equal(mine.vectors, theirs.vectors)
    assert mine.vectors.dtype == np.float32
    assert mine.total_tokens == theirs.n_tokens.sum()


def test_of_nothing_comes_nothing(client: Client) -> None:
    assert client.search([]) == []
    assert client.embed([]).vectors.shape == (0, 0)


def test_says_what_is_served(client: Client) -> None:
    assert client.generation is None
    assert client.info()["n_papers"] == 80 + len(ODD_IDS)
    assert client.generation == 1


async def test_the_other_client_is_the_same(served: Served) -> None:
    async with AsyncClient(served.url) as client:
        searcher = served.searcher
        assert await client.search("star gas", n_counted=9) == searcher.search("star gas", n_counted=9)
        assert await client.search(("dust", "gas")) == searcher.search(("dust", "gas"))
        assert await client.similar_to("2001.10000") == searcher.similar_to("2001.10000")
        several = ("2001.10000", ODD_IDS[1])
        assert await client.similar_to(several, combine="mean") == searcher.similar_to(several, combine="mean")
        vector = np.ones(8, np.float32)
        assert await client.search_vector(vector) == searcher.search_vector(vector)
        assert await client.paper(ODD_IDS[1]) == searcher.paper(ODD_IDS[1])
        np.testing.assert_array_equal((await client.embed(["gas"])).vectors, searcher.embed(["gas"]).vectors)
        assert (await client.info())["n_papers"] == client.generation + 79 + len(ODD_IDS)  # type: ignore[operator]
        found = await asyncio.gather(*(client.search(f"star {n}", k=3) for n in range(20)))
        assert found == searcher.search([f"star {n}" for n in range(20)], k=3)
        with pytest.raises(errors.PaperNotFound):
            await client.paper("no such")


def test_both_clients_have_the_searchers_methods() -> None:
    import inspect

    for name in ("search", "similar_to", "search_vector", "paper", "embed"):
        theirs = inspect.signature(getattr(Searcher, name)).parameters
        for kind in (Client, AsyncClient):
            mine = inspect.signature(getattr(kind, name)).parameters
            assert list(mine) == [one for one in theirs if one != "vectors"]
            for one, parameter in mine.items():
                default = theirs[one].default
                assert parameter.default == getattr(default, "value", default)
                assert parameter.kind == theirs[one].kind


@pytest.mark.parametrize(
    ("ask", "kind"),
    [
        (lambda s: s.search(""), errors.QueryError),
        (lambda s: s.search(["star", " \t"]), errors.QueryError),
        (lambda s: s.search("\x00\u202e"), errors.QueryError),
        (lambda s: s.search("star", k=0), errors.OptionError),
        (lambda s: s.search("star", k=2.0), errors.OptionError),
        (lambda s: s.search("star", mode="telepathy"), errors.OptionError),
        (lambda s: s.search("star", sort="size"), errors.OptionError),
        (lambda s: s.search_vector(np.ones(3, np.float32)), errors.QueryError),
        (lambda s: s.search_vector(np.zeros(8, np.float32)), errors.QueryError),
        (lambda s: s.search_vector(np.full(8, np.nan, np.float32)), errors.QueryError),
        (lambda s: s.search_vector(np.array(["a"])), errors.QueryError),
        (lambda s: s.paper("9999.99999"), errors.PaperNotFound),
        (lambda s: s.similar_to("größe/none"), errors.PaperNotFound),
        (lambda s: s.similar_to(["2001.10000", "größe/none"]), errors.PaperNotFound),
        (lambda s: s.similar_to([]), errors.QueryError),
        (lambda s: s.similar_to(["2001.10000"], combine="median"), errors.OptionError),
        (lambda s: s.embed(["NAN"]), errors.BadVector),
        (lambda s: s.embed(["gas"], role="nobody"), errors.OptionError),
    ],
)
def test_errors_are_the_searchers(
    served: Served, client: Client, ask: Callable[[Any], Any], kind: type[Exception]
) -> None:
    for asked in (served.searcher, client):
        with pytest.raises(kind, match="expected") as caught:
            ask(asked)
        assert caught.type is kind


def test_lone_surrogates_are_left_out_as_the_searcher_does(served: Served, client: Client) -> None:
    assert client.search("star \ud800gas") == served.searcher.search("star \ud800gas")


def test_more_than_a_server_takes(served: Served, client: Client) -> None:
    with pytest.raises(errors.OverLimit, match=r"1,?000"):
        client.search("star", k=1001)
    with pytest.raises(errors.OverLimit, match=r"10,?000"):
        client.search("star " * 2001)


def test_a_server_with_a_key(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBEDSEARCH_API_KEY", "a-key-of-the-server")
    with in_process(served.index) as url:
        with Client(url) as client:
            assert client.search("gas") == served.searcher.search("gas")
        for key in ("", "another-key"):
            with Client(url, key=key) as client, pytest.raises(errors.NotAllowed, match="expected") as caught:
                client.search("gas")
            assert "another-key" not in str(caught.value)


def test_connects_to_either(served: Served) -> None:
    assert isinstance(connect(served.url), Client)
    assert isinstance(connect(served.index), Searcher)
    assert isinstance(connect(str(served.index)), Searcher)
    with pytest.raises(errors.StoreNotFound):
        connect(served.index / "none")
    for where in ("localhost:8000", "ftp://x"):
        with pytest.raises(errors.OptionError, match=r"expected an address like http.* or the folder"):
            connect(where)


def test_nothing_heavy_is_loaded() -> None:
    code = "import sys, embedsearch.client; print(*{'torch', 'tantivy', 'pyarrow', 'faiss'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_without_httpx() -> None:
    code = "import sys; sys.modules['httpx'] = None; from embedsearch import Client"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "MissingExtra: a server is asked through the package httpx: pip install 'embedsearch[client]'" in done.stderr


def test_nine_digits_are_enough_for_a_score() -> None:
    scores = np.random.default_rng(0).random(1000).astype(np.float32)
    assert all(answers._float32(float(f"{score:.9g}")) == float(score) for score in scores)
