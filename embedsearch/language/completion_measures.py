"""What can be said of a completion by counting: repetition, length, and the numbers and names that nobody gave it.

Pure functions over texts for people (`corpus.to_text`), without a model.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from embedsearch.texts import designations

REPETITION_N = 4
"""Words in a row of which the repeated share is told, as Welleck et al. 2019 (arXiv:1908.04319) do."""

_WORD = re.compile(r"[^\W_]+")
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_NUMBER = re.compile(
    r"(?<![\w.])(?P<mantissa>(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)"
    r"(?:\s?[×x·]\s?10(?P<power>[⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]{1,6})|(?P<of_ten>(?<=(?<![\d.,])10)[⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]{1,6})"
    r"|[eE](?P<e>[+-]?\d{1,3})(?!\w))?"
    r"(?![A-Z\d])"
)
_ARXIV = re.compile(r"arXiv:\s?(\d{4}\.\d{4,5}|[a-z-]+(?:\.[A-Z]{2})?/\d{7})(?!\d)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mention:
    """A number or the name of an object, text[start:end]. `key` is what its spellings share.

    `is_known`: the text that was given, or the one that is true, has it too.
    """

    start: int
    end: int
    text: str
    key: str
    is_number: bool
    is_known: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TextMeasures:
    """One completion by counting. Shares are from 0 to 1, None where there is nothing to count.

    `repetition`: of the runs of four words, those that were there before. `distinct_1` and `distinct_2`: as in
    `distinct`. `mentions` in the order of the text.
    """

    n_words: int
    repetition: float | None
    distinct_1: float | None
    distinct_2: float | None
    mentions: tuple[Mention, ...]

    def keys(self, *, numbers: bool) -> dict[str, Mention]:
        """The different numbers, or the different names, each where it is first mentioned."""
        found: dict[str, Mention] = {}
        for mention in self.mentions:
            if mention.is_number is numbers:
                found.setdefault(mention.key, mention)
        return found

    def known_share(self, *, numbers: bool) -> float | None:
        """How many of the different numbers, or names, the given or the true text has."""
        found = self.keys(numbers=numbers).values()
        return sum(mention.is_known for mention in found) / len(found) if found else None

    def invented(self, *, numbers: bool) -> tuple[str, ...]:
        """The numbers, or names, that neither text has, as they are first written."""
        return tuple(mention.text for mention in self.keys(numbers=numbers).values() if not mention.is_known)


def measure_text(text: str, *, known: Sequence[str]) -> TextMeasures:
    """Measure the completion `text`; what stands in one of the texts `known` is not invented."""
    words = words_of(text)
    return TextMeasures(
        n_words=len(words),
        repetition=repetition(words),
        distinct_1=distinct(words, 1),
        distinct_2=distinct(words, 2),
        mentions=mentions(text, known=known),
    )


def words_of(text: str) -> list[str]:
    """Letters and digits in a row, in lower case."""
    return _WORD.findall(text.lower())


def repetition(words: Sequence[str], *, n: int = REPETITION_N) -> float | None:
    """The share of the n-grams that are repetitions: 1 - different / all. None for fewer than n words.

    seq-rep-n of Welleck et al. 2019, Neural Text Generation with Unlikelihood Training, arXiv:1908.04319, over words.
    """
    grams = _grams(words, n)
    return 1 - len(set(grams)) / len(grams) if grams else None


def distinct(words: Sequence[str], n: int) -> float | None:
    """Different n-grams over the number of *words*, so that at most 1 - (n - 1) / words is reached; None without words.

    distinct-n of Li et al. 2016, A Diversity-Promoting Objective Function, arXiv:1510.03055, section 5.2. It falls with
    the length of a text: compare texts of one length.
    """
    return len(set(_grams(words, n))) / len(words) if words else None


def _grams(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return list(zip(*(words[i:] for i in range(n)), strict=False))


def mentions(text: str, *, known: Sequence[str] = ()) -> tuple[Mention, ...]:
    """The numbers and the names of objects in `text`, in order; those that one of `known` has are known.

    Names are the catalogue names of `texts.designations` with a number in them (NGC 1333 and NGC1333 are one) and
    arXiv's ids. A number's sign is not looked at, as a dash between two numbers is none, nor is its precision: 0.30 is
    0.3, and 1.2×10³ is 1,200. Digits in a name, an index, or before a capital letter (3D, 2MASS) are no number; a
    number in words is not found. No measure of the literature: it counts what a reader would look up, and a number that
    is right by chance, such as a year, counts as known.
    """
    names = {key for other in known for _, _, key in _names(other)}
    numbers = {key for other in known for _, _, key in _numbers(other)}
    found = [(*name, False, name[2] in names) for name in _names(text)]
    found += [(*number, True, number[2] in numbers) for number in _numbers(text)]
    return tuple(
        Mention(start=start, end=end, text=text[start:end], key=key, is_number=is_number, is_known=is_known)
        for start, end, key, is_number, is_known in sorted(found)
    )


def _names(text: str) -> list[tuple[int, int, str]]:
    """(start, end, key) of each name. Spectral lines and ions have no digit, and are no objects."""
    found = [
        (name.start, name.end, name.folded)
        for name in designations(text)
        if name.folded == "sgra" or any(map(str.isdigit, name.folded))
    ]
    taken = {position for start, end, _ in found for position in range(start, end)}
    papers = [(match.start(), match.end(), f"arxiv:{match[1].lower()}") for match in _ARXIV.finditer(text)]
    return found + [paper for paper in papers if taken.isdisjoint(range(paper[0], paper[1]))]


def _numbers(text: str) -> Iterator[tuple[int, int, str]]:
    """(start, end, key) of each number that is no part of a name."""
    taken = {position for start, end, _ in _names(text) for position in range(start, end)}
    for match in _NUMBER.finditer(text):
        if taken.isdisjoint(range(match.start(), match.end())):
            yield match.start(), match.end(), _key(match)


def _key(match: re.Match[str]) -> str:
    """The value as a text that all of its spellings share."""
    mantissa = Decimal(match["mantissa"].replace(",", ""))
    power = match["power"] or match["e"] or ""
    exponent = int(power.translate(_SUPERSCRIPTS) or 0)
    if match["of_ten"]:
        mantissa, exponent = Decimal(1), int(match["of_ten"].translate(_SUPERSCRIPTS))
    digits = mantissa.as_tuple()
    significant = "".join(map(str, digits.digits)).lstrip("0")
    kept = significant.rstrip("0")
    return f"{kept or 0}e{int(digits.exponent) + exponent + len(significant) - len(kept) if kept else 0}"
