"""The whole pipeline: ingest, embed by shard, transform, ann. Each step ends with a commit of the manifest.

Whatever stops it, the next call goes on from the last commit and comes to the same bytes.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from embedsearch import transform
from embedsearch.ann import AnnKind
from embedsearch.encoders import Compute, Encoder, ModelSpec, Recipe, open_encoder
from embedsearch.stages.begin import begin
from embedsearch.stages.embed import embed
from embedsearch.stages.options import BuildOptions, BuildReport, Progress, Stage, Step
from embedsearch.store.atomic import new_path
from embedsearch.store.lock import writer_lock
from embedsearch.store.manifest import Ann, Generation, describe
from embedsearch.store.space import open_vectors
from embedsearch.store.writer import StoreWriter

__all__ = ["BuildOptions", "BuildReport", "Progress", "Stage", "Step", "build_index"]


def build_index(
    corpus: str | Path | None = None,
    index: str | Path = "indexes/default",
    *,
    model: ModelSpec | str | None = None,
    encoder: Encoder | None = None,
    compute: Compute | None = None,
    options: BuildOptions | None = None,
    progress: Progress = lambda step: None,
) -> BuildReport:
    """Make the store at `index` from `corpus`, or finish one that was begun.

    `corpus` is a file of papers, "-" for JSON Lines on standard input, another store, or None: what the store has been
    given already, else the bundled sample. `model` names the encoder (None: the store's, else minilm), or `encoder` is
    one. A store that is complete is left as it is. `progress` is called often, and may raise to stop: what was
    committed stays.

    Raises CorpusError, EncoderError, StoreLocked, StoreError; RecipeMismatch where the store was made in another way
    or of other papers and `options.overwrite` is not set.
    """
    folder, options = Path(index), options or BuildOptions()
    with writer_lock(folder):
        writer = StoreWriter(folder, replace=options.overwrite)
        spec = _spec(model, writer.newest)
        if encoder is None:
            opened = open_encoder(spec, compute=compute, expected=_expected(model, writer.newest))
            encoder, spec = opened, opened.spec  # a hub model's commit is settled by now
        begun = begin(writer, corpus, spec=spec, recipe=encoder.recipe, options=options, progress=progress)
        generation = begun.generation
        if not generation.complete:
            generation = embed(writer, generation, encoder, progress=progress)
            generation = _fit_transform(writer, generation, progress)
            generation = _build_ann(writer, generation, progress)
    return BuildReport(
        n_papers=generation.n_papers,
        n_embedded=generation.n_embedded - begun.generation.n_embedded,
        n_truncated=sum(shard.n_truncated for shard in generation.shards),
        corpus=generation.corpus,
        empty_ids=begun.empty_ids,
        already_complete=begun.generation.complete,
        read=begun.read,
    )


def _fit_transform(writer: StoreWriter, generation: Generation, progress: Progress) -> Generation:
    if generation.transform is None or generation.transform_file is not None:
        return generation
    progress(Step(stage=Stage.TRANSFORM, done=0, total=1))
    vectors = open_vectors(writer.folder, generation)
    fitted = transform.fit(transform.TransformSpec.parse(generation.transform), vectors.blocks(), dim=vectors.dim)
    path = writer.folder / f"transform-{generation.number}.npz"
    with new_path(path) as temporary:
        transform.save(temporary, fitted)
    return writer.update(msgspec.structs.replace(generation, transform_file=describe(writer.folder, path)))


def _build_ann(writer: StoreWriter, generation: Generation, progress: Progress) -> Generation:
    kind = AnnKind(generation.ann_kind)
    if kind is AnnKind.EXACT:
        return writer.update(msgspec.structs.replace(generation, ann=None, complete=True))
    from embedsearch.ann import faiss_index  # here: a store is built without FAISS as well

    progress(Step(stage=Stage.ANN, done=0, total=1))
    path = writer.folder / f"ann-{generation.number}-{kind.value}.faiss"
    with new_path(path) as temporary:
        parameters, recall = faiss_index.build(temporary, kind, open_vectors(writer.folder, generation))
    ann = Ann(kind.value, parameters, recall, describe(writer.folder, path))
    return writer.update(msgspec.structs.replace(generation, ann=ann, complete=True))


def _spec(model: ModelSpec | str | None, known: Generation | None) -> ModelSpec:
    if model is None:
        return ModelSpec.from_dict(known.model) if known is not None else ModelSpec()
    return ModelSpec(name=model) if isinstance(model, str) else model


def _expected(model: ModelSpec | str | None, known: Generation | None) -> Recipe | None:
    """A model that nobody named again must be the one of the store, wherever it has moved."""
    return Recipe.from_dict(known.recipe) if model is None and known is not None else None
