"""One state of a store's corpus: its papers, its files, and what made them."""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from typing import Any

import msgspec

GIVEN_VECTORS = "vectors:"
"""What stands for weights in the recipe of vectors that came without one, before their hash."""


class FileEntry(msgspec.Struct, frozen=True):
    """A file of the store: its path under the store's folder, its size in bytes, its SHA-256 in hex."""

    name: str
    size: int
    sha256: str


class Shard(msgspec.Struct, frozen=True):
    """The vectors of consecutive rows, and what it took to make them.

    Where `compact` put together parts of several, tokens and cut texts are counted in proportion to their rows.
    """

    file: FileEntry
    first_row: int
    n_rows: int
    n_tokens: int
    n_truncated: int
    made_with: dict[str, Any]


class CorpusNote(msgspec.Struct, frozen=True):
    """Where the papers came from and what was left out. `checksum` is SHA-256 over id and text of each row."""

    source: str
    stamp: list[int] | None
    options: dict[str, Any]
    checksum: str
    n_read: int
    n_selected: int
    n_repeated: int
    n_empty: int
    n_content_ids: int
    n_without_vector: int = 0


class VectorsNote(msgspec.Struct, frozen=True):
    """Where vectors that no encoder made for this store were taken from: a file or another store, or "" for arrays.

    `stamp` changes when that does; `fields` names its columns; `model` is what it says that made the vectors, `changed`
    the transform that they went through after that.
    """

    source: str
    stamp: list[int] | None
    fields: dict[str, str]
    model: str
    changed: str = ""


class AnnMeasure(msgspec.Struct, frozen=True, kw_only=True):
    """How an index did when it was built, in queries that it was not set by.

    `queries` says what they were: titles and sentences of papers, or stored rows, each left out of its own answer.
    Errors are standard errors: of the mean recall, of the median latency. `latency_ms` is of one query, with what is
    re-scored, on one thread, all in memory; `target` the recall that was asked for.
    """

    queries: str
    n_queries: int
    recall_error: float
    latency_ms: float
    latency_error_ms: float
    target: float


class Ann(msgspec.Struct, frozen=True):
    """The FAISS file: its kind, what it was built with, and the share of the exact ten that it was measured to find.

    Parameters of `ivf`: n_lists, bits (of each number in a code; 1 where it is not said), n_probe (lists read for a
    query), rescored (rows whose similarity is computed for ten hits), n_fitted (rows that its lists were found for,
    where others were added since). Without `measured` the recall is that of rows which counted themselves.
    """

    kind: str
    parameters: dict[str, int]
    recall: float
    file: FileEntry
    measured: AnnMeasure | None = None


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What was done to make a generation: "build", "add", "remove" or "compact", from `source`.

    Of papers that were there already, abstracts were `changed` or other fields `renewed`.
    """

    what: str = "build"
    n_new: int = 0
    n_changed: int = 0
    n_renewed: int = 0
    n_removed: int = 0
    source: str = ""


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """One state of the corpus, complete or on its way.

    Rows are only appended: `starts` are the rows at which papers were added, each of which begins a shard. A paper that
    was removed, or whose text was embedded again in another row, leaves a dead row, of which the catalogue and the
    keyword index know nothing: `n_papers` are alive, `n_dead` are not. A transform stays as it was fitted, on
    `n_fitted` papers (None: on all that there were before any was added).

    `model` is what the user asked for (a ModelSpec), `recipe` what that is (a Recipe), both as plain dictionaries.
    Of vectors that were taken from elsewhere (`vectors`, None when others were added) and do not say how to make more,
    `weights` in the recipe is GIVEN_VECTORS and a hash of them. `ann_memory` in bytes and `ann_recall` are what was
    asked of the index. `hybrid_weight` is the cosine's in a hybrid score, None where it is the usual one.
    """

    number: int
    created: str
    updated: str
    n_papers: int
    n_dead: int = 0
    starts: list[int] = msgspec.field(default_factory=lambda: [0])
    corpus: CorpusNote
    model: dict[str, Any]
    recipe: dict[str, Any]
    template: str
    transform: str | None = None
    dtype: str
    shard_rows: int
    ann_kind: str
    ann_memory: int | None = None
    ann_recall: float | None = None
    dim: int | None = None
    papers: FileEntry
    papers_base: FileEntry | None = None
    keywords: list[FileEntry]
    shards: list[Shard] = []
    vectors: VectorsNote | None = None
    transform_file: FileEntry | None = None
    n_fitted: int | None = None
    ann: Ann | None = None
    complete: bool = False
    hybrid_weight: float | None = None
    change: Change = Change()

    def files(self) -> Iterator[FileEntry]:
        """Every file that this generation needs."""
        yield self.papers
        if self.papers_base:
            yield self.papers_base
        yield from self.keywords
        yield from (shard.file for shard in self.shards)
        if self.transform_file:
            yield self.transform_file
        if self.ann:
            yield self.ann.file

    @property
    def n_papers_fitted(self) -> int | None:
        """The papers that the transform was fitted on; None where none is fitted."""
        if self.transform_file is None:
            return None
        return self.n_papers if self.n_fitted is None else self.n_fitted

    @property
    def papers_size(self) -> int:
        """Bytes of the catalogue."""
        return self.papers.size + (self.papers_base.size if self.papers_base else 0)

    @property
    def has_encoder(self) -> bool:
        """Whether it is known what embeds a query so that it can be compared with the vectors."""
        return not str(self.recipe.get("weights", "")).startswith(GIVEN_VECTORS)

    @property
    def n_embedded(self) -> int:
        """Papers that have a vector already. Dead rows all have one: only a complete store is changed."""
        return sum(shard.n_rows for shard in self.shards) - self.n_dead

    @property
    def n_rows(self) -> int:
        """Rows, dead or alive."""
        return self.n_papers + self.n_dead

    @property
    def first_rows(self) -> list[int]:
        """The first row of every shard, done or not."""
        ends = [*self.starts[1:], self.n_rows]
        return [first for each in zip(self.starts, ends, strict=True) for first in range(*each, self.shard_rows)]

    def rows_from(self, first_row: int) -> int:
        """How many rows the shard has that begins at this one."""
        end = next((start for start in self.starts if start > first_row), self.n_rows)
        return min(self.shard_rows, end - first_row)

    @property
    def missing(self) -> list[int]:
        """The first row of every shard that is not done."""
        done = {shard.first_row for shard in self.shards}
        return [first for first in self.first_rows if first not in done]

    def shard_number(self, first_row: int) -> int:
        """The number, from 1, of the shard that begins at this row."""
        return bisect.bisect_left(self.first_rows, first_row) + 1
