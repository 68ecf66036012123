"""An OAI server in the test's own process, over real HTTP, made after arXiv's, that misbehaves on request.

It has records in the snapshot's form and writes them as XML of either of arXiv's formats, by what the formats' schemas
say; the code under test is not asked. Like arXiv's own it orders by day and id, makes tokens of the request and an
offset (encoded, so that they must be encoded once more), refuses days before its first and sets that it does not know.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit
from xml.sax.saxutils import escape, quoteattr

Record = dict[str, Any]
Deed = Callable[["_Handler", str], None]

EARLIEST = "2005-09-16"
SETS = [
    "physics",
    "physics:astro-ph",
    "physics:astro-ph:CO",
    "physics:astro-ph:GA",
    "physics:hep-ph",
    "math",
    "math:math:NT",
]
XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
HEAD = f'<?xml version="1.0" encoding="UTF-8"?>\n<OAI-PMH xmlns="http://www.openarchives.org/OAI/2.0/" {XSI}>'


class OaiServer(ThreadingHTTPServer):
    """Answers GET and POST of any path.

    `records` may be changed between requests. `misbehave(n, query)` is asked for the n-th request (from 0): None to
    answer, or a deed, which gets the handler and the answer that would be right. `queries` has the query of each
    request, `raw` the line of its address as it came, `headers` its headers.
    """

    daemon_threads = True

    def __init__(self, records: Iterable[Record], page_size: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.records = list(records)
        self.page_size = page_size
        self.tells_size = False
        self.today = "2026-01-31"
        self.misbehave: Callable[[int, dict[str, str]], Deed | None] = lambda n, query: None
        self.queries: list[dict[str, str]] = []
        self.raw: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/oai"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that are killed are what this server is for."""

    def answer(self, query: dict[str, str]) -> str:
        """The document for a request."""
        try:
            verb = query.get("verb", "")
            inside = {"Identify": self._identify, "ListSets": self._sets, "ListRecords": self._list}[verb](query)
            inside = f"<{verb}>{inside}</{verb}>"
        except KeyError:
            inside = error("badVerb", "Invalid verb provided")
        except _Error as found:
            inside = error(*found.args)
        request = f"<request>{escape(self.url)}</request>"
        return f"{HEAD}<responseDate>{self.today}T12:00:00Z</responseDate>{request}{inside}</OAI-PMH>"

    def _identify(self, query: dict[str, str]) -> str:
        return (
            f"<repositoryName>test</repositoryName><baseURL>{self.url}</baseURL><protocolVersion>2.0</protocolVersion>"
            f"<adminEmail>a@example.org</adminEmail><earliestDatestamp>{EARLIEST}</earliestDatestamp>"
            "<deletedRecord>persistent</deletedRecord><granularity>YYYY-MM-DD</granularity>"
        )

    def _sets(self, query: dict[str, str]) -> str:
        return "".join(f"<set><setSpec>{name}</setSpec><setName>{name}</setName></set>" for name in SETS)

    def _list(self, query: dict[str, str]) -> str:
        skip = 0
        if "resumptionToken" in query:
            if set(query) != {"verb", "resumptionToken"}:
                raise _Error("badArgument", "No other parameters allowed with resumptionToken")
            query = {k: v[0] for k, v in parse_qs(unquote(query["resumptionToken"])).items()}
            if not query.get("skip", "").isdigit():
                raise _Error("badResumptionToken", "Token decoding failed or format is invalid.")
            skip = int(query["skip"])
        found = self._matching(query)
        if not found:
            raise _Error("noRecordsMatch", "nothing matches")
        page = found[skip : skip + self.page_size]
        text = "".join(to_xml(record, query["metadataPrefix"]) for record in page)
        after = skip + self.page_size
        if after >= len(found):
            return text
        token = quote(urlencode(query | {"skip": after}))
        size = f' completeListSize="{len(found)}" cursor="{skip}"' if self.tells_size else ""
        return f"{text}<resumptionToken{size}>{escape(token)}</resumptionToken>"

    def _matching(self, query: dict[str, str]) -> list[Record]:
        if query.get("metadataPrefix") not in ("arXiv", "arXivRaw"):
            raise _Error("cannotDisseminateFormat", "Did not recognize requested format")
        since, until, name = query.get("from", EARLIEST), query.get("until", "9999-99-99"), query.get("set")
        if not all(re.fullmatch(r"\d{4}-\d\d-\d\d", day) for day in (since, until)) or since < EARLIEST:
            raise _Error("badArgument", "start date too early")
        if name not in SETS:
            raise _Error("badArgument", "Set does not exist")
        found = [r for r in self.records if since <= r["update_date"] <= until and name in sets_of(r)]
        return sorted(found, key=lambda r: r["update_date"])


def completed(record: Record) -> Record:
    """A record in the snapshot's whole form: what it lacks is made of its id, the same each time."""
    id = record["id"]
    year, month = re.fullmatch(r"(?:[a-z-]+/)?(\d\d)(\d\d).*", id).groups()  # type: ignore[union-attr]
    day = sum(map(ord, id)) % 28 + 1
    at = datetime(int(year) + (1900 if int(year) > 90 else 2000), int(month), day, 6, 37, 23, tzinfo=UTC)
    times = [at + timedelta(days=100 * n) for n in range(day % 3 + 1)]
    names = ("submitter", "authors", "title", "comments", "journal-ref", "doi", "report-no", "categories", "license")
    made = {
        "versions": [{"version": f"v{n}", "created": format_datetime(t, usegmt=True)} for n, t in enumerate(times, 1)],
        "update_date": times[-1].date().isoformat(),
        "authors_parsed": [parsed(name) for name in (record.get("authors") or "").split(", ") if name],
    }
    whole = {"id": id} | {name: record.get(name) for name in names} | {"abstract": record["abstract"]}
    whole |= {name: record.get(name) or value for name, value in made.items()}
    return whole | {"update_date": max(whole["update_date"], EARLIEST)}


def parsed(name: str) -> list[str]:
    """[last, first, suffix] of a name without affiliation."""
    words = name.split()
    suffix = words.pop() if words[-1] in ("Jr.", "Sr.", "II", "III", "IV") and len(words) > 1 else ""
    return [words[-1], " ".join(words[:-1]), suffix]


class _Error(Exception):
    """Code and text of an error of the protocol."""


def error(code: str, text: str) -> str:
    return f'<error code="{code}">{escape(text)}</error>'


def sets_of(record: Record) -> set[str]:
    """The sets that a record is in: those of its categories. A deleted one may name them itself."""
    names = {"physics"}
    for category in record.get("categories", "astro-ph.GA").split():
        archive, _, rest = category.partition(".")
        if archive == "math":
            names |= {"math", f"math:math:{rest}"}
        else:
            names |= {f"physics:{archive}", f"physics:{archive}:{rest}"}
    return names


def to_xml(record: Record, prefix: str) -> str:
    """A `<record>`."""
    header = f"<identifier>oai:arXiv.org:{record['id']}</identifier><datestamp>{record['update_date']}</datestamp>"
    if record.get("deleted"):
        return f'<record><header status="deleted">{header}</header></record>'
    inside = raw_xml(record) if prefix == "arXivRaw" else arxiv_xml(record)
    uri = f"http://arxiv.org/OAI/{prefix}"
    where = f'xmlns="{uri}/" {XSI} xsi:schemaLocation="{uri}/ {uri}.xsd"'
    metadata = f"<metadata>\n <{prefix} {where}>\n{inside}\n </{prefix}>\n</metadata>"
    return f"\n<record>\n<header>{header}<setSpec>physics:astro-ph</setSpec></header>\n{metadata}\n</record>"


def element(name: str, text: str | None) -> str:
    return f"<{name}>{escape(text)}</{name}>" if text is not None else ""


def raw_xml(record: Record) -> str:
    """The elements of arXivRaw, in the order of its schema; an abstract as arXiv has it, indented."""
    versions = "".join(
        f"<version version={quoteattr(v['version'])}><date>{v['created']}</date><size>12kb</size></version>"
        for v in record["versions"]
    )
    return (
        element("id", record["id"]) + element("submitter", record["submitter"]) + versions
        + element("title", record["title"]) + element("authors", record["authors"]) + after_authors(record)
    )  # fmt: skip


def arxiv_xml(record: Record) -> str:
    """The elements of arXiv, in the order of its schema."""
    days = [day_of(version["created"]) for version in record["versions"]]
    updated = element("updated", days[-1]) if len(days) > 1 else ""
    authors = "".join(author_xml(author) for author in record["authors_parsed"])
    return (
        element("id", record["id"]) + element("created", days[0]) + updated + f"<authors>{authors}</authors>"
        + element("title", record["title"]) + after_authors(record)
    )  # fmt: skip


def author_xml(author: list[str]) -> str:
    last, first, suffix, *affiliations = author
    parts = element("keyname", last) + element("forenames", first or None) + element("suffix", suffix or None)
    return f"<author>{parts}{''.join(element('affiliation', text) for text in affiliations)}</author>"


def after_authors(record: Record) -> str:
    """What both formats have behind the authors."""
    names = ("categories", "comments", "report-no", "journal-ref", "doi", "license")
    return "".join(element(name, record[name]) for name in names) + element("abstract", f"  {record['abstract']}\n")


def day_of(text: str) -> str:
    """2020-05-07 of "Thu, 07 May 2020 06:37:23 GMT"."""
    _, day, month, year, _, _ = text.split()
    months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    return f"{year}-{months.index(month) + 1:02}-{day}"


# Deeds


def status(code: int, **headers: str) -> Deed:
    """Answer with a status, and headers (Retry_After="1")."""

    def deed(handler: _Handler, text: str) -> None:
        handler.send(code, "<html><body>busy</body></html>", {k.replace("_", "-"): v for k, v in headers.items()})

    return deed


def instead(text: str | bytes, code: int = 200) -> Deed:
    """Answer with this body."""
    return lambda handler, _: handler.send(code, text, {})


def fault(code: str, text: str = "no") -> Deed:
    """Answer with an error of the protocol."""
    return instead(f"{HEAD}{error(code, text)}</OAI-PMH>")


def changed(change: Callable[[str], str]) -> Deed:
    """Answer with the right document, changed."""
    return lambda handler, text: handler.send(200, change(text), {})


def truncated(handler: _Handler, text: str) -> None:
    """Half a document, sent as if it were whole."""
    handler.send(200, text[: len(text) // 2], {})


def cut(handler: _Handler, text: str) -> None:
    """Close the connection in the middle of a document."""
    data = text.encode()
    handler.send(200, data[: len(data) // 2], {"Content-Length": str(len(data))})
    handler.close_connection = True


def hang_up(handler: _Handler, text: str) -> None:
    """Close the connection without an answer."""
    handler.close_connection = True


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # head and body in one packet: the second would wait 40 ms
    server: OaiServer

    def do_GET(self) -> None:
        self._answer(urlsplit(self.path).query)

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())

    def _answer(self, text: str) -> None:
        query = {k: v[0] for k, v in parse_qs(text).items()}
        with self.server.lock:
            n = len(self.server.queries)
            self.server.queries.append(query)
            self.server.raw.append(text)
            self.server.headers.append(dict(self.headers.items()))
        deed = self.server.misbehave(n, query)
        document = self.server.answer(query)
        if deed is None:
            self.send(200, document, {})
        else:
            deed(self, document)

    def send(self, code: int, body: str | bytes, headers: dict[str, str]) -> None:
        data = body.encode() if isinstance(body, str) else body
        self.send_response(code)
        for name, value in ({"Content-Type": "text/xml", "Content-Length": str(len(data))} | headers).items():
            self.send_header(name, value)
        with suppress(ConnectionError):  # the client was killed
            self.end_headers()
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def serving(records: Iterable[Record], page_size: int = 3500) -> Iterator[OaiServer]:
    """A server, until the end of the context."""
    with OaiServer(records, page_size) as server:
        thread = threading.Thread(target=lambda: server.serve_forever(0.01))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
