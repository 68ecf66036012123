"""The whole pipeline: ingest, embed by shard, transform, ann. Each step ends with a commit of the manifest.

Whatever stops it, the next call goes on from the last commit and comes to the same bytes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from embedsearch import transform
from embedsearch.ann import AnnKind, require_faiss
from embedsearch.ann.gpu import Gpu, gpu_named
from embedsearch.encoders import GIVEN, Compute, Encoder, ModelSpec, Recipe, open_encoder
from embedsearch.errors import BadVector, OptionError, StoreError
from embedsearch.stages.begin import begin
from embedsearch.stages.collect import Engine, collect, embed_here
from embedsearch.stages.embed import embed
from embedsearch.stages.given import GivenVectors, open_given, remembered
from embedsearch.stages.ingest import check_source
from embedsearch.stages.options import BuildOptions, BuildReport, Progress, Stage, Step
from embedsearch.stages.pending import Pending
from embedsearch.store.atomic import new_path
from embedsearch.store.catalogue import Catalogue
from embedsearch.store.generation import Ann, Generation
from embedsearch.store.lock import writer_lock
from embedsearch.store.manifest import describe, read_manifest
from embedsearch.store.space import Space, open_vectors
from embedsearch.store.writer import StoreWriter, refuse_what_is_not_ours

log = logging.getLogger("embedsearch")

__all__ = [
    "BuildOptions",
    "BuildReport",
    "Engine",
    "Pending",
    "Progress",
    "Stage",
    "Step",
    "build_index",
    "collect",
    "embed_here",
    "model_of_store",
]


def build_index(
    corpus: str | Path | None = None,
    index: str | Path = "indexes/default",
    *,
    model: ModelSpec | str | None = None,
    encoder: Encoder | None = None,
    vectors: str | Path | Space | None = None,
    compute: Compute | None = None,
    options: BuildOptions | None = None,
    progress: Progress = lambda step: None,
    before_embedding: Callable[[Pending], None] = lambda pending: None,
    engine: Engine = embed_here,
) -> BuildReport:
    """Make the store at `index` from `corpus`, or finish one that was begun.

    `corpus` is a file of papers, "-" for JSON Lines on standard input, another store, or None: what the store has been
    given already, else the bundled sample. `model` names the encoder (None: the store's, else minilm), or `encoder` is
    one. `vectors` is a space that has the papers' vectors already, or the path of one: they are taken by id, papers
    without one are left out, and `model` says what made them where they do not.

    A store that is complete is left as it is. `progress` is called often, and may raise to stop: what was committed
    stays. `before_embedding` is called once where there is something to embed, when it is known what and before the
    encoder is given any of it; it may raise as well. `engine` is where shards are computed: here, on several devices
    (`local_engine.Devices`), on a cluster (`ray_engine.RayCluster`), or elsewhere and before (`collect.collect`).

    Raises CorpusError, EncoderError, SpaceError (NothingInCommon where `vectors` has none of the papers), StoreLocked,
    StoreError; RecipeMismatch where the store was made in another way or of other papers and `options.overwrite` is
    not set.
    """
    folder, options = Path(index), options or BuildOptions()
    # What is cheap to find wrong is found before a model is loaded, or fetched.
    check_source(corpus, options)
    if isinstance(options.ann, AnnKind) and options.ann is not AnnKind.EXACT:
        require_faiss(options.ann)
    gpu = gpu_named(options.ann_device)
    refuse_what_is_not_ours(folder)
    with writer_lock(folder):
        writer = StoreWriter(folder, replace=options.overwrite, anew=options.overwrite and corpus is not None)
        given = _given(vectors, model, encoder, compute, options, writer.newest, is_read=corpus is not None)
        if given is not None:
            encoder, spec = given, given.spec
        elif encoder is None:
            spec = _spec(model, writer.newest)
            opened = open_encoder(spec, compute=compute, expected=_expected(model, writer.newest))
            encoder, spec = opened, opened.spec  # a hub model's commit is settled by now
        else:
            spec = ModelSpec(name=GIVEN)
        begun = begin(writer, corpus, spec=spec, encoder=encoder, options=options, progress=progress)
        generation = begun.generation
        if not generation.complete:
            if given is None and generation.n_embedded < generation.n_papers:
                before_embedding(Pending(folder=folder, generation=generation, encoder=encoder))
            run = engine if given is None else embed
            if generation.n_embedded < generation.n_papers:
                generation = run(writer, generation, encoder, progress=progress)
        if not generation.complete and generation.n_embedded == generation.n_papers:  # else it was left to others
            generation = _fit_transform(writer, generation, progress)
            ann = make_ann(folder, generation, encoder, progress=progress, gpu=gpu)
            generation = writer.update(msgspec.structs.replace(generation, ann=ann, complete=True))
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
    _try_on_all(writer, generation, fitted)
    path = writer.folder / f"transform-{generation.number}.npz"
    with new_path(path) as temporary:
        transform.save(temporary, fitted)
    noted = msgspec.structs.replace(
        generation, transform_file=describe(writer.folder, path), n_fitted=generation.n_papers
    )
    return writer.update(noted)


def _try_on_all(writer: StoreWriter, generation: Generation, fitted: transform.Transform) -> None:
    """A paper of which the transform leaves nothing would make every later read fail."""
    for first, rows in open_vectors(writer.folder, generation).blocks():
        try:
            fitted.apply(rows)
        except BadVector as error:
            row = np.array([first + error.position])
            paper = Catalogue(writer.folder / generation.papers.name).ids(row)[0]
            raise BadVector(
                f"paper {paper}: expected something of its vector to be left after {fitted.spec}, found nothing;"
                " name another --transform, or none",
                position=int(row[0]),
            ) from error


def make_ann(
    folder: Path, generation: Generation, encoder: Encoder | None, *, progress: Progress, gpu: Gpu | None = None
) -> Ann | None:
    """Write the index over all vectors of a generation of the store at `folder`; None where its kind has no file.

    `encoder` embeds the queries that it is measured with; without one they are stored rows.
    """
    kind = AnnKind(generation.ann_kind)
    if kind is AnnKind.EXACT:
        return None
    require_faiss(kind)
    from embedsearch.ann import choice, faiss_index  # here: a store is built without FAISS as well
    from embedsearch.stages.probing import probes_of

    progress(Step(stage=Stage.ANN, done=0, total=1))
    path = folder / f"ann-{generation.number}-{kind.value}.faiss"
    vectors, memory = open_vectors(folder, generation), generation.ann_memory
    asks = None if kind is AnnKind.FLAT else encoder
    probes = None if asks is None else probes_of(folder, generation, asks, transform=vectors.transform)
    with new_path(path) as temporary:
        built = faiss_index.build(
            temporary,
            choice.plan_for(kind, vectors.n_rows, vectors.dim, memory=memory),
            vectors,
            probes=probes,
            recall=generation.ann_recall or faiss_index.TARGET,
            memory=memory,
            gpu=gpu,
        )
    ann = Ann(kind.value, built.parameters, built.recall, describe(folder, path), built.measured)
    _warn(ann, built.missed, memory)
    return ann


def _warn(ann: Ann, missed: str, memory: int | None) -> None:
    """Say in one line each what was asked of the index and is not reached."""
    if missed and ann.measured is not None:
        log.warning(
            "the index finds %.3f ± %.3f of the exact ten, expected %g; that would take %s",
            *(ann.recall, ann.measured.recall_error, ann.measured.target, missed),
        )
    if memory is not None and ann.file.size > memory:
        log.warning("the index takes %.3g MB, expected %.3g at most", ann.file.size / 1e6, memory / 1e6)


def model_of_store(index: str | Path) -> ModelSpec | None:
    """The model that the store at `index` was asked to use, None where there is no store."""
    try:
        newest = read_manifest(Path(index), check_files=False)
    except StoreError:
        return None
    return ModelSpec.from_dict((newest.building or newest.serving).model)


def _given(
    vectors: str | Path | Space | None,
    model: ModelSpec | str | None,
    encoder: Encoder | None,
    compute: Compute | None,
    options: BuildOptions,
    known: Generation | None,
    *,
    is_read: bool,
) -> GivenVectors | None:
    """The vectors to take: those which are named, else those which the store was begun with, if it was."""
    if vectors is not None:
        if encoder is not None:
            raise OptionError("expected vectors or an encoder, found both: name with model= what made the vectors")
        return open_given(vectors, fields=options.vector_fields, model=model, compute=compute)
    if known is None or known.vectors is None or model is not None or encoder is not None:
        return None
    is_asked = is_read or options.overwrite or not known.complete
    return remembered(known, with_space=is_asked)


def _spec(model: ModelSpec | str | None, known: Generation | None) -> ModelSpec:
    if model is None:
        return ModelSpec.from_dict(known.model) if known is not None else ModelSpec()
    return ModelSpec(name=model) if isinstance(model, str) else model


def _expected(model: ModelSpec | str | None, known: Generation | None) -> Recipe | None:
    """A model that nobody named again must be the one of the store, wherever it has moved."""
    return Recipe.from_dict(known.recipe) if model is None and known is not None else None
