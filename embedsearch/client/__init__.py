"""The client of `embedsearch serve`: what a Searcher gives, from a server.

from embedsearch import Client

with Client("http://127.0.0.1:8000") as client:
    for hit in client.search("magnetized plasma", k=5).hits:
        print(hit.score, hit.id, hit.title)
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from embedsearch.errors import MissingExtra, OptionError

try:
    from embedsearch.client.aio import AsyncClient
    from embedsearch.client.answers import Embedded
    from embedsearch.client.sync import Client
except ModuleNotFoundError as error:
    if error.name != "httpx":
        raise
    raise MissingExtra("a server is asked through the package httpx: pip install 'embedsearch[client]'") from error

if TYPE_CHECKING:
    from embedsearch.search import Searcher

__all__ = ["AsyncClient", "Client", "Embedded", "connect", "is_url"]


_LIKE_AN_ADDRESS = re.compile(r"[a-z]+://|[\w.-]+:\d+/?$", re.IGNORECASE)


def is_url(where: str | Path) -> bool:
    """Whether `where` is the address of a server; otherwise it is a folder."""
    return isinstance(where, str) and where.lower().startswith(("http://", "https://"))


def connect(where: str | Path, *, key: str | None = None) -> Searcher | Client:
    """A Client for an address (http://, https://), a Searcher for the folder of an index; both answer alike.

    `key` is sent to the server; None: that of EMBEDSEARCH_API_KEY. A server is not asked yet. Raises what
    Searcher.open raises, and OptionError for what is no address.
    """
    if is_url(where):
        return Client(str(where), key=key)
    if isinstance(where, str) and _LIKE_AN_ADDRESS.match(where) and not Path(where).exists():
        raise OptionError(f"expected an address like http://127.0.0.1:8000 or the folder of an index, found {where!r}")
    from embedsearch.search import Searcher

    return Searcher.open(where)
