"""LlamaIndex: papers as nodes, and the model of an index as an embedding model.

retriever = EmbedsearchRetriever("http://127.0.0.1:8000", k=5)
nodes = retriever.retrieve("magnetized plasma")
"""

from __future__ import annotations

from typing import Any

from embedsearch.encoders import Role
from embedsearch.errors import MissingExtra
from embedsearch.integrations.source import Source, Where, about, as_lists, named
from embedsearch.records import Hit, SearchResult
from embedsearch.search import Mode
from embedsearch.store.filters import Filters

try:
    from llama_index.core.base.base_retriever import BaseRetriever
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.bridge.pydantic import Field, PrivateAttr, SecretStr, field_serializer
    from llama_index.core.callbacks.base import CallbackManager
    from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
except ModuleNotFoundError as error:
    raise MissingExtra(
        "LlamaIndex's retriever needs the package llama-index-core: pip install 'embedsearch[llamaindex]'"
    ) from error

UNREAD = ["id", "authors", "categories", "score"]
"""Metadata that neither a language model nor an embedding is shown: of a collaboration, a thousand names."""


class EmbedsearchRetriever(BaseRetriever):
    """Finds papers in an index, in a folder or behind a server, as nodes.

        retriever = EmbedsearchRetriever("indexes/default", k=5, filters=Filters(categories="astro-ph*"))
        nodes = retriever.retrieve("magnetized plasma")

    A node's text is the abstract, its metadata has id, title, authors, categories, published, score and url (None for
    papers that are not arXiv's); a language model is shown title, date and url with the text.
    """

    def __init__(
        self,
        where: Where,
        *,
        k: int = 10,
        mode: Mode | str = "hybrid",
        filters: Filters | None = None,
        key: str | None = None,
        callback_manager: CallbackManager | None = None,
        verbose: bool = False,
    ) -> None:
        """`where` is the folder of an index, the address of a server (http://...), or an open Searcher or Client. `k`
        is the most papers; `mode` is hybrid (by meaning and words), dense (by meaning) or keyword; `filters` are
        embedsearch.Filters. `key` is sent to the server; None: that of EMBEDSEARCH_API_KEY.

        Raises StoreNotFound where there is no index in the folder. `retrieve` raises ServerError where nobody answers
        at the address, and the other errors of embedsearch.Searcher and embedsearch.Client.
        """
        self._source = Source(where, key=key)
        self._asked: dict[str, Any] = {"k": k, "mode": mode, "filters": filters}
        super().__init__(callback_manager=callback_manager, verbose=verbose)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return _nodes(self._source.here.search(query_bundle.query_str, **self._asked))

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return _nodes(await self._source.ask(lambda source: source.search(query_bundle.query_str, **self._asked)))


class EmbedsearchEmbedding(BaseEmbedding):
    """Vectors of texts, by the model of an index: comparable with the vectors of its papers.

        model = EmbedsearchEmbedding(where="http://127.0.0.1:8000")
        vector = model.get_query_embedding("magnetized plasma")

    `where` is the folder of an index, the address of a server, or an open Searcher or Client; `key` is sent to the
    server, EMBEDSEARCH_API_KEY where it is not given; what is serialised has none. Raises what EmbedsearchRetriever
    raises, and ModelNotFound where the model of a folder is not here.
    """

    model_name: str = "embedsearch"
    embed_batch_size: int = Field(default=64, gt=0, le=2048)
    where: Where = Field(description="Folder of an index, address of a server, or an open Searcher or Client.")
    key: SecretStr | None = Field(default=None, exclude=True, description="The server's; else EMBEDSEARCH_API_KEY.")
    _source: Source = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        super().model_post_init(context)
        self._source = Source(self.where, key=self.key.get_secret_value() if self.key else None)

    @classmethod
    def class_name(cls) -> str:
        """Under which name it is serialised."""
        return "EmbedsearchEmbedding"

    @field_serializer("where")
    def _named(self, where: Where) -> str:
        return named(where)

    def _get_query_embedding(self, query: str) -> list[float]:
        return as_lists(self._source.here.embed([query], role=Role.QUERY))[0]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return as_lists(await self._source.ask(lambda source: source.embed([query], role=Role.QUERY)))[0]

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return (await self._aget_text_embeddings([text]))[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return as_lists(self._source.here.embed(texts, role=Role.DOCUMENT))

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return as_lists(await self._source.ask(lambda source: source.embed(texts, role=Role.DOCUMENT)))


def _nodes(result: SearchResult) -> list[NodeWithScore]:
    return [NodeWithScore(node=_node(hit), score=hit.score) for hit in result.hits]


def _node(hit: Hit) -> TextNode:
    return TextNode(
        id_=hit.id,
        text=hit.abstract,
        metadata=about(hit),
        excluded_llm_metadata_keys=UNREAD,
        excluded_embed_metadata_keys=[*UNREAD, "published", "url"],
    )
