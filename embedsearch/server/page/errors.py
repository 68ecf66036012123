"""What the page says of an error."""

from __future__ import annotations

from embedsearch.errors import (
    EmbedsearchError,
    OptionError,
    OverLimit,
    Overloaded,
    PaperNotFound,
    QueryError,
    TookTooLong,
)
from embedsearch.server.page.address import Address
from embedsearch.server.page.view import View, chips
from embedsearch.server.page.visible import visible


def error_view(error: EmbedsearchError, address: Address) -> View:
    """An error as a sentence; one that might name a place on the server keeps its own words to itself."""
    heading, hint = _sentences(error, address)
    return View(address=address, heading=heading, error=heading, hint=hint, chips=chips(address))


def _sentences(error: EmbedsearchError, address: Address) -> tuple[str, str]:
    if isinstance(error, PaperNotFound):
        return "There is no such paper in this index", visible(f"Looked for: {address.like or address.q or ''}")
    if isinstance(error, OverLimit):
        return "That is more than this server takes at once", visible(str(error))
    if isinstance(error, QueryError) and address.q is not None and not address.q.strip():
        return (
            "Type what you are looking for",
            "A topic, a question, a title, an arXiv id: anything that an abstract could answer.",
        )
    if isinstance(error, QueryError | OptionError):
        return "That cannot be searched for", visible(str(error))
    if isinstance(error, Overloaded):
        return "The index cannot answer right now", "It is busy, or just being opened: try again in a moment."
    if isinstance(error, TookTooLong):
        return "That took too long", "Try again in a moment, or with a shorter query."
    return (
        "This index cannot answer that",
        "Search by words may still work; who runs this server finds more in its log.",
    )
