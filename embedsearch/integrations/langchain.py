"""LangChain: papers as documents, and the model of an index as embeddings.

retriever = EmbedsearchRetriever(where="http://127.0.0.1:8000", k=5)
documents = retriever.invoke("magnetized plasma")
"""

from __future__ import annotations

from typing import Any, Literal

from embedsearch.encoders import Role
from embedsearch.errors import MissingExtra
from embedsearch.integrations.source import Source, Where, about, as_lists, named
from embedsearch.records import Hit, SearchResult
from embedsearch.store.filters import Filters

try:
    from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
    from langchain_core.documents import Document
    from langchain_core.embeddings import Embeddings
    from langchain_core.retrievers import BaseRetriever
    from langchain_core.utils import secret_from_env
    from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_serializer
except ModuleNotFoundError as error:
    raise MissingExtra(
        "LangChain's retriever needs the package langchain-core: pip install 'embedsearch[langchain]'"
    ) from error

ModeName = Literal["hybrid", "dense", "keyword"]


class _Asks(BaseModel):
    """Where both ask."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    where: Where
    """The folder of an index, the address of a server (http://...), or an open Searcher or Client."""
    key: SecretStr | None = Field(default_factory=secret_from_env("EMBEDSEARCH_API_KEY", default=None))
    """Sent to the server; EMBEDSEARCH_API_KEY where it is not given."""
    _source: Source

    def model_post_init(self, context: Any, /) -> None:
        super().model_post_init(context)
        self._source = Source(self.where, key=self.key.get_secret_value() if self.key else None)

    @field_serializer("where")
    def _named(self, where: Where) -> str:
        return named(where)


class EmbedsearchRetriever(_Asks, BaseRetriever):
    """Finds papers in an index, in a folder or behind a server, as documents.

        retriever = EmbedsearchRetriever(where="indexes/default", k=5, filters=Filters(categories="astro-ph*"))
        documents = retriever.invoke("magnetized plasma")

    `page_content` is title and abstract, `metadata` has id, title, authors, categories, published, score and url (None
    for papers that are not arXiv's). `k`, `mode` and `filters` can also be given to `invoke`.

    Raises StoreNotFound where there is no index in the folder, as soon as it is made; ServerError where nobody answers
    at the address, when it is first asked. The other errors are those of embedsearch.Searcher and embedsearch.Client.
    """

    k: int = Field(10, ge=1)
    """The most papers."""
    mode: ModeName = "hybrid"
    """By meaning and words, by meaning (dense), or by words (keyword)."""
    filters: Filters | None = None
    """Only papers in these categories, of these years, by these authors: see embedsearch.Filters."""

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **options: Any
    ) -> list[Document]:
        return _documents(self._source.here.search(query, **self._options(options)))

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **options: Any
    ) -> list[Document]:
        asked = self._options(options)
        return _documents(await self._source.ask(lambda source: source.search(query, **asked)))

    def _options(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"k": self.k, "mode": self.mode, "filters": self.filters, **given}


class EmbedsearchEmbeddings(_Asks, Embeddings):
    """Vectors of texts, by the model of an index: comparable with the vectors of its papers.

        embeddings = EmbedsearchEmbeddings(where="http://127.0.0.1:8000")
        vector = embeddings.embed_query("magnetized plasma")

    Raises what EmbedsearchRetriever raises, and ModelNotFound where the model of a folder is not here.
    """

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """As papers are embedded."""
        return as_lists(self._source.here.embed(texts, role=Role.DOCUMENT))

    def embed_query(self, text: str) -> list[float]:
        """As queries are embedded: some models put another prompt before them."""
        return as_lists(self._source.here.embed([text], role=Role.QUERY))[0]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """See `embed_documents`."""
        return as_lists(await self._source.ask(lambda source: source.embed(texts, role=Role.DOCUMENT)))

    async def aembed_query(self, text: str) -> list[float]:
        """See `embed_query`."""
        return as_lists(await self._source.ask(lambda source: source.embed([text], role=Role.QUERY)))[0]


def _documents(result: SearchResult) -> list[Document]:
    return [_document(hit) for hit in result.hits]


def _document(hit: Hit) -> Document:
    return Document(id=hit.id, page_content=f"{hit.title}\n\n{hit.abstract}".strip(), metadata=about(hit))
