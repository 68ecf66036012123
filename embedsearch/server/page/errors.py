"""What the page says of an error."""

from __future__ import annotations

from pathlib import Path

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
from embedsearch.server.page.narrowing import chips
from embedsearch.server.page.view import View
from embedsearch.server.page.visible import visible
from embedsearch.server.problems import without_folder

NO_PAPER = "There is no such paper in this index"


def error_view(error: EmbedsearchError, address: Address, *, hidden: Path | None = None) -> View:
    """An error as a sentence; one that might name a place on the server keeps its own words to itself, and the folder
    `hidden` is named without where it lies."""
    heading, hint = _sentences(error, address)
    hint = visible(without_folder(hint, hidden))
    return View(address=address, heading=heading, error=heading, hint=hint, chips=chips(address))


def _sentences(error: EmbedsearchError, address: Address) -> tuple[str, str]:
    if isinstance(error, PaperNotFound):
        looked_for = ", ".join(address.like) or address.q or ""
        heading = "There are no such papers in this index" if len(address.like) > 1 else NO_PAPER
        return heading, f"Looked for: {looked_for}"
    if isinstance(error, OverLimit):
        return "That is more than this server takes at once", str(error)
    if isinstance(error, QueryError) and address.q is not None and not address.q.strip():
        return (
            "Type what you are looking for",
            "A topic, a question, a title, an arXiv id: anything that an abstract could answer.",
        )
    if isinstance(error, QueryError) and address.asks_alike:
        return f"Papers like {'these' if len(address.like) > 1 else 'this'} cannot be found", str(error)
    if isinstance(error, QueryError | OptionError):
        return "That cannot be searched for", str(error)
    if isinstance(error, Overloaded):
        return "The index cannot answer right now", "It is busy, or just being opened: try again in a moment."
    if isinstance(error, TookTooLong):
        return "That took too long", "Try again in a moment, or with a shorter query."
    return (
        "This index cannot answer that",
        "Search by words may still work; who runs this server finds more in its log.",
    )
