"""What the adapters ask: a folder, a server, or what is open already; called or awaited."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from embedsearch.client import AsyncClient, Client, Embedded, connect, is_url
from embedsearch.encoders import Encoded
from embedsearch.records import Hit
from embedsearch.render.results import arxiv_url
from embedsearch.search import Searcher

Where = str | Path | Searcher | Client
"""The folder of an index, the address of a server, or one of the two that is open: to share it, or its model."""


def named(where: Where) -> str:
    """The folder or the address, as a configuration can hold it."""
    if isinstance(where, Searcher):
        return str(where.folder)
    return where.url if isinstance(where, Client) else str(where)


def about(hit: Hit) -> dict[str, Any]:
    """What a framework keeps beside a paper's text; the url is None for a paper that is not arXiv's."""
    return {
        "id": hit.id,
        "title": hit.title,
        "authors": list(hit.authors),
        "categories": list(hit.categories),
        "published": hit.published,
        "score": hit.score,
        "url": arxiv_url(hit.id),
    }


def as_lists(embedded: Encoded | Embedded) -> list[list[float]]:
    """Vectors as the frameworks want them: lists of Python's numbers."""
    vectors: list[list[float]] = embedded.vectors.tolist()
    return vectors


class Source:
    """Answers as a Searcher does. Thread-safe."""

    def __init__(self, where: Where, *, key: str | None = None) -> None:
        """`key` is for a server; raises what `connect` raises."""
        self.here: Searcher | Client = connect(where, key=key) if isinstance(where, str | Path) else where
        if isinstance(self.here, Client) and self.here is not where:
            weakref.finalize(self, self.here.close)  # the frameworks have no word for closing a retriever
        self._address = str(where) if isinstance(where, str) and is_url(where) else None
        self._key = key

    async def ask(self, call: Callable[[Any], Any]) -> Any:
        """What `call` returns for a Searcher, without blocking the event loop; `call` may run in a thread.

        A server is asked through a connection of this call's own: the framework may run the next in another loop.
        """
        if self._address is None:
            return await asyncio.to_thread(call, self.here)
        async with AsyncClient(self._address, key=self._key) as client:
            return await call(client)
