"""What a map says of its papers: titles, authors, categories, years; and the texts that name its regions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedsearch.corpus import month_of, sample_key
from embedsearch.map.terms import MOST_TEXTS
from embedsearch.store.catalogue import Catalogue, StoredPaper
from embedsearch.store.manifest import read_manifest

CHUNK = 10_000
"""Papers that are read at once: a statement of SQLite has a limit."""
_TOGETHER = re.compile(r"\b(collaborations?|teams?|consorti(um|a)|groups?|members)\b", re.IGNORECASE)
_SUFFIX = re.compile(r"(Jr|Sr)\.?|II|III|IV")


@dataclass(slots=True, kw_only=True)
class MapPapers:
    """Of n papers in the order of their ids, as `MapPoints` has them. `texts` are (title, abstract) of those at the
    positions `of_texts` (m,) int64, none where no store knows them."""

    ids: Sequence[str]
    titles: list[str] = field(init=False)
    authors: list[str] = field(init=False)
    categories: list[str] = field(init=False)
    years: NDArray[np.int16] = field(init=False)
    texts: list[tuple[str, str]] = field(default_factory=list)
    of_texts: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    def __post_init__(self) -> None:
        n = len(self.ids)
        self.titles, self.authors, self.categories = [""] * n, [""] * n, [""] * n
        # What is no store's may still have arXiv's ids, which tell the month
        self.years = np.array([int((month_of(id) or "0")[:4]) for id in self.ids], np.int16)

    def note(self, position: int, stored: StoredPaper) -> None:
        """Take what a catalogue says of the paper at this position."""
        self.titles[position] = stored.title
        self.authors[position] = short_authors(stored.authors)
        if stored.paper.categories:
            self.categories[position] = stored.paper.categories[0]
        if stored.paper.published:
            self.years[position] = int(stored.paper.published[:4])


def read_papers(ids: Sequence[str], folders: Sequence[Path], *, seed: int = 0) -> MapPapers:
    """Of each of `ids`, from the first of the stores in `folders` that knows it.

    Texts of MOST_TEXTS papers at most, those with the smallest hash of (seed, id). Raises what opening a store raises.
    """
    papers = MapPapers(ids=ids)
    with_text = set(sorted(ids, key=lambda id: sample_key(id, seed))[:MOST_TEXTS]) if folders else set()
    texts: dict[int, tuple[str, str]] = {}
    positions = {id: i for i, id in enumerate(ids)}
    for folder in folders:
        catalogue = Catalogue(folder / read_manifest(folder).serving.papers.name)
        rows = [row for id in positions if (row := catalogue.row_of(id)) is not None]
        for first in range(0, len(rows), CHUNK):
            for stored in catalogue.papers(np.array(rows[first : first + CHUNK])):
                position = positions.pop(stored.paper.id)
                papers.note(position, stored)
                if stored.paper.id in with_text:
                    texts[position] = (stored.title, stored.abstract)
    papers.of_texts = np.array(sorted(texts), np.int64)
    papers.texts = [texts[i] for i in sorted(texts)]
    return papers


def short_authors(names: Sequence[str]) -> str:
    """`Li`, `Li & Xu` or `Li et al.`: the family names, each name in the order of its paper ("J. M. van der Berg")."""
    shown = [_family(name) for name in names[:2]]
    if len(names) > 2:
        return f"{shown[0]} et al."
    return " & ".join(shown)


def _family(name: str) -> str:
    """The last word, with the particles before it; the whole name of those that work together."""
    words = name.split()
    if len(words) > 1 and _SUFFIX.fullmatch(words[-1]):
        words = words[:-1]
    if not words or _TOGETHER.search(name):
        return name
    particle = next((i for i, word in enumerate(words[1:], 1) if word.isalpha() and word.islower()), len(words) - 1)
    return " ".join(words[particle:])
