"""Papers come, change, and go as their corpus says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from embedsearch.ann import AnnKind, require_faiss
from embedsearch.build import make_ann
from embedsearch.encoders import Compute, Encoder, ModelSpec, Recipe, open_encoder
from embedsearch.errors import BadVector, CorpusError, ModelNotFound, OptionError, RecipeMismatch
from embedsearch.stages.collect import Engine, embed_here
from embedsearch.stages.ingest import REPORT_EVERY, check_source, open_papers, source_of, step_of
from embedsearch.stages.options import BuildOptions, Progress, Stage, Step
from embedsearch.stages.pending import Pending
from embedsearch.store.atomic import new_path
from embedsearch.store.catalogue import Catalogue
from embedsearch.store.catalogue_updater import CatalogueUpdater
from embedsearch.store.generation import Ann, Generation
from embedsearch.store.manifest import check_hash, describe, rollback_command
from embedsearch.store.space import open_vectors
from embedsearch.store.writer import StoreWriter
from embedsearch.texts import Template
from embedsearch.update.changing import change, opened
from embedsearch.update.report import UpdateReport

MOST_GROWN = 1.5
"""Times as many rows as its lists were found for an `ivf` may have; with more it is made anew."""


def add(
    corpus: str | Path,
    index: str | Path,
    *,
    options: BuildOptions | None = None,
    encoder: Encoder | None = None,
    compute: Compute | None = None,
    progress: Progress = lambda step: None,
    before_embedding: Callable[[Pending], None] = lambda pending: None,
    engine: Engine = embed_here,
) -> UpdateReport:
    """Put the papers of `corpus` (as `build_index` takes it) into the store at `index`.

    The last record of a paper stands. A paper that is there with the same text keeps its vector, whatever else is new
    of it; one with another text is embedded again; one that the corpus says was deleted goes; one of which it says
    nothing stays. What is served changes once, at the end. An addition that was interrupted is finished first.

    Of `options` those that choose papers and name columns are taken; `sample` cannot be. The transform stays as it was
    fitted. Raises what `build_index` raises; ModelNotFound where the store does not know its model, StoreError where it
    is being built.
    """
    options = options or BuildOptions()
    if options.sample is not None or options.overwrite:
        raise OptionError("expected papers to add, found a sample or --overwrite: those are for build-index")
    check_source(corpus, options)
    with opened(index, may_be_adding=True) as writer:
        adding = _Adding(writer, encoder, compute, progress, before_embedding, engine)
        resumed = adding.resume()
        report = adding.add(corpus, options)
        return report if resumed is None else report.after(resumed)


class _Adding:
    """One store, whose lock is held, and what embeds its papers."""

    def __init__(
        self,
        writer: StoreWriter,
        encoder: Encoder | None,
        compute: Compute | None,
        progress: Progress,
        before_embedding: Callable[[Pending], None],
        engine: Engine,
    ) -> None:
        self._writer = writer
        self._encoder = encoder
        self._compute = compute
        self._progress = progress
        self._before_embedding = before_embedding
        self._engine = engine
        known = self._writer.served
        if not known.has_encoder and encoder is None:
            raise ModelNotFound(
                f"expected {writer.folder} to know what made its vectors, found those of a file that does not say:"
                " build it again with all papers, or with --model NAME"
            )
        if encoder is not None and (differences := Recipe.from_dict(known.recipe).differences(encoder.recipe)):
            raise RecipeMismatch(f"expected the model of {writer.folder}, found {'; '.join(differences)}")

    def resume(self) -> UpdateReport | None:
        """Finish what another process began, if there is such."""
        building = self._writer.newest
        if building is None or building is self._writer.served:
            return None
        folder = self._writer.folder
        known = set(Catalogue(folder / self._writer.served.papers.name).ids())
        catalogue = Catalogue(folder / building.papers.name)
        rows = catalogue.rows()
        added = catalogue.ids(rows[rows >= building.starts[-1]])
        report = UpdateReport(
            generation=building.number,
            n_papers=building.n_papers,
            new=tuple(id for id in added if id not in known),
            changed=tuple(id for id in added if id in known),
            removed=tuple(sorted(known - set(catalogue.ids()))),
        )
        return self._finish(building, report)

    def add(self, corpus: str | Path, options: BuildOptions) -> UpdateReport:
        """Add the papers, and serve the generation that has them."""
        template = self._writer.served.template
        if options.template not in (None, template):
            raise RecipeMismatch(
                f"expected texts of the template {template!r}, with which {self._writer.folder} was made, found"
                f" {options.template!r}; leave --template out"
            )
        reading = _Reading(corpus, options, Template.parse(template), self._writer.served, self._progress)
        found = change(self._writer, "add", reading, source=source_of(corpus)[0])
        if isinstance(found, UpdateReport):
            return found
        if not found.generation.complete:
            self._open()  # before anything is committed: there may be no such model here
            self._writer.begin(found.generation)
        return self._finish(found.generation, found.report)

    def _finish(self, generation: Generation, report: UpdateReport) -> UpdateReport:
        before = self._writer.served
        if not generation.complete:
            encoder = self._open()
            if generation.missing:
                self._before_embedding(Pending(folder=self._writer.folder, generation=generation, encoder=encoder))
                generation = self._embedded(generation, encoder)
            _try_transform(self._writer.folder, generation)
            ann = _grown(self._writer.folder, generation, before, encoder, self._progress)
            generation = msgspec.structs.replace(generation, ann=ann, complete=True)
        generation = self._writer.serve(generation)
        return report.served(self._writer.folder, generation, before)

    def _embedded(self, generation: Generation, encoder: Encoder) -> Generation:
        try:
            return self._engine(self._writer, generation, encoder, progress=self._progress)
        except BadVector as error:  # which every later addition would come to first
            raise BadVector(f"{error}; {_give_up(self._writer.folder)}", position=error.position) from error

    def _open(self) -> Encoder:
        if self._encoder is None:
            known = self._writer.served
            spec, recipe = ModelSpec.from_dict(known.model), Recipe.from_dict(known.recipe)
            self._encoder = open_encoder(spec, compute=self._compute, expected=recipe)
        return self._encoder


class _Reading:
    """Tells a catalogue the papers of a corpus."""

    def __init__(
        self, corpus: str | Path, options: BuildOptions, template: Template, known: Generation, progress: Progress
    ) -> None:
        self._papers = open_papers(corpus, options)
        self._options = options
        self._template = template
        self._known = known
        self._progress = progress

    def __call__(self, updater: CatalogueUpdater) -> UpdateReport:
        options, n_read, n_taken, n_empty, n_left_out = self._options, 0, 0, 0, 0
        for paper in self._papers:
            n_read += 1
            if n_read % REPORT_EVERY == 0:
                self._tell(n_read, n_taken)
            if paper.deleted:
                updater.discard(paper.id)
            elif not options.selection.matches(paper):
                n_left_out += 1
            elif paper.abstract.strip():
                updater.add(paper, text=self._template.render(paper))
                n_taken += 1
                if n_taken == options.limit:
                    break
            elif options.strict:
                raise CorpusError(f"expected an abstract in each paper, found none in {paper.id} (record {n_read})")
            else:
                n_empty += 1
        self._tell(n_read, n_taken, is_done=True)
        known = self._known
        return UpdateReport(
            generation=known.number, n_papers=known.n_papers, n_empty=n_empty, n_left_out=n_left_out
        )  # fmt: skip

    def _tell(self, n_read: int, n_taken: int, *, is_done: bool = False) -> None:
        share = 1.0 if is_done else self._papers.fraction()
        self._progress(step_of(share, n_read=n_read, n_taken=n_taken))


def _try_transform(folder: Path, generation: Generation) -> None:
    """A paper of which the transform leaves nothing would make every later read fail."""
    vectors, begin = open_vectors(folder, generation), generation.starts[-1]
    try:
        for _, rows in vectors.blocks(begin=begin):
            begin += len(rows)
    except BadVector as error:
        paper = Catalogue(folder / generation.papers.name).ids(np.array([begin + error.position]))[0]
        raise BadVector(
            f"paper {paper}: expected something of its vector to be left after {generation.transform}, found nothing;"
            f" {_give_up(folder)}",
            position=error.position,
        ) from error


def _give_up(folder: Path) -> str:
    return f"give this addition up with: {rollback_command(folder)}, and add without that paper"


def _grown(
    folder: Path, generation: Generation, before: Generation, encoder: Encoder, progress: Progress
) -> Ann | None:
    """The index with the new rows: the old one and more, as long as its lists suit them."""
    kind, known = AnnKind(generation.ann_kind), before.ann
    if kind is AnnKind.EXACT:
        return None
    require_faiss(kind)
    n_fitted = known.parameters.get("n_fitted", before.n_rows) if known else 0
    if known is None or (kind is AnnKind.IVF and generation.n_rows > MOST_GROWN * n_fitted):
        return make_ann(folder, generation, encoder, progress=progress)
    from embedsearch.ann import faiss_index  # here: faiss is loaded where it is needed alone

    progress(Step(stage=Stage.ANN, done=0, total=1))
    check_hash(folder, known.file)  # of damaged files FAISS may make anything
    path = folder / f"ann-{generation.number}-{kind.value}.faiss"
    with new_path(path) as temporary:
        vectors = open_vectors(folder, generation)
        faiss_index.extend(temporary, folder / known.file.name, vectors, begin=generation.starts[-1])
    parameters = known.parameters if kind is AnnKind.FLAT else {**known.parameters, "n_fitted": n_fitted}
    return msgspec.structs.replace(known, parameters=parameters, file=describe(folder, path))
