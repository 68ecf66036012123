"""What kind of pair two papers are that are nearly the same: by a rule from titles, authors and words.

The first of these that holds. Title words are compared without case, accents and punctuation; "have an author in
common" means a surname, and passes where the authors of either are not known.

1. comment: one title begins as a comment, a reply, an erratum or the like, and most words of what it is about are in
   the other title.
2. thesis: one says in its comments, its journal reference or its title that it is one, and they have an author in
   common.
3. series: the titles have one stem and different numbers of a part ("The survey. II. A map"), or are nearly the same
   but for their numerals ("DR8", "4.0"), and they have an author in common.
4. proceedings: one says that it is of a conference, they have an author in common and a quarter of the words.
5. same: nine of ten words of the abstracts are the same, or the title is the same and three of four are.
6. revised: the title is the same, or its stems nearly are with two of five words the same.
7. series: the titles begin with the same words before a colon or a full stop ("The survey: a map"), and they are known
   to have an author in common.
8. reused: half of the words are the same, or arXiv's note on text overlap in one names the other.
9. other: nothing of this. Often two papers of one group on one subject, or two of one subject in a space that does not
   tell them apart.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from embedsearch.duplicates.series import numerals_of, part_of
from embedsearch.duplicates.words import common_words
from embedsearch.keywords import words_of
from embedsearch.store.catalogue import StoredPaper
from embedsearch.store.filters import fold_name


class Kind(Enum):
    """What two papers are to one another; the value is its name in results. See the module for the rule."""

    SAME = "same"
    """One work under two ids."""
    REVISED = "revised"
    """One title, the abstract written anew."""
    SERIES = "series"
    """Parts of a series, or releases of one catalogue."""
    THESIS = "thesis"
    """A thesis, and a paper of its author."""
    PROCEEDINGS = "proceedings"
    """A contribution to a conference, and what else its authors wrote of it."""
    COMMENT = "comment"
    """A comment, a reply or an erratum, and what it is about."""
    REUSED = "reused"
    """Two works that share their text."""
    OTHER = "other"
    """The rule cannot tell."""


@dataclass(frozen=True, slots=True)
class Told:
    """The kind of a pair, and why, in a few words for people."""

    kind: Kind
    why: str


NEARLY_ALL, MOST, HALF, SOME, FEW = 0.9, 0.75, 0.5, 0.4, 0.25
"""Shares of the words of two abstracts, see the module."""
NEARLY_EQUAL = 0.8
"""Share of the words of two titles."""
ABOUT = 0.6
"""Share of the words of what a comment is about that the other title has."""

_COMMENT = re.compile(
    r"^\W*(?:a |the )?(?:(?:comments?|remarks?|note) (?:on|to)\b|(?:reply|response|rejoinder) to\b|errat(?:um|a)\b"
    r"|corrigend(?:um|a)\b|addendum\b|correction(?: to|:)|publisher.?s note\b|author.?s note\b|retract(?:ion|ed)\b)",
    re.IGNORECASE,
)
_COMMENT_AT_END = re.compile(r"[:(\[.–-]\s*(?:an? )?(comment|reply|erratum|corrigendum|addendum)\W*$", re.IGNORECASE)
_THESIS = re.compile(r"\b(?:thesis|dissertation|habilitation)\b", re.IGNORECASE)
_PART_OF_THESIS = re.compile(
    r"\b(?:part|based|chapters?|from|taken|extracted|after|during)\b[^.;]{0,40}$", re.IGNORECASE
)
_CONFERENCE = re.compile(
    r"\b(?:proceedings?|proc\.|conf\.|conference|symposium|workshop|poster|colloquium|SPIE|ICRC|contribution to"
    r"|contributed (?:talk|paper)|presented at|summer school|winter school)(?!\w)",
    re.IGNORECASE,
)
_CONTRIBUTIONS = re.compile(
    r"\b(?:proceedings|contributions?) (?:of|to) .*(?:conference|symposium|workshop)", re.IGNORECASE
)
_JOURNAL = re.compile(
    r"\b(?:proceedings?|proc\.?) (?:of the )?(?:(?:US |U\.S\. )?nat(?:ional|l)?\.? |royal |r\.? ?soc|ieee\b)",
    re.IGNORECASE,
)
_START = re.compile(r"([^:.]{2,60})(?::|\.)\s")
_OVERLAP = re.compile(r"text overlap with (?:arXiv[: ])?(.*)", re.IGNORECASE | re.DOTALL)


def kind_of(first: StoredPaper, second: StoredPaper, common: float) -> Told:
    """The kind of a pair; `common` is the share of the words of the abstracts that both have (`compare_words`)."""
    told = _comment(first, second)
    if told is None and _have_author_in_common(first, second):
        told = _thesis(first, second) or _series(first, second) or _proceedings(first, second, common)
    return told or _by_words(first, second, common)


def _by_words(first: StoredPaper, second: StoredPaper, common: float) -> Told:
    is_same = fold_name(first.title) == fold_name(second.title) != []
    stems = words_of(first.title), words_of(second.title)
    is_nearly = is_same or (all(stems) and common_words(*stems) >= NEARLY_EQUAL)
    share = f"{_percent(common)} of the words in common{_by_whom(first, second)}"
    why = f"{'the same title' if is_same else 'nearly the same title'}, {share}" if is_nearly else share
    if common >= NEARLY_ALL or (is_same and common >= MOST):
        return Told(Kind.SAME, why)
    if is_same or (is_nearly and common >= SOME):
        return Told(Kind.REVISED, why)
    if (told := _of_one_name(first, second)) is not None:
        return told
    if common >= HALF:
        return Told(Kind.REUSED, why)
    if _names_overlap(first, second) or _names_overlap(second, first):
        return Told(Kind.REUSED, f"arXiv notes text overlap, {share}")
    return Told(Kind.OTHER, share)


def _comment(first: StoredPaper, second: StoredPaper) -> Told | None:
    for one, other in ((first, second), (second, first)):
        begins, ends = _COMMENT.search(one.title), _COMMENT_AT_END.search(one.title)
        if begins or ends:
            about = one.title[begins.end() :] if begins else one.title[: ends.start() if ends else 0]
            words, there = set(fold_name(about)), set(fold_name(other.title))
            name = begins[0].strip(" \t:([") if begins else ends[1] if ends else ""
            # An erratum may say no more than its name.
            if not words or len(words & there) >= ABOUT * len(words):
                return Told(Kind.COMMENT, f"{one.paper.id}: {name}")
    return None


def _thesis(first: StoredPaper, second: StoredPaper) -> Told | None:
    theses = [paper for paper in (first, second) if is_thesis(paper)]
    return Told(Kind.THESIS, f"{theses[0].paper.id} is a thesis") if len(theses) == 1 else None


def is_thesis(paper: StoredPaper) -> bool:
    """Whether it says so of itself, in its comments, its journal reference or its title."""
    for text in (paper.paper.comments, paper.paper.journal_ref, paper.title):
        if text and (match := _THESIS.search(text)) and not _PART_OF_THESIS.search(text[: match.start()]):
            return True
    return False


def _series(first: StoredPaper, second: StoredPaper) -> Told | None:
    parts = part_of(first.title, fewest_words=1), part_of(second.title, fewest_words=1)
    if parts[0] and parts[1] and parts[0][0] == parts[1][0] and parts[0][1] != parts[1][1]:
        return Told(Kind.SERIES, f"parts {parts[0][1]} and {parts[1][1]}")
    words, numerals = zip(numerals_of(first.title), numerals_of(second.title), strict=True)
    is_same = common_words(*words) >= NEARLY_EQUAL
    if is_same and all(numerals) and numerals[0] != numerals[1]:
        return Told(Kind.SERIES, f"{' '.join(numerals[0])} and {' '.join(numerals[1])} in the title")
    return None


def _of_one_name(first: StoredPaper, second: StoredPaper) -> Told | None:
    starts = _START.match(first.title), _START.match(second.title)
    if starts[0] and starts[1] and surnames(first) & surnames(second):
        names = fold_name(starts[0][1]), fold_name(starts[1][1])
        if names[0] == names[1] != []:
            return Told(Kind.SERIES, f"both {starts[0][1]}")
    return None


def _proceedings(first: StoredPaper, second: StoredPaper, common: float) -> Told | None:
    there = [paper.paper.id for paper in (first, second) if is_proceedings(paper)]
    return Told(Kind.PROCEEDINGS, f"conference: {', '.join(there)}") if there and common >= FEW else None


def is_proceedings(paper: StoredPaper) -> bool:
    """Whether its comments or its journal reference say that it is of a conference, or its title that it is all of a
    group's contributions to one."""
    texts = (paper.paper.comments, paper.paper.journal_ref)
    says_so = any(bool(text and _CONFERENCE.search(_JOURNAL.sub("", text))) for text in texts)
    return says_so or bool(_CONTRIBUTIONS.search(paper.title))


def _names_overlap(one: StoredPaper, other: StoredPaper) -> bool:
    match = _OVERLAP.search(one.paper.comments or "")
    return match is not None and other.paper.id in match[1]


def surnames(paper: StoredPaper) -> frozenset[str]:
    """The last word of each author's name, folded."""
    return frozenset(words[-1] for name in paper.authors if (words := fold_name(name)))


def _have_author_in_common(first: StoredPaper, second: StoredPaper) -> bool:
    names = surnames(first), surnames(second)
    return not all(names) or bool(names[0] & names[1])


def _by_whom(first: StoredPaper, second: StoredPaper) -> str:
    """Nothing where the authors of either are not known."""
    names = surnames(first), surnames(second)
    if not all(names):
        return ""
    n = len(names[0] & names[1])
    if names[0] == names[1]:
        return ", by the same authors"
    return f", {n:,} author{'s' * (n != 1)} in common" if n else ", no author in common"


def _percent(share: float) -> str:
    """Never 100 % of what is not all the same."""
    return "all" if share == 1 else f"{min(share, 0.99):.0%}".replace("%", " %")
