"""Papers of mine: what somebody names by ids or has in a .bib, found in an index."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from embedsearch.corpus import doi_of, normal_id
from embedsearch.corpus.bib import SUFFIXES, BibEntry, read_bib
from embedsearch.errors import PaperNotFound
from embedsearch.scores import Rows
from embedsearch.search.view import StoreView
from embedsearch.store.catalogue import Catalogue
from embedsearch.store.filters import fold_name

log = logging.getLogger("embedsearch")

SHOWN = 5
"""So many of the papers that are not here are named, unless all are asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """A paper that was found: `label` is what it was asked for by, an id or the key of an entry.

    `by` is "id", "doi" or "title".
    """

    label: str
    id: str
    row: int
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """Papers of mine. `rows` (m,) are sorted and unique; two of `found` may be one paper; `missing` are labels."""

    rows: Rows = field(compare=False)
    found: tuple[Matched, ...]
    missing: tuple[str, ...]

    @property
    def ids(self) -> tuple[str, ...]:
        """Of the papers in the order in which they were named, each once."""
        return tuple(dict.fromkeys(one.id for one in self.found))

    @property
    def labels(self) -> dict[str, str]:
        """What each paper was first asked for by, by its id."""
        return {one.id: one.label for one in reversed(self.found)}


def find_library(index: StoreView | Catalogue, asked: Sequence[str], *, warn: bool = True) -> Library:
    """The papers that `asked` names: each is an id in any form, an address, a DOI, or the path of a .bib.

    An entry of a .bib is matched by its eprint, then its DOI, then its whole title, if an author agrees. What is not
    here is logged in one line, what is wrong with a .bib in another, in full where debugging is on; neither, if `warn`
    is off: who looks each morning knows it.

    Raises PaperNotFound where nothing is here; CorpusError for a .bib that cannot be read; MissingExtra.
    """
    catalogue = index.catalogue if isinstance(index, StoreView) else index
    found: list[tuple[str, int, str]] = []
    missing: list[str] = []
    for label, entry in _wanted(asked, warn=warn):
        matched = _match(catalogue, entry)
        if matched is None:
            missing.append(label)
        else:
            found.append((label, *matched))
    if not found:
        raise PaperNotFound(_none_of(index, asked, missing))
    if missing and warn:
        n, of = f"{len(missing):,}", f"{len(missing) + len(found):,}"
        log.warning("%s of %s papers are not in this index: %s", n, of, _first(missing, ", "))
    rows = np.unique(np.array([row for _, row, _ in found], np.int64))
    ids = dict(zip(rows.tolist(), catalogue.ids(rows), strict=True))
    matches = (Matched(label=label, id=ids[row], row=row, by=by) for label, row, by in found)
    return Library(rows=rows, found=tuple(matches), missing=tuple(missing))


def is_bib(asked: str) -> bool:
    """Whether this is the path of a file of BibTeX, and not an id."""
    return asked.lower().endswith(SUFFIXES)


def _wanted(asked: Sequence[str], *, warn: bool) -> Iterator[tuple[str, BibEntry]]:
    """A label for each paper, and what is known of it."""
    for one in asked:
        if not is_bib(one):
            yield one.strip(), BibEntry(key=one, eprint=normal_id(one).id, doi=doi_of(one))
            continue
        bib = read_bib(one)
        if bib.problems and warn:
            log.warning("%s: %s", one, _first(bib.problems, "; "))
        for entry in bib.entries:
            yield entry.key or entry.title or entry.eprint or "?", entry


def _first(lines: Sequence[str], mark: str) -> str:
    """The first of them, or all where debugging is on."""
    if len(lines) <= SHOWN or log.isEnabledFor(logging.DEBUG):
        return mark.join(lines)
    return f"{mark.join(lines[:SHOWN])} and {len(lines) - SHOWN:,} more (-v names all)"


def _match(catalogue: Catalogue, entry: BibEntry) -> tuple[int, str] | None:
    """The row of a paper, and what it was found by."""
    if entry.eprint is not None and (row := catalogue.row_of(entry.eprint)) is not None:
        return row, "id"
    if entry.doi is not None and (row := catalogue.row_of_doi(entry.doi)) is not None:
        return row, "doi"
    if not entry.title:
        return None
    rows = catalogue.rows_of_title(entry.title)
    if rows and entry.author:  # "Dark matter" is the title of more than one
        papers = catalogue.papers(np.array(rows, np.int64))
        rows = [paper.row for paper in papers if _is_by(entry.author, paper.authors)]
    return (rows[0], "title") if rows else None


def _is_by(author: str, names: Sequence[str]) -> bool:
    """Whether the words of a family name are those of one of `names`; of a paper without authors nobody knows."""
    wanted = set(fold_name(author))
    return not names or not wanted or any(wanted <= set(fold_name(name)) for name in names)


def _none_of(index: StoreView | Catalogue, asked: Sequence[str], missing: Sequence[str]) -> str:
    """Why nothing was found."""
    if isinstance(index, StoreView):
        n, where = f"{index.n_papers:,}", str(index.folder)
    else:
        n, where = f"{len(index):,}", "this index"
    if len(asked) == 1 and not is_bib(asked[0]):
        return f"expected the id of one of the {n} papers in {where}, found {asked[0]!r}"
    named = ", ".join(missing[:SHOWN]) + (", ..." if len(missing) > SHOWN else "")
    return f"expected some of the {len(missing):,} papers that were named among the {n} in {where}, found none: {named}"
