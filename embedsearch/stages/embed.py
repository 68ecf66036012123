"""Embedding: each shard of rows that has no vectors yet is encoded, written and committed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from embedsearch.ann import AnnKind
from embedsearch.encoders import Encoded, Encoder, Prepared, Role
from embedsearch.errors import BadVector, RecipeMismatch, StoreError
from embedsearch.stages.given import GivenVectors
from embedsearch.stages.options import Progress, Stage, Step
from embedsearch.store.catalogue import Catalogue
from embedsearch.store.generation import FileEntry, Generation, Shard
from embedsearch.store.vectors import write_shard
from embedsearch.store.writer import StoreWriter
from embedsearch.texts import Template
from embedsearch.transform import TransformSpec


def embed(writer: StoreWriter, generation: Generation, encoder: Encoder, *, progress: Progress) -> Generation:
    """Embed what is missing; returns the generation with all its shards."""
    todo = generation.missing
    if not todo:
        return generation
    check_beforehand(writer.folder, generation, encoder)
    (writer.folder / "vectors").mkdir(exist_ok=True)
    texts = texts_of(writer.folder, generation)
    if isinstance(encoder, GivenVectors):
        texts = _Ids(texts.catalogue, texts.template, generation)
    tally = _Tally(generation, progress)
    for first, encoded in _encoded(encoder, texts, todo, tally):
        file = write_shard(
            writer.folder,
            number=generation.shard_number(first),
            vectors=encoded.vectors,
            dtype=generation.dtype,
        )
        shard = shard_of(file, first, encoded, encoder.made_with)
        generation = writer.update(with_shard(generation, shard, dim=encoded.vectors.shape[1]))
        tally.committed(shard)
    return generation


def check_beforehand(folder: Path, generation: Generation, encoder: Encoder, *, n_papers: int | None = None) -> None:
    """Raise for what would be found after hours otherwise: RecipeMismatch, OptionError or StoreError.

    `n_papers` is how many are to be embedded here and handed in, where that is not all that are missing.
    """
    if generation.dim not in (None, encoder.dim):  # a service may have another model under the same name today
        raise RecipeMismatch(
            f"expected vectors of {generation.dim} numbers, as {folder} has them, found that the model makes"
            f" {encoder.dim}: is another served under its name? Serve the old one again, or begin anew with --overwrite"
        )
    if generation.transform is not None and generation.transform_file is None:
        # Sooner where the dimension was known: a service is asked here.
        TransformSpec.parse(generation.transform).check(dim=encoder.dim, n_papers=generation.n_papers)
    _check_space(folder, generation, encoder.dim, n_papers)


def shard_of(file: FileEntry, first: int, encoded: Encoded, made_with: Mapping[str, Any]) -> Shard:
    """What the manifest holds of the shard that begins at row `first`."""
    return Shard(
        file=file,
        first_row=first,
        n_rows=len(encoded.vectors),
        n_tokens=int(encoded.n_tokens.sum()),
        n_truncated=int(encoded.truncated.sum()),
        made_with=dict(made_with),
    )


def with_shard(generation: Generation, shard: Shard, *, dim: int) -> Generation:
    """The generation with one shard more, in order of rows whoever made it."""
    shards = sorted([*generation.shards, shard], key=lambda each: each.first_row)
    return msgspec.structs.replace(generation, shards=shards, dim=dim)


class ShardTexts:
    """The texts of a shard's papers: call it with the first row."""

    def __init__(self, catalogue: Catalogue, template: Template, generation: Generation) -> None:
        self.catalogue = catalogue
        self.template = template
        self._generation = generation

    def __call__(self, first: int) -> list[str]:
        return [self.template.render(stored.paper) for stored in self.catalogue.span(first, self._end(first))]

    def _end(self, first: int) -> int:
        return first + self._generation.rows_from(first)

    @contextmanager
    def naming(self, first: int) -> Iterator[None]:
        """A BadVector that is raised inside, about the shard at row `first`, gets to name its paper."""
        try:
            yield
        except BadVector as error:
            paper = self.catalogue.ids(np.array([first + error.position]))[0]
            raise BadVector(f"paper {paper}: {error}", position=error.position) from error


def texts_of(folder: Path, generation: Generation) -> ShardTexts:
    """The texts that are embedded of a generation's papers."""
    return ShardTexts(Catalogue(folder / generation.papers.name), Template.parse(generation.template), generation)


class _Ids(ShardTexts):
    """The ids of a shard's papers, by which vectors are taken that are there already."""

    def __call__(self, first: int) -> list[str]:
        return self.catalogue.ids(np.arange(first, self._end(first)))


def _encoded(
    encoder: Encoder, texts: ShardTexts, firsts: Sequence[int], tally: _Tally
) -> Iterator[tuple[int, Encoded]]:
    """(first row, vectors) of each shard. The next one is read and tokenised while this one is in the model."""
    with ThreadPoolExecutor(1) as ahead:

        def prepared_from(first: int) -> Future[Prepared]:
            return ahead.submit(lambda: encoder.prepare(texts(first), role=Role.DOCUMENT))

        waiting = prepared_from(firsts[0])
        for first, following in zip(firsts, [*firsts[1:], None], strict=True):
            prepared = waiting.result()
            if following is not None:
                waiting = prepared_from(following)
            tally.prepared(prepared.n_tokens)
            with texts.naming(first):
                encoded = encoder.encode_prepared(prepared, progress=tally.batch)
            yield first, encoded


class _Tally:
    """Counts for the progress of embedding."""

    def __init__(self, generation: Generation, progress: Progress) -> None:
        self._progress = progress
        self._total = generation.n_papers
        self._before = generation.n_embedded
        self._n_truncated = sum(shard.n_truncated for shard in generation.shards)
        self._n_texts = self._n_tokens = 0
        self._seen_texts = self._seen_tokens = 0  # of shards that are tokenised, embedded or not

    def prepared(self, n_tokens: np.ndarray[tuple[int], np.dtype[np.int64]]) -> None:
        """A shard was tokenised: what the rest will take can be told from it."""
        self._seen_texts += len(n_tokens)
        self._seen_tokens += int(n_tokens.sum())
        self.batch(0, 0)

    def batch(self, n_texts: int, n_tokens: int) -> None:
        """A batch was embedded."""
        self._n_texts += n_texts
        self._n_tokens += n_tokens
        self._progress(
            Step(
                stage=Stage.EMBED,
                done=self._before + self._n_texts,
                total=self._total,
                n_papers=self._n_texts,
                n_tokens=self._n_tokens,
                n_tokens_expected=round(self._seen_tokens / self._seen_texts * (self._total - self._before)),
                n_truncated=self._n_truncated,
            )
        )

    def committed(self, shard: Shard) -> None:
        """A shard is safe."""
        self._n_truncated += shard.n_truncated


def _check_space(folder: Path, generation: Generation, dim: int, n_papers: int | None) -> None:
    """Say that the disk is too small before hours of work, not after."""
    left = generation.n_papers - generation.n_embedded if n_papers is None else n_papers
    needed = dim * left * np.dtype(generation.dtype).itemsize
    if generation.ann_kind == AnnKind.FLAT.value and n_papers is None:
        needed += dim * generation.n_papers * np.dtype(np.float32).itemsize
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise StoreError(
            f"expected {needed / 1e6:,.0f} MB of free disk for vectors in {folder}, found {free / 1e6:,.0f} MB"
        )
