"""Agents' tools, asked by the protocol's own client."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from corpora import records, write
from fake_encoder import FakeEncoder
from mcp import Client as McpClient
from mcp.server import MCPServer
from mcp_answers import content, refusal
from serving import free_port, in_process, make_store

from embedsearch import Filters, Searcher, errors
from embedsearch.build import build_index
from embedsearch.integrations import mcp_schema as schema
from embedsearch.integrations.mcp import MAX_BODY, make_server
from embedsearch.server.options import Limits


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mcp")
    odd = {
        "id": "math/0309136",
        "title": r"The $\Lambda$CDM plasma",
        "abstract": r"A galaxy of M\"uller. Nothing else.",
        "authors": " and ".join(f"N. Name{n}" for n in range(40)),
        "categories": "math.GT",
        "doi": "10.1000/1",
    }
    build_index(write(folder / "papers.jsonl", [*records(60), odd]), folder / "index", encoder=FakeEncoder())
    return folder / "index"


@pytest.fixture(scope="module")
def searcher(index: Path) -> Searcher:
    return Searcher.open(index, encoder=FakeEncoder())


@pytest.fixture(scope="module")
def url(index: Path) -> Iterator[str]:
    with in_process(index) as url:
        yield url


@pytest.fixture(params=["folder", "server"])
def server(request: pytest.FixtureRequest, searcher: Searcher, url: str) -> MCPServer[Any]:
    return make_server(searcher if request.param == "folder" else url)


async def test_finds_what_the_searcher_finds(searcher: Searcher, server: MCPServer[Any]) -> None:
    filters = Filters(categories="astro-ph*", since="2001-02", until="2020-11", authors="B. Writer0")
    asked = {"k": 4, "categories": ["astro-ph*"], "since": "2001-02", "until": "2020-11", "authors": ["B. Writer0"]}
    async with McpClient(server) as client:
        for mode in ("hybrid", "dense", "keyword"):
            arguments = {"query": "star gas", "mode": mode, "sort": "date", **asked}
            found = content(await client.call_tool("search_papers", arguments))
            expected = searcher.search("star gas", k=4, mode=mode, filters=filters, sort="date")
            assert (found["query"], found["mode"]) == ("star gas", mode)
            assert [(one["id"], one["score"]) for one in found["papers"]] == [(h.id, h.score) for h in expected.hits]
        found = content(await client.call_tool("similar_papers", {"id": "arXiv:2001.10000v3", "k": 5}))
        expected = searcher.similar_to("2001.10000", k=5)
        assert [(one["id"], one["score"]) for one in found["papers"]] == [(hit.id, hit.score) for hit in expected.hits]


async def test_a_paper_is_as_people_read_it(server: MCPServer[Any]) -> None:
    async with McpClient(server) as client:
        found = content(await client.call_tool("get_paper", {"id": "https://arxiv.org/abs/math.GT/0309136"}))
        (hit,) = content(await client.call_tool("search_papers", {"query": "math/0309136", "k": 1}))["papers"]
    assert found["title"] == hit["title"] == "The ΛCDM plasma"
    assert found["abstract"] == hit["abstract"] == "A galaxy of Müller. Nothing else."
    assert found["url"] == hit["url"] == "https://arxiv.org/abs/math/0309136"
    assert found["doi"] == "10.1000/1"
    for one in (found, hit):
        assert (len(one["authors"]), one["n_authors"]) == (20, 40)


async def test_the_tools_describe_themselves(server: MCPServer[Any]) -> None:
    async with McpClient(server) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert set(tools) == {"search_papers", "similar_papers", "get_paper"}
    for tool in tools.values():
        assert tool.annotations is not None
        assert tool.annotations.read_only_hint
        assert not tool.annotations.destructive_hint
        assert tool.output_schema is not None
        assert all(parameter.get("description") or "enum" in parameter for parameter in parameters(tool).values())
    about = tools["search_papers"].description or ""
    assert all(word in about for word in ("hybrid", "dense", "keyword", "Scores", "cosine"))
    assert "\n    " not in about
    assert parameters(tools["search_papers"])["k"]["maximum"] == 1000
    assert "2301.01234" in parameters(tools["get_paper"])["id"]["description"]


def parameters(tool: Any) -> dict[str, Any]:
    found: dict[str, Any] = tool.input_schema["properties"]
    return found


def test_the_bounds_are_the_servers() -> None:
    from embedsearch.server import schemas

    limits = Limits()
    assert (limits.k, limits.text, limits.body) == (schema.MAX_K, schema.MAX_TEXT, MAX_BODY)
    mine = (schema.MAX_FILTERS, schema.MAX_FILTER, schema.MAX_ID)
    assert mine == (schemas.MAX_FILTERS, schemas.MAX_FILTER, schemas.MAX_ID)


@pytest.mark.parametrize(
    ("tool", "arguments", "says"),
    [
        ("search_papers", {"query": "star", "k": 1001}, "expected k from 1 to 1,000, found 1,001"),
        ("search_papers", {"query": "star", "k": 0}, "expected k from 1 to 1,000, found 0"),
        ("search_papers", {"query": "star", "limit": 3}, "expected arguments among query, k, mode, "),
        ("get_paper", {"id": "2001.10000", "version": 1}, "expected arguments among id, found 'version'"),
        ("search_papers", {"query": "s" * 10_001}, "expected query of at most 10,000 characters, found 10,001"),
        ("search_papers", {"query": " "}, "expected query to say something, found an empty text"),
        ("search_papers", {"query": "star", "since": "soon"}, "expected a date"),
        ("search_papers", {"query": "star", "authors": ["."]}, "expected the name of an author"),
        ("search_papers", {"query": "star", "categories": ["a"] * 33}, "expected at most 32 categories"),
        ("search_papers", {"query": "star", "mode": "telepathy"}, "'hybrid', 'dense' or 'keyword'"),
        ("search_papers", {"query": "star", "k": "many"}, "integer"),
        ("search_papers", {}, "query"),
        ("get_paper", {"id": "9999.99999"}, "found '9999.99999'"),
        ("get_paper", {"id": "x" * 1001}, "expected id of at most 1,000 characters"),
        ("similar_papers", {"id": "9999.99999"}, "found '9999.99999'"),
        ("similar_papers", {"id": "", "k": 3}, "expected id to say something"),
    ],
)
async def test_what_is_out_of_bounds(
    server: MCPServer[Any], index: Path, tool: str, arguments: dict[str, Any], says: str
) -> None:
    async with McpClient(server) as client:
        text = refusal(await client.call_tool(tool, arguments))
    assert says in text
    assert str(index.parent) not in text


@pytest.mark.parametrize("arguments", [{"query": "star " * 2000}, {"query": "star", "k": 1000}])
async def test_what_is_just_within_bounds(server: MCPServer[Any], arguments: dict[str, Any]) -> None:
    async with McpClient(server) as client:
        assert content(await client.call_tool("search_papers", arguments))["papers"]


async def test_one_name_is_a_list_of_one(server: MCPServer[Any]) -> None:
    async with McpClient(server) as client:
        one, several = ({"query": "star", "k": 3, "authors": given} for given in ("Writer0", ["Writer0"]))
        assert content(await client.call_tool("search_papers", one)) == content(
            await client.call_tool("search_papers", several)
        )


async def test_an_index_that_breaks_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    index = make_store(tmp_path, 5)
    async with McpClient(make_server(Searcher.open(index, encoder=FakeEncoder()))) as client:
        (index / "manifest.json").write_text("{")
        for _ in range(3):
            assert content(await client.call_tool("search_papers", {"query": "star"}))["papers"]
    (record,) = caplog.records
    assert "the index that is open answers on" in record.getMessage()


async def test_no_model_is_loaded_before_a_query_needs_it(index: Path) -> None:
    searcher = Searcher.open(index)
    async with McpClient(make_server(searcher)) as client:
        await client.list_tools()
        content(await client.call_tool("search_papers", {"query": "star", "mode": "keyword"}))
        content(await client.call_tool("similar_papers", {"id": "2001.10000"}))
        assert "expected the encoder" in refusal(
            await client.call_tool("search_papers", {"query": "star", "mode": "dense"})
        )


async def test_a_newer_index_is_searched_at_once(tmp_path: Path) -> None:
    index = make_store(tmp_path / "old", 5)
    other = make_store(tmp_path / "new", 8, seed=1)
    server = make_server(Searcher.open(index, encoder=FakeEncoder()))
    arguments = {"query": "star", "k": 100}
    async with McpClient(server) as client:
        assert len(content(await client.call_tool("search_papers", arguments))["papers"]) == 5
        shutil.rmtree(index)
        assert len(content(await client.call_tool("search_papers", arguments))["papers"]) == 5
        other.rename(index)
        assert len(content(await client.call_tool("search_papers", arguments))["papers"]) == 8


async def test_a_server_that_is_not_there_is_said_by_the_tools() -> None:
    async with McpClient(make_server(f"http://127.0.0.1:{free_port()}")) as client:
        text = refusal(await client.call_tool("get_paper", {"id": "9.9"}))
    assert "is `embedsearch serve` running there?" in text


def test_without_the_sdk() -> None:
    code = "import sys; sys.modules['mcp'] = None; import embedsearch.integrations.mcp"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "MissingExtra: agents are served through the package mcp: pip install 'embedsearch[mcp]'" in done.stderr
    assert issubclass(errors.MissingExtra, ImportError)
