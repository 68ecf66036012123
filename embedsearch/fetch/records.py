"""A record as an OAI server gives it, in the field names of arXiv's snapshot.

Two formats have all that a search needs. `arXivRaw` is what the snapshot is made of: every field but `authors_parsed`,
which readers here make of `authors`. `arXiv` has the authors in parts, but of the versions one day alone, `created`.
That shall be the day of the first one; arXiv's own server (github.com/arXiv/oaipmh) writes that of the version which it
shows. So it is left out where it is after the month that the id names, which a reader takes then. The `authors` of
`arXiv` is put together from the parts, without affiliations, and who submitted it is not known.

White space around a text is dropped (arXiv writes two blanks before an abstract), that inside is kept.
"""

from __future__ import annotations

from datetime import date
from typing import Any, Final

from embedsearch.corpus import month_of, normal_id

OAI: Final = "{http://www.openarchives.org/OAI/2.0/}"
NAMESPACES: Final = {
    "arXiv": "{http://arxiv.org/OAI/arXiv/}",
    "arXivRaw": "{http://arxiv.org/OAI/arXivRaw/}",
}
_ARXIV_NAME: Final = "oai:arxiv.org:"

Record = dict[str, Any]


class BadRecord(Exception):
    """A record that is not what its format says; the message names it."""


def to_record(element: Any, prefix: str) -> Record:
    """The record of a `<record>` element; {"id", "deleted", "update_date"} for one that was deleted.

    Raises BadRecord where it has no id, no day, or nothing in the format that was asked for.
    """
    header = element.find(f"{OAI}header")
    name = _text(header, f"{OAI}identifier") if header is not None else None
    if header is None or not name:
        raise BadRecord("a record without a name")
    day = (_text(header, f"{OAI}datestamp") or "")[:10]
    if not _is_day(day):
        raise BadRecord(f"{name} without a day")
    id = normal_id(name[len(_ARXIV_NAME) :] if name.lower().startswith(_ARXIV_NAME) else name).id
    if header.get("status") == "deleted":
        return {"id": id, "deleted": True, "update_date": day}
    metadata = element.find(f"{OAI}metadata/{NAMESPACES[prefix]}{prefix}")
    if metadata is None:
        raise BadRecord(f"{name} without <{prefix}>")
    return _snapshot(_Fields(metadata, NAMESPACES[prefix]), id, day, is_raw=prefix == "arXivRaw")


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


class _Fields:
    """The texts of the elements in one element."""

    def __init__(self, element: Any, namespace: str) -> None:
        self.element = element
        self.namespace = namespace

    def __call__(self, name: str) -> str | None:
        return _text(self.element, self.namespace + name)

    def all(self, path: str) -> list[_Fields]:
        found = self.element.findall("/".join(self.namespace + part for part in path.split("/")))
        return [_Fields(element, self.namespace) for element in found]


def _text(element: Any, name: str) -> str | None:
    """The text in the first element of this name, None where there is none or only white space."""
    found = element.find(name)
    return ("".join(found.itertext()).strip() or None) if found is not None else None


def _snapshot(field: _Fields, id: str, day: str, *, is_raw: bool) -> Record:
    authors = [] if is_raw else _authors(field)
    record = {
        "id": normal_id(field("id") or id).id,
        "submitter": field("submitter"),
        "authors": field("authors") or "" if is_raw else ", ".join(_written(author) for author in authors),
        "title": field("title") or "",
        "comments": field("comments"),
        "journal-ref": field("journal-ref"),
        "doi": field("doi"),
        "report-no": field("report-no"),
        "categories": field("categories") or "",
        "license": field("license"),
        "abstract": field("abstract") or "",
    }
    if is_raw:
        return record | {"versions": _versions(field), "update_date": day}
    del record["submitter"]
    created, month = field("created"), month_of(record["id"] or "")
    is_first = created is not None and (month is None or created[:7] <= month)
    return record | ({"created": created} if is_first else {}) | {"update_date": day, "authors_parsed": authors}


def _versions(field: _Fields) -> list[dict[str, str | None]]:
    return [{"version": v.element.get("version"), "created": v("date")} for v in field.all("version")]


def _authors(field: _Fields) -> list[list[str]]:
    """[[last, first, suffix, affiliations...], ...], as in the snapshot."""
    return [
        [a("keyname") or "", a("forenames") or "", a("suffix") or ""]
        + ["".join(affiliation.element.itertext()).strip() for affiliation in a.all("affiliation")]
        for a in field.all("authors/author")
    ]


def _written(author: list[str]) -> str:
    last, first, suffix = author[:3]
    return " ".join(part for part in (first, last, suffix) if part)
