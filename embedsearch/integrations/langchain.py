"""LangChain: papers as documents, and a store's encoder as embeddings.

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
    """What both are configured with."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    where: Where
    """The folder of an index, the address of a server (http://...), or an open Searcher or Client."""
    key: SecretStr | None = Field(default_factory=secret_from_env("EMBEDSEARCH_API_KEY", default=None))
    """The server's; EMBEDSEARCH_API_KEY where it is not given."""
    _source: Source

    def model_post_init(self, context: Any, /) -> None:
        super().model_post_init(context)
        self._source = Source(self.where, key=self.key.get_secret_value() if self.key else None)

    @field_serializer("where")
    def _named(self, where: Where) -> str:
        return named(where)


class EmbedsearchRetriever(_Asks, BaseRetriever):
    """Finds papers: `page_content` is title and abstract, `metadata` has id, title, authors, categories, published,
    score and url (None for papers that are not arXiv's).

    `k`, `mode` and `filters` can also be given to `invoke`. Raises what the Searcher or the Client raises.
    """

    k: int = Field(10, ge=1)
    mode: ModeName = "hybrid"
    filters: Filters | None = None

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
    """Vectors of texts in the space of an index, by its own model."""

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
