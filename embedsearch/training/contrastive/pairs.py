"""The pairs of texts that a contrastive training brings together: a title and its abstract, two halves of an abstract.

A title is in the words of the text for people, as it would be typed; an abstract is the text that is embedded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from embedsearch.corpus import to_text
from embedsearch.records import Paper
from embedsearch.sentences import sentences
from embedsearch.texts import Template

_ABSTRACT = Template.parse("{abstract}")
_WORD = re.compile(r"\w+")


class PairKind(Enum):
    """What of a paper is brought together; the values are what `--pairs` takes."""

    TITLE = "title"
    """The title, as a query, and the abstract, as a document."""

    HALVES = "halves"
    """The two halves of the abstract, both as documents: for papers without titles."""

    BOTH = "both"
    """A pair of either kind from each paper that has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two texts, prompts included, of the paper at position `paper`."""

    anchor: str
    positive: str
    paper: int


def title_of(paper: Paper) -> str:
    """The title as a person types it, "" where there is none."""
    return " ".join(to_text(paper.title).split())


def abstract_of(paper: Paper) -> str:
    """The abstract as it is embedded."""
    return _ABSTRACT.render(paper)


def title_key(paper: Paper) -> str:
    """The title's words in lower case: papers that share it are taken for the same one. "" where there is none."""
    return " ".join(_WORD.findall(title_of(paper).lower()))


def halves_of(text: str) -> tuple[str, str] | None:
    """The text cut where a sentence ends, as near to its middle as one does; None where it is one sentence."""
    found = sentences(text)
    if len(found) < 2:
        return None
    cuts = [(" ".join(found[:i]), " ".join(found[i:])) for i in range(1, len(found))]
    return min(cuts, key=lambda cut: abs(len(cut[0]) - len(cut[1])))


def make_pairs(
    papers: Sequence[Paper], kind: PairKind, *, query_prompt: str = "", document_prompt: str = ""
) -> list[Pair]:
    """The pairs of `papers`, in their order; a paper without what a pair takes gives none."""
    pairs = []
    for position, paper in enumerate(papers):
        abstract = abstract_of(paper)
        title = title_of(paper) if kind is not PairKind.HALVES else ""
        if title and abstract:
            pairs.append(Pair(anchor=query_prompt + title, positive=document_prompt + abstract, paper=position))
        halves = halves_of(abstract) if kind is not PairKind.TITLE else None
        if halves:
            first, second = (document_prompt + half for half in halves)
            pairs.append(Pair(anchor=first, positive=second, paper=position))
    return pairs
