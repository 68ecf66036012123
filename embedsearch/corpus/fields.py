"""From a record of a file to a Paper: which column is which, and what its values mean."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from embedsearch.corpus.authors import from_list, join_parsed, split_authors
from embedsearch.corpus.ids import content_id, doi_of, is_arxiv_id, month_of, normal_id
from embedsearch.errors import CorpusError, OptionError
from embedsearch.records import Paper

# Field of a Paper: the names that columns go by, arXiv's snapshot's among them. The first that a file has is taken.
CONVENTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "id": ("id", "_id", "arxiv_id", "paper_id", "arxiv", "eprint"),
    "abstract": ("abstract", "abstracts", "summary", "text", "description", "content"),
    "title": ("title", "titles", "name"),
    "authors": ("authors_parsed", "authors", "author"),
    "categories": ("categories", "category", "primary_category", "subjects"),
    "published": ("versions", "published", "publication_date", "date", "pubdate", "created", "year"),
    "updated": ("updated", "update_date"),
    "doi": ("doi",),
    "journal_ref": ("journal-ref", "journal_ref", "journal"),
    "comments": ("comments", "comment"),
    "licence": ("license", "licence"),
}
# Columns of the arXiv snapshot that would only take room in `extra`: their content is elsewhere, or nobody's search.
DROPPED: Final = frozenset({"submitter", "report-no", "authors_parsed", "versions", "authors", "deleted"})
_LONGEST_LIST: Final = 64  # longer ones in other columns are vectors, no facts about a paper
_ISO: Final = re.compile(r"([0-9]{4})(?:[-/]([0-9]{2})(?:[-/]([0-9]{2})(?:[T ].*)?)?)?", re.DOTALL)


class Columns:
    """Which column of a file stands for which field of a Paper.

    `fields` overrides the conventions: {"abstract": "summary"}; an empty name leaves a field out. Raises OptionError
    for a field that no Paper has.
    """

    def __init__(self, fields: Mapping[str, str] | None = None) -> None:
        self.named = dict(fields or {})
        for field in self.named:
            if field not in CONVENTIONS:
                raise OptionError(f"expected a field of a paper ({', '.join(CONVENTIONS)}), found {field!r}")
        self._known: dict[tuple[str, ...], dict[str, str]] = {}

    def of(self, names: tuple[str, ...]) -> dict[str, str]:
        """Field -> column, for a file or a record with columns of these names."""
        if (known := self._known.get(names)) is None:
            if len(self._known) > 1000:  # records that invent columns shall not fill the memory
                self._known.clear()
            known = self._known[names] = self._resolve(names)
        return known

    def missing(self, names: Sequence[str]) -> str | None:
        """What is wrong with a file that has no columns but these, None where nothing is."""
        found = f"found the columns {', '.join(names) or '(none)'}"
        for field, column in self.named.items():
            if column and column not in names:
                return f"expected a column {column!r} ({field}), {found}"
        if "abstract" not in self.of(tuple(names)):
            known = ", ".join(CONVENTIONS["abstract"])
            return f"expected a column of abstracts ({known}), {found}; name it with the field abstract=COLUMN"
        return None

    def _resolve(self, names: tuple[str, ...]) -> dict[str, str]:
        lower = {name.strip().lower(): name for name in reversed(names)}
        chosen = {field: column for field, column in self.named.items() if column in names}
        for field, candidates in CONVENTIONS.items():
            if field not in self.named:
                column = next((lower[c] for c in candidates if c in lower and lower[c] not in chosen.values()), None)
                chosen |= {field: column} if column is not None else {}
        return chosen


def to_paper(record: Mapping[str, object], columns: Columns) -> Paper:
    """The Paper that a record holds. Raises CorpusError, without the place, for a value of a wrong type."""
    column = columns.of(tuple(record))

    def value(field: str) -> object:
        return record.get(column[field]) if field in column else None

    def text(field: str) -> str:
        return _text(value(field), column.get(field, field))

    abstract, title, doi = text("abstract"), text("title"), text("doi")
    id, version = _identify(value("id"), column.get("id", "id"), doi, title=title, abstract=abstract)
    published = value("published")
    if _is_versions(published):
        published, version = _first_and_last(published, version)
    categories = _categories(value("categories"), column.get("categories", "categories"))
    return Paper(
        id=id,
        abstract=abstract,
        title=title,
        authors=_authors(record, value("authors"), column),
        categories=categories,
        published=_date(published, column.get("published", "")) or month_of(id),
        updated=_date(value("updated"), column.get("updated", "")),
        version=version,
        doi=None if is_arxiv_id(normal_id(doi).id) else doi_of(doi) or doi or None,
        journal_ref=text("journal_ref") or None,
        comments=text("comments") or None,
        licence=text("licence") or None,
        deleted=is_deletion(record),
        extra=_extra(record, set(column.values())),
    )


def is_deletion(record: Mapping[str, object]) -> bool:
    """Whether a record says that a paper is no more, as `fetch` writes it: {"id": ..., "deleted": true}."""
    return record.get("deleted") is True


def kind(value: object) -> str:
    """What a value is, in the words of a message."""
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}
    return "null" if value is None else names.get(type(value), type(value).__name__)


def _text(value: object, column: str) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):  # NaN: pandas' empty cell
        return ""
    if not isinstance(value, str):
        raise CorpusError(f"expected text in {column!r}, found {kind(value)}")
    return value.replace("\0", "").strip()


def _identify(value: object, column: str, doi: str, *, title: str, abstract: str) -> tuple[str, int | None]:
    if isinstance(value, float) and not math.isnan(value):
        raise CorpusError(
            f"expected text in {column!r}, found the number {value!r}: as a number the id 0704.0010 loses its zeros; "
            "write the ids as text"
        )
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)  # arXiv's ids have a dot or a slash: a whole number is an id of another corpus, and whole
    text = _text(value, column)
    if not text and is_arxiv_id(normal_id(doi).id):
        text = doi
    found = normal_id(text)
    return (found.id, found.version) if found.id else (content_id(title, abstract), None)


def _is_versions(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(v, dict) for v in value)


def _first_and_last(versions: object, version: int | None) -> tuple[object, int | None]:
    """Date of the first version and number of the last, from [{"version": "v1", "created": RFC 2822}, ...]."""
    assert isinstance(versions, list)
    created = versions[0].get("created") if versions else None
    last = str(versions[-1].get("version", "")) if versions else ""
    number = last.removeprefix("v")
    return created, int(number) if number.isascii() and number.isdigit() and len(number) < 5 else version


def _authors(record: Mapping[str, object], value: object, column: Mapping[str, str]) -> tuple[str, ...]:
    name = column.get("authors", "authors")
    if name == "authors_parsed":
        if isinstance(value, list) and value and all(isinstance(item, list) for item in value):
            return join_parsed(value)
        value = record.get("authors")
    if isinstance(value, list):
        names = from_list(value)
        if names is None:
            raise CorpusError(f"expected names in {name!r}, found a list of something else")
        return names
    return split_authors(_text(value, name))


def _categories(value: object, column: str) -> tuple[str, ...]:
    parts = value if isinstance(value, list) else [value]
    names = (name for part in parts for name in re.split(r"[\s,;]+", _text(part, column)) if name)
    return tuple(dict.fromkeys(names))


def _date(value: object, column: str) -> str | None:
    """An ISO date (2023, 2023-01 or 2023-01-15), as precise as the value is."""
    if isinstance(value, float):
        if math.isnan(value):
            return None
        value = int(value) if value.is_integer() else value
    if isinstance(value, int) and not isinstance(value, bool) and 1000 <= value <= 9999:
        return str(value)
    if isinstance(value, date):  # a datetime is one, too; pandas' missing one has no year
        return value.isoformat()[:10] if value == value else None
    text = _text(value, column) if value is None or isinstance(value, str) else repr(value)
    if not text:
        return None
    if found := _ISO.fullmatch(text):
        year, month, day = found.groups()
        # ADS writes 2023-01-00 where it does not know the day.
        known = [year] if month in (None, "00") else [year, month] if day in (None, "00") else [year, month, day]
        return _valid("-".join(known), text, column)
    try:
        return parsedate_to_datetime(text).astimezone(UTC).date().isoformat()
    except (ValueError, OverflowError):
        raise CorpusError(_no_date(text, column)) from None


def _valid(iso: str, text: str, column: str) -> str:
    try:
        datetime.fromisoformat(iso + "0000-01-01"[len(iso) :])
    except ValueError:
        raise CorpusError(_no_date(text, column)) from None
    return iso


def _no_date(text: str, column: str) -> str:
    return (
        f"expected a date such as 2023-01-15 in {column!r}, found {text[:40]!r}; "
        "the field published= with no column leaves dates out"
    )


def _extra(record: Mapping[str, object], used: set[str]) -> dict[str, object]:
    return {
        name: plain
        for name, value in record.items()
        if name not in used and name not in DROPPED and (plain := _plain(value)) not in (None, "", [], {})
    }


def _plain(value: object) -> object:
    """The value if JSON can hold it; dates as text; None for what it cannot hold and for vectors."""
    if isinstance(value, (list, dict)):
        if len(value) > _LONGEST_LIST:
            return None
        items = value.items() if isinstance(value, dict) else enumerate(value)
        inner = [(key, _plain(item)) for key, item in items]
        return {str(k): v for k, v in inner} if isinstance(value, dict) else [v for _, v in inner]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, date):
        return value.isoformat() if value == value else None
    return value if isinstance(value, (str, int)) else None
