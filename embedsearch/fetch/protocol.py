"""The answers of an OAI server: from bytes that anybody may have sent to a page of records.

Sickle and oaipmh-scythe were tried: both parse with `recover=True`, to which a page that was cut is a whole one, and
neither goes on in another process; so httpx, lxml and tenacity are used directly.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import Any

from lxml import etree

from embedsearch.errors import ServerError
from embedsearch.fetch.records import OAI, BadRecord, Record, to_record

_PROLOG_DOCTYPE = re.compile(rb"\s*(?:<\?.*?\?>\s*|<!--.*?-->\s*)*<!DOCTYPE", re.DOTALL)
_HTML = re.compile(rb"\s*<(?:!doctype\s+html|html)", re.IGNORECASE)


class Malformed(ServerError):
    """An answer that is not whole, or no answer of an OAI server. Asked again, it may be."""


class OaiError(ServerError):
    """What the server says of a request that it does not answer; `code` is one of the protocol's."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text or code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Answer:
    """The element that a verb names, and the day (UTC) of the server when it answered."""

    element: Any
    day: date | None


@dataclass(frozen=True, slots=True)
class Page:
    """Records, what asks for the next page (None: this is the last), and how many there are in all, if it is told."""

    records: tuple[Record, ...]
    bad: tuple[str, ...]
    token: str | None
    n_all: int | None


def read_answer(data: bytes, verb: str) -> Answer:
    """What `data` answers to `verb`. Raises Malformed, OaiError, and ServerError for a document with a DOCTYPE."""
    if _HTML.match(data):
        raise Malformed("a page for people (HTML)")
    data = data.removeprefix(b"\xef\xbb\xbf")
    if _PROLOG_DOCTYPE.match(data):
        raise ServerError("expected XML without a DOCTYPE, found one: entities are not taken from a server")
    root = _parse(data)
    if root.tag != f"{OAI}OAI-PMH":
        raise Malformed(f"XML that begins with <{etree.QName(root).localname}>, not with <OAI-PMH>")
    day = _day(root.findtext(f"{OAI}responseDate") or "")
    error = root.find(f"{OAI}error")
    if error is not None:
        raise OaiError(error.get("code", ""), " ".join("".join(error.itertext()).split())[:300])
    element = root.find(f"{OAI}{verb}")
    if element is None:
        raise Malformed(f"an answer without <{verb}>")
    return Answer(element, day)


def read_page(answer: Answer, prefix: str, asked: str | None = None) -> Page:
    """The records of a ListRecords. One that cannot be read is named in `bad`; ServerError if that is all of them.

    `asked` is the token that was asked with: ServerError for one that leads to itself, which has no end.
    """
    records, bad = [], []
    elements = answer.element.findall(f"{OAI}record")
    for element in elements:
        try:
            records.append(to_record(element, prefix))
        except BadRecord as error:
            bad.append(str(error))
    if bad and not records:
        raise ServerError(f"expected records as {prefix}, found {len(bad)} that cannot be read, the first: {bad[0]}")
    token = answer.element.find(f"{OAI}resumptionToken")
    size = token.get("completeListSize", "") if token is not None else ""
    text = (token.text or "").strip() if token is not None else ""
    if text and text == asked:
        raise ServerError("expected a token that asks for the next page, found the one that asked for this page")
    n_all = int(size) if size.isascii() and size.isdigit() and len(size) < 10 else None
    return Page(tuple(records), tuple(bad), text or None, n_all)


def _parse(data: bytes) -> Any:
    # One parser each: it keeps what it read. The protocol knows no encoding but UTF-8, whatever a document claims.
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, encoding="utf-8",
        remove_comments=True, remove_pis=True,
    )  # fmt: skip
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise Malformed(f"XML that is not whole ({' '.join(str(error).split())[:120]})") from None
    if root.getroottree().docinfo.doctype:
        raise ServerError("expected XML without a DOCTYPE, found one: entities are not taken from a server")
    return root


def _day(text: str) -> date | None:
    try:
        day = date.fromisoformat(text.strip()[:10])
    except ValueError:
        return None
    return day if day.year > 1 else None  # of which nobody could take a day away
