"""A query as the keyword index understands it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from embedsearch.corpus import to_text
from embedsearch.keywords.words import author_words, words_of
from embedsearch.texts import Designation, designations

MAX_QUERY_CHARS = 10_000
MAX_QUERY_WORDS = 512


def clean(text: str) -> str:
    """`text` without what no query means: lone surrogates, control characters; cut at MAX_QUERY_CHARS."""
    cut = text[:MAX_QUERY_CHARS].encode("utf-8", "ignore").decode()
    return "".join(c if c.isprintable() else " " for c in cut).strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeywordQuery:
    """A query as the index understands it: what each field is asked for, and the words that a reader would mark."""

    phrases: tuple[tuple[str, ...], ...]
    quoted_names: tuple[str, ...]
    words: tuple[str, ...]
    names: tuple[str, ...]
    authors: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> KeywordQuery:
        """Read any string: control characters are spaces, what is past MAX_QUERY_CHARS or MAX_QUERY_WORDS is dropped.

        Words are joined by OR. "Words in quotation marks" must stand so in a paper; a phrase of one word is that word.
        """
        plain = _MARKS.sub('"', to_text(clean(text)))
        quoted = _QUOTED.findall(plain)
        free = _QUOTED.sub(" ", plain).replace('"', " ")
        found = designations(free)
        for name in reversed(found):
            free = f"{free[: name.start]} {free[name.end :]}"
        # A quoted designation is asked for in any of its spellings.
        quoted_names = {part: name.folded for part in quoted for name in designations(part) if _spans(name, part)}
        phrases = [tuple(words_of(part)[:MAX_QUERY_WORDS]) for part in quoted if part not in quoted_names]
        return cls(
            phrases=tuple(dict.fromkeys(phrase for phrase in phrases if phrase)),
            quoted_names=tuple(dict.fromkeys(quoted_names.values())),
            words=tuple(dict.fromkeys(words_of(free)))[:MAX_QUERY_WORDS],
            names=tuple(dict.fromkeys(name.folded for name in found))[:MAX_QUERY_WORDS],
            authors=tuple(dict.fromkeys(author_words(free)))[:MAX_QUERY_WORDS],
        )


_MARKS = re.compile("[“”„«»]")
# Not behind a word: 5" seeing is of arcseconds.
_QUOTED = re.compile(r'(?<![\w"])"([^"]+)"')


def _spans(name: Designation, part: str) -> bool:
    return part[name.start : name.end].strip() == part.strip()
