"""LlamaIndex: the retriever in a query engine, the embedding model in an index of its own, and their shapes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_encoder import FakeEncoder
from llama_index.core import MockEmbedding, VectorStoreIndex
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.response_synthesizers import get_response_synthesizer
from llama_index.core.schema import MetadataMode, QueryBundle, TextNode
from serving import in_process, make_store

from embedsearch import Client, Filters, Searcher, errors
from embedsearch.integrations.llamaindex import EmbedsearchEmbedding, EmbedsearchRetriever
from embedsearch.integrations.source import Where


@pytest.fixture(scope="module")
def searcher(tmp_path_factory: pytest.TempPathFactory) -> Searcher:
    return Searcher.open(make_store(tmp_path_factory.mktemp("llamaindex")), encoder=FakeEncoder())


@pytest.fixture(scope="module")
def url(searcher: Searcher) -> Iterator[str]:
    with in_process(searcher.folder) as url:
        yield url


@pytest.fixture(params=["folder", "server"])
def where(request: pytest.FixtureRequest, searcher: Searcher, url: str) -> Where:
    return searcher if request.param == "folder" else url


def test_classes_are_what_the_framework_expects(where: Where) -> None:
    assert BaseRetriever in EmbedsearchRetriever.__mro__
    assert BaseEmbedding in EmbedsearchEmbedding.__mro__
    assert EmbedsearchEmbedding.class_name() == "EmbedsearchEmbedding"


async def test_nodes_are_what_the_searcher_finds(searcher: Searcher, where: Where) -> None:
    filters = Filters(categories="gr-qc")
    expected = searcher.search("dust", k=4, mode="dense", filters=filters).hits
    retriever = EmbedsearchRetriever(where, k=4, mode="dense", filters=filters)
    for found in (retriever.retrieve("dust"), await retriever.aretrieve(QueryBundle("dust"))):
        assert [(one.node_id, one.score) for one in found] == [(hit.id, hit.score) for hit in expected]


def test_a_node_has_what_a_model_reads_and_what_a_reader_cites(searcher: Searcher) -> None:
    (hit,) = searcher.search("2001.10000", k=1).hits
    (found,) = EmbedsearchRetriever(searcher, k=1).retrieve("2001.10000")
    assert found.node.metadata == {
        "id": "2001.10000",
        "title": hit.title,
        "authors": ["A. Author0", "B. Writer0"],
        "categories": ["astro-ph.GA"],
        "published": "2020-01",
        "score": hit.score,
        "url": "https://arxiv.org/abs/2001.10000",
    }
    assert found.get_content(MetadataMode.NONE) == hit.abstract
    read = found.get_content(MetadataMode.LLM)
    assert hit.title in read
    assert "https://arxiv.org/abs/2001.10000" in read
    assert "Author0" not in read
    assert found.node.get_content(MetadataMode.EMBED) == f"title: {hit.title}\n\n{hit.abstract}"


async def test_a_query_engine_reads_the_papers(searcher: Searcher, where: Where) -> None:
    engine = RetrieverQueryEngine(
        EmbedsearchRetriever(where, k=2), response_synthesizer=get_response_synthesizer(llm=MockLLM())
    )
    expected = searcher.search("star gas", k=2).hits
    for answer in (engine.query("star gas"), await engine.aquery("star gas")):
        assert [node.node_id for node in answer.source_nodes] == [hit.id for hit in expected]
        assert all(hit.title in str(answer) and hit.abstract in str(answer) for hit in expected)  # it says its prompt


async def test_embeddings_are_the_searchers(searcher: Searcher, where: Where) -> None:
    texts = ["star gas", "dust", "wave"]
    expected = searcher.embed(texts).vectors.tolist()
    model = EmbedsearchEmbedding(where=where)
    assert model.get_query_embedding(texts[0]) == await model.aget_query_embedding(texts[0]) == expected[0]
    assert model.get_text_embedding(texts[1]) == await model.aget_text_embedding(texts[1]) == expected[1]
    assert model.get_text_embedding_batch(texts) == await model.aget_text_embedding_batch(texts) == expected
    assert isinstance(expected[0][0], float)


class Counting(Client):
    """Notes what it is asked to embed."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.asked: list[tuple[int, str]] = []

    def embed(self, texts: Any, *, role: Any = "query") -> Any:
        self.asked.append((len(texts), role.value))
        return super().embed(texts, role=role)


def test_texts_go_in_batches_and_roles_are_told_apart(url: str) -> None:
    with Counting(url) as client:
        model = EmbedsearchEmbedding(where=client, embed_batch_size=4)
        assert len(model.get_text_embedding_batch([f"gas {n}" for n in range(10)])) == 10
        model.get_query_embedding("gas")
    assert client.asked == [(4, "document"), (4, "document"), (2, "document"), (1, "query")]


def test_is_serialised_without_its_key(searcher: Searcher, url: str) -> None:
    model = EmbedsearchEmbedding(where=url, key="secret", embed_batch_size=7)
    kept = model.to_dict()
    assert "secret" not in f"{kept} {model!r} {model.to_json()} {model.to_payload()}"
    again = EmbedsearchEmbedding.from_dict(kept)
    assert (again.where, again.embed_batch_size, again.key) == (url, 7, None)
    assert again.get_query_embedding("gas") == model.get_query_embedding("gas")
    assert EmbedsearchEmbedding(where=searcher).to_dict()["where"] == str(searcher.folder)


def test_an_index_of_its_own(searcher: Searcher, where: Where) -> None:
    nodes: list[Any] = [TextNode(text=text) for text in ("star star", "gas gas", "dust")]
    index = VectorStoreIndex(nodes, embed_model=EmbedsearchEmbedding(where=where))
    (best,) = index.as_retriever(similarity_top_k=1).retrieve("gas")
    assert best.text == "gas gas"
    assert best.score == pytest.approx(1, abs=1e-6)


def test_an_embedding_of_the_query_is_not_mistaken_for_ours(searcher: Searcher) -> None:
    given = QueryBundle("dust", embedding=MockEmbedding(embed_dim=8).get_text_embedding("gas"))
    found = EmbedsearchRetriever(searcher, k=3).retrieve(given)
    assert [one.node_id for one in found] == [hit.id for hit in searcher.search("dust", k=3).hits]


def test_serves_one_event_loop_after_another(url: str) -> None:
    retriever = EmbedsearchRetriever(url, k=1)

    async def several() -> list[str]:
        found = await asyncio.gather(*(retriever.aretrieve("gas") for _ in range(5)))
        return [one.node_id for (one,) in found]

    assert asyncio.run(several()) == asyncio.run(several())


def test_errors_come_through(where: Where, tmp_path: Path) -> None:
    with pytest.raises(errors.QueryError, match="expected words"):
        EmbedsearchRetriever(where).retrieve(" ")
    with pytest.raises(errors.OptionError, match="telepathy"):
        EmbedsearchRetriever(where, mode="telepathy").retrieve("gas")
    with pytest.raises(errors.StoreNotFound):
        EmbedsearchRetriever(tmp_path / "none")


def test_without_llamaindex() -> None:
    code = "import sys; sys.modules['llama_index'] = None; import embedsearch.integrations.llamaindex"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "MissingExtra" in done.stderr
    assert "pip install 'embedsearch[llamaindex]'" in done.stderr
