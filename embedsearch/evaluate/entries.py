"""What is evaluated: stores as they are, and models and files of vectors by way of a store made for it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from embedsearch.ann import AnnKind
from embedsearch.build import BuildOptions, Pending, Progress, build_index
from embedsearch.corpus import sample_key, sample_path
from embedsearch.encoders import Compute, Encoder, ModelSpec, Role
from embedsearch.errors import BadVector, ModelNotFound, NothingInCommon, OptionError, StoreError
from embedsearch.scores import Float32, Rows
from embedsearch.search.encoding import StoreEncoder, why_none
from embedsearch.search.view import StoreView
from embedsearch.store.catalogue import Catalogue, StoredPaper
from embedsearch.store.manifest import MANIFEST_NAME, read_manifest
from embedsearch.store.vector_files import SUFFIXES, split_name

SEED = 0
"""Of the papers that queries are made of: the same ones, whatever the order of the corpus."""

READ_AT_ONCE = 1000


@dataclass(frozen=True, kw_only=True, eq=False)
class Entry:
    """One store, and what embeds its queries. `name` is what a report calls it; `words_only`: no model is wanted."""

    name: str
    view: StoreView
    encoder: StoreEncoder
    words_only: bool = False

    @classmethod
    def open(
        cls,
        folder: str | Path,
        *,
        name: str | None = None,
        encoder: Encoder | None = None,
        model: ModelSpec | None = None,
        compute: Compute | None = None,
    ) -> Entry:
        """The store in `folder`, also one that is being built. `encoder`, or `model`, embeds its queries; else its own.

        Raises StoreNotFound, StoreCorrupt, StoreTooNew; RecipeMismatch for another encoder than made its vectors.
        """
        view = StoreView.open(Path(folder))
        known = StoreEncoder(encoder, model=model, compute=compute or Compute())
        known.check(view.generation)
        return cls(name=name or _label(view), view=view, encoder=known)

    @cached_property
    def ids(self) -> list[str]:
        """By row; "" where it is dead."""
        catalogue = self.view.catalogue
        found = [""] * catalogue.n_rows
        for row, id in zip(catalogue.rows().tolist(), catalogue.ids(), strict=True):
            found[row] = id
        return found

    @property
    def is_dense(self) -> bool:
        """Whether papers have vectors, and queries can have one."""
        return not self.words_only and self.view.vectors.n_rows > 0 and self.encoder.is_known(self.view.generation)

    @property
    def usable(self) -> Rows:
        """The rows that it is evaluated on: those with vectors, or all where none has one."""
        rows = self.view.catalogue.rows()
        return rows[self.view.vectors.has(rows)] if self.is_dense else rows

    def notes(self) -> Iterator[str]:
        """What a reader of the figures must know."""
        view = self.view
        n = view.generation.n_embedded
        if self.words_only:
            return
        if n < view.n_papers:
            on = f"evaluated on these {n:,}" if self.is_dense else "evaluated by keywords alone"
            yield f"{self.name}: {n:,} of {view.n_papers:,} papers have a vector so far; {on}"
        elif not self.is_dense:
            yield f"{self.name}: by keywords alone: {why_none(view.generation, option='--query-model')}"
        if self.is_dense and view.generation.hybrid_weight is not None:
            yield f"{self.name}: hybrid has its own weight, {view.hybrid_weight:g}; queries that chose it flatter it"
        if self.is_dense and "{title}" in view.generation.template:
            yield f"{self.name}: its vectors are of titles too, so that a title finds itself by meaning"

    def embed(self, texts: Sequence[str], role: Role) -> Float32:
        """Vectors of `texts` in the store's space: (n, dim). Raises BadVector, which quotes the text."""
        encoder = self.encoder.of(self.view.generation)
        try:
            return self.view.into_space(np.asarray(encoder.encode(texts, role=role), np.float32))
        except BadVector as error:
            text = texts[error.position][:60]
            raise BadVector(f"{self.name}, {text!r}: {error}", position=error.position) from error


@dataclass(frozen=True, kw_only=True, eq=False)
class Papers:
    """The papers that all entries have, by position; their texts are the first entry's."""

    ids: tuple[str, ...]
    rows: tuple[Rows, ...]
    """For each entry, the row of each paper."""
    catalogue: Catalogue

    @classmethod
    def common(cls, entries: Sequence[Entry]) -> tuple[Papers, list[str]]:
        """The common papers in the order of the first entry, and what was left out. Raises NothingInCommon."""
        usable = [{entry.ids[row]: row for row in entry.usable.tolist()} for entry in entries]
        ids = [id for id in usable[0] if all(id in rows for rows in usable[1:])]
        if not ids:
            names = " and ".join(entry.name for entry in entries)
            raise NothingInCommon(f"expected {names} to have papers in common, found none: name one --corpus for all")
        rows = tuple(np.array([known[id] for id in ids], np.int64) for known in usable)
        left_out = [
            f"{entry.name}: {len(known) - len(ids):,} of {len(known):,} papers are left out, which others lack"
            for entry, known in zip(entries, usable, strict=True)
            if len(known) > len(ids)
        ]
        return cls(ids=tuple(ids), rows=rows, catalogue=entries[0].view.catalogue), left_out

    def sample(self, n: int, *, seed: int = 0) -> Papers:
        """The n papers with the smallest hash of (seed, id), in their order: those that a build would sample."""
        kept = sorted(sorted(range(len(self)), key=lambda i: sample_key(self.ids[i], seed))[:n])
        ids = tuple(self.ids[i] for i in kept)
        return Papers(ids=ids, rows=tuple(rows[kept] for rows in self.rows), catalogue=self.catalogue)

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def position_of(self) -> dict[str, int]:
        """Of each id."""
        return {id: i for i, id in enumerate(self.ids)}

    def __iter__(self) -> Iterator[StoredPaper]:
        """In their order, each with its position for a row."""
        for first in range(0, len(self), READ_AT_ONCE):
            for i, stored in enumerate(self.catalogue.papers(self.rows[0][first : first + READ_AT_ONCE]), first):
                yield replace(stored, row=i)

    def at(self, positions: Sequence[int]) -> list[StoredPaper]:
        """Those at `positions`."""
        return self.catalogue.papers(self.rows[0][np.asarray(positions, np.int64)])

    def by_hash(self) -> Iterator[StoredPaper]:
        """As if drawn at random: the smallest hash of the id first."""
        order = sorted(range(len(self)), key=lambda i: sample_key(self.ids[i], SEED))
        for first in range(0, len(order), READ_AT_ONCE):
            yield from self.at(order[first : first + READ_AT_ONCE])


@dataclass(frozen=True, kw_only=True)
class Making:
    """How a store is made of a model, or of a file of vectors: in a folder of its own under `work`.

    `corpus` is as `build_index` has it (None: the sample), `template` what models embed of a paper; `model` says what
    is asked of models, and what embeds the queries to vectors that do not say who made them.
    """

    work: Path
    corpus: str | Path | None = None
    model: ModelSpec | None = None
    compute: Compute | None = None
    template: str | None = None
    sample: int | None = None
    seed: int = 0
    progress: Progress = lambda step: None
    before_embedding: Callable[[Pending], None] = lambda pending: None


def is_store(target: str | Path) -> bool:
    """Whether there is one at `target`."""
    return (Path(target) / MANIFEST_NAME).exists()


def open_entry(target: str, making: Making) -> Entry:
    """The store, the model or the file of vectors that `target` names.

    Raises what opening and building raise; ModelNotFound for what is none of the three.
    """
    if is_store(target):
        knows = read_manifest(Path(target)).serving.has_encoder
        return Entry.open(target, model=None if knows else making.model, compute=making.compute)
    path = Path(target)
    is_space = split_name(path)[1] in SUFFIXES
    if is_space and not path.is_file():
        raise OptionError(f"expected a file of vectors at {target}, found none")
    digest = hashlib.sha256(str(path.resolve() if path.exists() else target).encode()).hexdigest()[:8]
    folder = making.work / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', path.name)[:40]}-{digest}"
    model = making.model if is_space else replace(making.model or ModelSpec(), name=target)
    try:
        build_index(
            str(making.corpus or sample_path()),  # by name: a folder that holds other papers is refused
            folder,
            model=model,
            vectors=target if is_space else None,
            compute=making.compute,
            options=BuildOptions(
                ann=AnnKind.EXACT,
                template=None if is_space else making.template,
                sample=making.sample,
                seed=making.seed,
            ),
            progress=making.progress,
            before_embedding=making.before_embedding,
        )
    except ModelNotFound as error:
        raise ModelNotFound(f"expected an index, a file of vectors or a model, found {target!r}: {error}") from error
    except StoreError as error:
        if is_store(folder) and "--index" in str(error):  # of a folder of ours, which nobody named
            raise type(error)(f"{folder} is of other work: remove it, or name another --work") from error
        raise
    return Entry.open(folder, name=path.name if is_space else target, compute=making.compute)


def distinct(entries: Sequence[Entry]) -> list[Entry]:
    """With other names where two are the same: their folders too, or their numbers."""
    names = [entry.name for entry in entries]
    named = [
        replace(entry, name=f"{entry.name} ({entry.view.folder.name})") if names.count(entry.name) > 1 else entry
        for entry in entries
    ]
    names = [entry.name for entry in named]
    return [
        replace(entry, name=f"{entry.name} {i}") if names.count(entry.name) > 1 else entry
        for i, entry in enumerate(named, 1)
    ]


def _label(view: StoreView) -> str:
    """Its model, and its transform if it has one."""
    model, transform = str(view.generation.model["name"]), view.generation.transform
    return f"{model} ({transform})" if transform else model
