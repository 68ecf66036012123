"""Parts of a series by their titles: "Paper I" and "Paper II", two releases of a catalogue."""

from __future__ import annotations

import re

from embedsearch.store.filters import fold_name

FEWEST_WORDS = 2
"""Of what the titles of a series share, where nothing else says that they are one."""

_ROMAN = r"(?=[IVXL])(?:XL|L?X{0,3})(?:IX|IV|V?I{0,3})"
_PARTS = (
    # "Stem. Paper II: rest", "Stem, Part 2. rest", "Stem (Paper 2)"
    re.compile(rf"^(?P<stem>.+?)[\s.,:;–—(-]+(?:Paper|Part)\s+(?P<part>{_ROMAN}|\d{{1,2}})(?![\w])"),
    # "Stem. II. rest", "Stem - II: rest", "Stem (II)", "Stem, III"
    re.compile(rf"^(?P<stem>.+?)(?:[.,:;–—(]|\s-)\s*(?P<part>{_ROMAN})\)?(?:\s*[.,:;–—-]|$)"),
    # "Stem II: rest", "Stem II. rest"
    re.compile(rf"^(?P<stem>.+?)\s(?P<part>{_ROMAN})\s?[.:]\s"),
)
_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50}
_WHOLE_ROMAN = re.compile(_ROMAN)
_TOKENS = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+(?:-(?=[a-z]))?")


def part_of(title: str, *, fewest_words: int = FEWEST_WORDS) -> tuple[str, int] | None:
    """(what the titles of the series share, folded; the number of the part) of a title for people; None where it says
    of no part."""
    for pattern in _PARTS:
        if match := pattern.search(title):
            words = fold_name(match["stem"])
            number = _number(match["part"])
            if len(words) >= fewest_words and number:
                return " ".join(words), number
    return None


def numerals_of(title: str) -> tuple[list[str], list[str]]:
    """(the words of a title, folded, "#" in place of each numeral; the numerals as Arabic ones).

    A numeral is a number, also one that is part of a word ("DR11"), or a Roman one in capitals; the letters of
    "X-ray" and "L-band" are none.
    """
    words, numerals = [], []
    for token in _TOKENS.findall(title):
        is_roman = bool(_WHOLE_ROMAN.fullmatch(token))
        if token[0].isdigit() or is_roman:
            numerals.append(str(_number(token)) if is_roman else token.replace(",", ""))
            words.append("#")
        else:
            words += fold_name(token)
    return words, numerals


def _number(part: str) -> int:
    """Of a part in Arabic or in Roman numerals."""
    if part.isdigit():
        return int(part)
    values = [_VALUES[c] for c in part]
    return sum(-v if v < max(values[i:]) else v for i, v in enumerate(values))
