"""What is found of papers that are nearly the same."""

from __future__ import annotations

from dataclasses import dataclass

from embedsearch.duplicates.kinds import Kind
from embedsearch.duplicates.words import Change


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicatePair:
    """Two papers that are nearly the same.

    What comes in twos is of the older and of the newer one, by `published` and then by id; titles are texts for people.
    `words_in_common` is the share of the words of the abstracts that both have, from 0 to 1, `changes` are the
    differences from the older one's to the newer one's. `why` says in a few words what `kind` was told from. `group` is
    the number of the Group that both are in.
    """

    rank: int
    ids: tuple[str, str]
    titles: tuple[str, str]
    published: tuple[str | None, str | None]
    cosine: float
    kind: Kind
    why: str
    words_in_common: float
    changes: tuple[Change, ...]
    group: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Papers that a chain of pairs joins, in the order of their ids; titles are texts for people. The largest has the
    number 1."""

    number: int
    ids: tuple[str, ...]
    titles: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicates:
    """What was found among `n_papers`: `n_pairs` with a cosine of at least `min_cosine`, of which `pairs` are the
    closest, and all `groups`. `n_by_title` of them are below it, and there for their title.

    `is_exact`: all pairs were looked at; else those that the index proposed. `is_centered`: cosines are about the mean
    of these papers. `mean_cosine` is that of all pairs as they are stored, None of one paper.
    """

    index: str
    model: str
    n_papers: int
    min_cosine: float
    n_pairs: int
    n_by_title: int
    pairs: tuple[DuplicatePair, ...]
    groups: tuple[Group, ...]
    is_exact: bool
    is_centered: bool
    mean_cosine: float | None
    notes: tuple[str, ...] = ()

    @property
    def n_in_groups(self) -> int:
        """Papers that have a near-duplicate."""
        return sum(len(group.ids) for group in self.groups)
