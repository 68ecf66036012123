"""A list of authors, however a corpus writes it, as one name each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

_BRACKETED: Final = re.compile(r"\([^()]*\)")
_BEHALF: Final = re.compile(
    r",?\s*\b(?:for|on behalf of)\s+(?:the\s+)?(?=[^,;]*\b(?:collaborations?|teams?|consorti(?:um|a)|groups?)\b)",
    re.IGNORECASE,
)
_COLLABORATION: Final = re.compile(r"(?<=collaboration)\s*:\s*|(?<=team)\s*:\s*|(?<=consortium)\s*:\s*", re.IGNORECASE)
_SUFFIX: Final = re.compile(r"(?:Jr|Sr)\.?|II|III|IV")
_SEPARATOR: Final = re.compile(r"\s*,\s*(?:and\s+|&\s+)?|\s+(?:and|&)\s+|\s*;\s*", re.IGNORECASE)
_AND: Final = re.compile(r"\s+and\s+")


def split_authors(text: str) -> tuple[str, ...]:
    """The names in "A. Name (MIT), B. Name and C. Name, for the XYZ Collaboration", first names first.

    Affiliations in parentheses are left out, a collaboration is an author of its own without its "the".
    "Last, First" is turned round where the separator (";", or BibTeX's "and") leaves no doubt.
    """
    folded = " ".join(text.split())
    while folded != (bare := _BRACKETED.sub(" ", folded)):  # parentheses may stand in parentheses
        folded = bare
    for separator in (re.compile(r"\s*;\s*"), _AND):
        parts = separator.split(folded)
        if len(parts) > 1 and all(part.count(",") == 1 for part in parts if part):
            return _tidied(" ".join(reversed(part.split(","))) for part in parts)
    names: list[str] = []
    for part in _SEPARATOR.split(_COLLABORATION.sub(", ", _BEHALF.sub(", ", folded))):
        if names and _SUFFIX.fullmatch(part):
            names[-1] += f" {part}"
        else:
            names.append(part)
    return _tidied(names)


def join_parsed(parsed: Iterable[Sequence[object]]) -> tuple[str, ...]:
    """The names of arXiv's `authors_parsed`: [[last, first, suffix, affiliations...], ...]."""
    return _tidied(
        " ".join(part for part in (*name[1:2], *name[:1], *name[2:3]) if isinstance(part, str)) for name in parsed
    )


def from_list(items: Iterable[object]) -> tuple[str, ...] | None:
    """The names of a list of names or of objects with a name. None where an item is neither."""
    names = [_named(item) if isinstance(item, Mapping) else item for item in items]
    return _tidied(name for name in names if isinstance(name, str)) if all(isinstance(n, str) for n in names) else None


def _named(item: Mapping[object, object]) -> object:
    if isinstance(name := item.get("name"), str):
        return name
    first = item.get("first") or item.get("given") or ""
    last = item.get("last") or item.get("family")
    return f"{first} {last}" if isinstance(last, str) else None


def _tidied(names: Iterable[str]) -> tuple[str, ...]:
    folded = (" ".join(name.replace("\0", "").split()).strip(",;") for name in names)
    return tuple(name[4:] if name[:4].lower() == "the " else name for name in folded if name)
