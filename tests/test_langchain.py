"""LangChain's own suites, for a folder and for a server; and what a document holds."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from fake_encoder import FakeEncoder
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_tests.integration_tests import EmbeddingsIntegrationTests, RetrieversIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests
from pydantic import ValidationError
from serving import in_process, make_store

from embedsearch import Client, Filters, Searcher, errors
from embedsearch.integrations.langchain import EmbedsearchEmbeddings, EmbedsearchRetriever
from embedsearch.integrations.source import Where


@pytest.fixture(scope="module", autouse=True)
def searcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Searcher]:
    index = make_store(tmp_path_factory.mktemp("langchain"))
    searcher = Searcher.open(index, encoder=FakeEncoder())
    with in_process(index) as url:
        Here.where, There.where = searcher, url
        yield searcher


class Here:
    """An index in a folder."""

    where: ClassVar[Where]


class There:
    """A server."""

    where: ClassVar[Where]


class Retrieves(RetrieversIntegrationTests):
    where: ClassVar[Where]

    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return EmbedsearchRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"where": self.where}

    @property
    def retriever_query_example(self) -> str:
        return "star gas"


class TestRetrieverHere(Here, Retrieves):
    pass


class TestRetrieverThere(There, Retrieves):
    pass


class Embeds:
    where: ClassVar[Where]

    @property
    def embeddings_class(self) -> type[Embeddings]:
        return EmbedsearchEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"where": self.where}


class TestEmbeddingsHere(Here, Embeds, EmbeddingsIntegrationTests):
    pass


class TestEmbeddingsThere(There, Embeds, EmbeddingsIntegrationTests):
    pass


class TestEmbeddingsUnitHere(Here, Embeds, EmbeddingsUnitTests):
    pass


class TestEmbeddingsUnitThere(There, Embeds, EmbeddingsUnitTests):
    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        return {"EMBEDSEARCH_API_KEY": "secret"}, self.embedding_model_params, {"key": "secret"}


def both(searcher: Searcher) -> list[Where]:
    return [Here.where, There.where]


FILTERS = Filters(categories="gr-qc")


async def test_documents_are_what_the_searcher_finds(searcher: Searcher) -> None:
    expected = searcher.search("dust", k=4, mode="dense", filters=FILTERS).hits
    for where in both(searcher):
        retriever = EmbedsearchRetriever(where=where, k=4, mode="dense", filters=FILTERS)
        for found in (retriever.invoke("dust"), await retriever.ainvoke("dust")):
            assert [(one.id, one.metadata["score"]) for one in found] == [(hit.id, hit.score) for hit in expected]
        assert len(retriever.invoke("dust", k=2, filters=None)) == 2


def test_a_document_has_what_a_model_reads_and_what_a_reader_cites(searcher: Searcher) -> None:
    (hit,) = searcher.search("2001.10000", k=1).hits
    (document,) = EmbedsearchRetriever(where=searcher, k=1).invoke("2001.10000")
    assert document == Document(
        id="2001.10000",
        page_content=f"{hit.title}\n\n{hit.abstract}",
        metadata={
            "id": "2001.10000",
            "title": hit.title,
            "authors": ["A. Author0", "B. Writer0"],
            "categories": ["astro-ph.GA"],
            "published": "2020-01",
            "score": hit.score,
            "url": "https://arxiv.org/abs/2001.10000",
        },
    )


async def test_embeddings_are_the_searchers(searcher: Searcher) -> None:
    texts = ["star gas", "dust"]
    expected = searcher.embed(texts).vectors.tolist()
    for where in both(searcher):
        embeddings = EmbedsearchEmbeddings(where=where)
        assert embeddings.embed_documents(texts) == expected == await embeddings.aembed_documents(texts)
        assert embeddings.embed_query(texts[0]) == expected[0] == await embeddings.aembed_query(texts[0])
        assert embeddings.embed_documents([]) == []


def test_the_roles_are_told_apart() -> None:
    asked: list[str] = []

    class Roles(Client):
        def embed(self, texts: Any, *, role: Any = "query") -> Any:
            asked.append(role.value)
            return super().embed(texts, role=role)

    with Roles(str(There.where)) as client:
        embeddings = EmbedsearchEmbeddings(where=client)
        embeddings.embed_query("gas")
        embeddings.embed_documents(["gas"])
    assert asked == ["query", "document"]


def test_serves_one_event_loop_after_another() -> None:
    retriever = EmbedsearchRetriever(where=There.where, k=1)

    async def several() -> list[list[Document]]:
        return await asyncio.gather(*(retriever.ainvoke("gas") for _ in range(5)))

    assert asyncio.run(several()) == asyncio.run(several())


def test_fills_a_vector_store() -> None:
    store = InMemoryVectorStore(EmbedsearchEmbeddings(where=There.where))
    store.add_documents(EmbedsearchRetriever(where=There.where, k=20).invoke("star"))
    assert len(store.similarity_search("star", k=3)) == 3


@pytest.mark.parametrize(
    "options", [{"k": 0}, {"mode": "telepathy"}, {"filters": {"since": "soon"}}, {"where": "ftp://"}]
)
def test_what_it_is_told_is_checked(searcher: Searcher, options: dict[str, Any]) -> None:
    with pytest.raises((ValidationError, errors.EmbedsearchError)):
        EmbedsearchRetriever(**{"where": searcher, **options})


def test_errors_come_through(searcher: Searcher) -> None:
    for where in both(searcher):
        with pytest.raises(errors.QueryError, match="expected words"):
            EmbedsearchRetriever(where=where).invoke(" ")


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(errors.StoreNotFound):
        EmbedsearchRetriever(where=tmp_path / "none")


def test_the_key_is_sent_and_not_shown() -> None:
    retriever = EmbedsearchRetriever(where="http://127.0.0.1:1", key="secret")
    source = retriever._source.here
    assert isinstance(source, Client)
    assert source._http.headers["Authorization"] == "Bearer secret"
    assert "secret" not in repr(retriever) + retriever.model_dump_json() + str(retriever.model_dump())


def test_its_configuration_names_the_folder(searcher: Searcher) -> None:
    assert EmbedsearchRetriever(where=searcher).model_dump(mode="json")["where"] == str(searcher.folder)
    assert EmbedsearchEmbeddings(where=Client(str(There.where))).model_dump()["where"] == There.where


def test_without_langchain() -> None:
    code = "import sys; sys.modules['langchain_core'] = None; import embedsearch.integrations.langchain"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "MissingExtra" in done.stderr
    assert "pip install 'embedsearch[langchain]'" in done.stderr
