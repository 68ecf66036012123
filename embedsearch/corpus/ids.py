"""One normal form for a paper's id, however somebody writes it, and what an id says by itself."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

CONTENT_ID_PREFIX: Final = "text:"
"""What the ids begin with that papers without one get from their text."""

_NEW: Final = r"[0-9]{2}(?:0[1-9]|1[0-2])\.[0-9]{4,5}"
_OLD: Final = r"[a-z]+(?:-[a-z]+)?(?:\.[a-z-]{2,})?/[0-9]{2}(?:0[1-9]|1[0-2])[0-9]{3}"
# What may stand before an id: a URL of arXiv or of one of its mirrors, a DOI of arXiv's, "arXiv:".
_BEFORE: Final = (
    r"(?:(?:https?://)?(?:[a-z]+\.)?arxiv\.org/(?:abs|pdf|html|format|ps|src)/"
    r"|(?:(?:https?://)?(?:dx\.|www\.)?doi\.org/|doi:\s*)?10\.48550/arxiv\."
    r"|arxiv:\s*)?"
)
# What may stand behind it: ".pdf", a query, a fragment, the "[astro-ph.GA]" that arXiv prints beside its ids.
_BEHIND: Final = r"(?:\.pdf)?/?(?:[?#]\S*)?(?:\s*\[[^\]]*\])?"
_ARXIV: Final = re.compile(
    rf"{_BEFORE}(?P<id>{_NEW}|{_OLD})(?:v(?P<version>[1-9][0-9]{{0,3}}))?{_BEHIND}", re.IGNORECASE
)
_SUBJECT: Final = re.compile(r"\.[a-z-]+(?=/)", re.IGNORECASE)
_NORMAL: Final = re.compile(rf"{_NEW}|[a-z]+(?:-[a-z]+)?/[0-9]{{7}}")
_DOI: Final = re.compile(r"(?:(?:https?://)?(?:dx\.|www\.)?doi\.org/|doi:\s*)?(10\.[0-9]{4,9}/\S+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class PaperId:
    """An id in normal form, and the version that was written behind it."""

    id: str
    version: int | None = None


def normal_id(text: str) -> PaperId:
    """The one form under which a paper is stored and looked up.

    arXiv's ids lose prefix, URL, DOI and version ("arXiv:2301.01234v2" is 2301.01234, version 2), and old ones
    their subject class (`math.GT/0309136` is `math/0309136`). Any other text is an id of another corpus and
    only loses the white space around it.
    """
    stripped = text.strip()
    found = _ARXIV.fullmatch(stripped)
    if found is None:
        return PaperId(stripped)
    version = found["version"]
    return PaperId(_SUBJECT.sub("", found["id"]).lower(), int(version) if version else None)


def is_arxiv_id(text: str) -> bool:
    """Whether the text is an arXiv id in normal form."""
    return month_of(text) is not None


def month_of(id: str) -> str | None:
    """The month in which arXiv gave out an id, "2023-01", and None for ids that are not arXiv's normal form."""
    if _NORMAL.fullmatch(id) is None:
        return None
    _, slash, digits = id.rpartition("/")
    year, month = int(digits[:2]), digits[2:4]
    # Old ids ran from August 1991 to March 2007, new ones since April 2007: their two digits never meet.
    is_possible = (year >= 91 or year <= 7) if slash else int(digits[:4]) >= 704
    if not is_possible or not "01" <= month <= "12":
        return None
    return f"{1900 + year if slash and year >= 91 else 2000 + year}-{month}"


def doi_of(text: str) -> str | None:
    """The DOI that a text is, bare or as a URL, in lower case. None for other texts and for arXiv's own DOIs."""
    found = _DOI.fullmatch(text.strip())
    if found is None or found[1].lower().startswith("10.48550/arxiv."):
        return None
    return found[1].lower()


def content_id(title: str, abstract: str) -> str:
    """An id for papers of a corpus without ids: the same text has the same id, whatever its line breaks."""
    folded = "\0".join(" ".join(part.split()) for part in (title, abstract))
    # "surrogatepass": any str has an id, also one that could not be written to a file.
    return CONTENT_ID_PREFIX + hashlib.sha256(folded.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def sample_key(id: str, seed: int) -> int:
    """Where a paper stands in the order that `--sample N --seed S` takes its N smallest from.

    It depends on nothing but id and seed. 0 <= key < 2**63, which SQLite's signed integers can hold.
    """
    digest = hashlib.sha256(f"{seed}:{id}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8]) >> 1
