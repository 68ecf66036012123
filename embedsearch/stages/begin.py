"""Which generation a build works on: one that was begun, or a new one that is read from the corpus here."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import msgspec

from embedsearch.ann import AnnKind, choose_kind
from embedsearch.corpus import sample_path
from embedsearch.encoders import Encoder, ModelSpec, Recipe
from embedsearch.encoders.openai import ServiceEncoder
from embedsearch.encoders.services import SERVICE_MODELS
from embedsearch.errors import RecipeMismatch
from embedsearch.stages.given import GivenVectors
from embedsearch.stages.ingest import Having, index_words, read_corpus, source_of
from embedsearch.stages.options import NO_TRANSFORM, BuildOptions, Progress
from embedsearch.store.atomic import remove
from embedsearch.store.catalogue import Catalogue
from embedsearch.store.generation import CorpusNote, FileEntry, Generation, VectorsNote
from embedsearch.store.manifest import now
from embedsearch.store.writer import StoreWriter
from embedsearch.texts import Template
from embedsearch.transform import TransformSpec

DEFAULT_TEMPLATE = "{abstract}"
DEFAULT_DTYPE = "float16"


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """The generation to work on; `read` if papers were read for it, `empty_ids` the first few without an abstract."""

    generation: Generation
    read: bool
    empty_ids: tuple[str, ...] = ()


def begin(
    writer: StoreWriter,
    corpus: str | Path | None,
    *,
    spec: ModelSpec,
    encoder: Encoder,
    options: BuildOptions,
    progress: Progress,
) -> Begun:
    """Choose or make the generation. Raises RecipeMismatch where the store is another and may not be replaced."""
    if asked := options.transform_over(None):
        TransformSpec.parse(asked).check(dim=_known_dim(encoder))
    made = _template_of(encoder)
    if made is not None and options.template not in (None, made):
        raise RecipeMismatch(f"expected vectors of the template {options.template!r}, found those of {made!r}")
    known = writer.newest
    if known is None:
        return _Reading(writer, corpus or sample_path(), None, spec, encoder, options, progress).begin()
    differences = _differences(known, encoder, options)
    if differences and not options.overwrite:
        raise RecipeMismatch(
            f"expected vectors made as those in {writer.folder}, found {'; '.join(differences)}; replace them with"
            " --overwrite, or name another --index"
        )
    building = writer.manifest.building if writer.manifest is not None else None
    is_new = options.overwrite and (building is None or building.change.what != "build")
    may_go_on = not is_new and not differences
    if may_go_on and _same_source(corpus, known, options) and _note_of(encoder) == known.vectors:
        return Begun(generation=_adjusted(writer, known, options, encoder), read=False)
    return _Reading(writer, corpus, known, spec, encoder, options, progress).begin(may_go_on=may_go_on)


@dataclass(frozen=True, slots=True)
class _Reading:
    """Reads the papers, and makes a generation of them if they are not those of the `known` one."""

    writer: StoreWriter
    corpus: str | Path | None
    known: Generation | None
    spec: ModelSpec
    encoder: Encoder
    options: BuildOptions
    progress: Progress

    def begin(self, *, may_go_on: bool = False) -> Begun:
        """The known generation if it has these papers and may be gone on with, else a new one."""
        folder, known, number = self.writer.folder, self.known, self.writer.next_number
        template = Template.parse(
            self.options.template or _template_of(self.encoder) or (known.template if known else DEFAULT_TEMPLATE)
        )
        given = self.encoder if isinstance(self.encoder, GivenVectors) else None
        papers, note, empty_ids = read_corpus(
            folder,
            self.corpus,
            known=known,
            number=number,
            template=template,
            options=self.options,
            progress=self.progress,
            having=Having(name=given.space.name, ids=given.ids) if given and given.space else None,
        )
        if known is not None and may_go_on and _has(folder, known, papers, note):
            remove(folder / papers.name)
            generation = _adjusted(self.writer, known, self.options, self.encoder)
        elif known is not None and not self.options.overwrite:
            remove(folder / papers.name)
            raise RecipeMismatch(
                f"expected the {known.n_papers:,} papers that {folder} holds, from {known.corpus.source}, found"
                f" others in {note.source}; put them beside with `embedsearch add`, replace them with --overwrite, or"
                " name another --index"
            )
        else:
            generation = self.writer.begin(self._generation(number, papers, note, template))
        return Begun(generation=generation, read=True, empty_ids=empty_ids)

    def _generation(self, number: int, papers: FileEntry, note: CorpusNote, template: Template) -> Generation:
        """A new generation; its words are indexed here. What is not asked for is as in the known one."""
        folder, known, options = self.writer.folder, self.known, self.options
        n_papers = len(Catalogue(folder / papers.name))
        if fitted := options.transform_over(known.transform if known else None):
            TransformSpec.parse(fitted).check(dim=_known_dim(self.encoder), n_papers=n_papers)
        return Generation(
            number=number,
            created=now(),
            updated=now(),
            n_papers=n_papers,
            corpus=note,
            model=self.spec.as_dict(),
            recipe=self.encoder.recipe.as_dict(),
            template=template.source,
            transform=fitted,
            dtype=options.dtype or (known.dtype if known else DEFAULT_DTYPE),
            shard_rows=options.shard_rows,
            **_ann_of(options, n_papers, _known_dim(self.encoder), None),
            vectors=_note_of(self.encoder),
            papers=papers,
            keywords=index_words(folder, papers, number=number, progress=self.progress),
        )


def _has(folder: Path, known: Generation, papers: FileEntry, note: CorpusNote) -> bool:
    """Whether the papers that were read are those of a store, in their order."""
    if known.papers_base is None:
        return note.checksum == known.corpus.checksum
    catalogues = (Catalogue(folder / name) for name in (known.papers.name, papers.name))
    both = zip_longest(*(catalogue.checksums() for catalogue in catalogues), fillvalue=())
    return all(one[1:] == other[1:] for one, other in both)  # whatever their rows: some may be dead


def _known_dim(encoder: Encoder) -> int | None:
    """The length of its vectors; None where a service would be asked, which nobody has agreed to yet."""
    if isinstance(encoder, ServiceEncoder):
        model = SERVICE_MODELS.get(encoder.model)
        return model.dim if model else None
    return encoder.dim


def _note_of(encoder: Encoder) -> VectorsNote | None:
    return encoder.note if isinstance(encoder, GivenVectors) else None


def _template_of(encoder: Encoder) -> str | None:
    return encoder.template if isinstance(encoder, GivenVectors) else None


def _differences(known: Generation, encoder: Encoder, options: BuildOptions) -> list[str]:
    """One phrase for each thing that was asked for and is otherwise in the store, the store's first."""
    found = Recipe.from_dict(known.recipe).differences(encoder.recipe)
    for name, asked in (("template", options.template or _template_of(encoder)), ("dtype", options.dtype)):
        has = getattr(known, name)
        if asked is not None and asked != has:
            found.append(f"{name} {has!r} against {asked!r}")
    asked, has = options.transform_over(known.transform), known.transform
    if asked != has and not _transform_is_open(known):
        found.append(f"transform {has or NO_TRANSFORM} against {asked or NO_TRANSFORM}")
    return found


def _transform_is_open(known: Generation) -> bool:
    """Whether nothing depends on the transform yet: it is to be fitted, or papers are to be embedded.

    An addition has that of the papers that were there.
    """
    unfitted = not known.complete and known.transform_file is None and known.change.what == "build"
    return unfitted and (known.transform is not None or known.n_embedded < known.n_papers)


def _same_source(corpus: str | Path | None, known: Generation, options: BuildOptions) -> bool:
    """Whether it is clear without reading that `corpus` holds what `known` was made of."""
    asked = options.of_corpus()
    if corpus is None:
        return asked in (known.corpus.options, BuildOptions().of_corpus())
    source, stamp = source_of(corpus)
    return stamp is not None and (source, stamp, asked) == (
        known.corpus.source,
        known.corpus.stamp,
        known.corpus.options,
    )


def _adjusted(writer: StoreWriter, known: Generation, options: BuildOptions, encoder: Encoder) -> Generation:
    """What needs no new vectors is changed: a transform that is not fitted, the kind of index.

    Until another index is built, search is exact.
    """
    if (asked := options.transform_over(known.transform)) != known.transform:
        if asked:
            TransformSpec.parse(asked).check(dim=_known_dim(encoder), n_papers=known.n_papers)
        known = writer.update(msgspec.structs.replace(known, transform=asked))
    asked_ann = _ann_of(options, known.n_papers, known.dim or _known_dim(encoder), known)
    if any(getattr(known, name) != value for name, value in asked_ann.items()):
        known = writer.update(msgspec.structs.replace(known, **asked_ann, ann=None, complete=False))
    return known


def _ann_of(options: BuildOptions, n_papers: int, dim: int | None, known: Generation | None) -> dict[str, Any]:
    """What is asked of the index, as a generation notes it; what is not said is as in the `known` one."""
    memory = known.ann_memory if known and options.memory is None else options.memory
    recall = known.ann_recall if known and options.recall is None else options.recall
    if isinstance(options.ann, AnnKind):
        kind = options.ann.value
    elif known and options.ann is None and options.memory is None:
        kind = known.ann_kind
    else:
        kind = choose_kind(n_papers, dim=dim, memory=memory).value
    return {"ann_kind": kind, "ann_memory": memory, "ann_recall": recall}
