"""Ingest: a corpus is read once, into the catalogue and the keyword index of a new generation."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from embedsearch import keywords
from embedsearch.corpus import CONTENT_ID_PREFIX, Corpus, open_corpus
from embedsearch.errors import CorpusError, OptionError
from embedsearch.records import Paper
from embedsearch.stages.options import BuildOptions, Progress, Stage, Step
from embedsearch.store.arrays import nothing_in_common
from embedsearch.store.atomic import new_path
from embedsearch.store.catalogue import Catalogue
from embedsearch.store.catalogue_writer import CatalogueWriter
from embedsearch.store.generation import CorpusNote, FileEntry, Generation
from embedsearch.store.manifest import MANIFEST_NAME, describe, read_manifest
from embedsearch.texts import Template

REPORT_EVERY = 500
NAMED_EMPTY = 5
NAMED_IDS = 4
"""Of papers without a vector, where all are."""


class StoreCorpus:
    """The papers of another store, so that a second model need not read 5 GB again."""

    def __init__(self, folder: Path, generation: Generation | None = None) -> None:
        """Of what is served, unless another generation is named."""
        self.name = str(folder)
        generation = generation or read_manifest(folder).serving
        self._catalogue = Catalogue(folder / generation.papers.name)
        self._n_read = 0

    def __iter__(self) -> Iterator[Paper]:
        for stored in self._catalogue.span(0, self._catalogue.n_rows):
            self._n_read = stored.row + 1
            yield stored.paper

    def fraction(self) -> float | None:
        """The share read so far."""
        return self._n_read / max(1, self._catalogue.n_rows)


def source_of(corpus: str | Path) -> tuple[str, list[int] | None]:
    """The name of a corpus, and a stamp that changes when it does: equal stamps save reading it again."""
    if str(corpus) == "-":
        return "standard input", None
    path = Path(corpus)
    kept = path / MANIFEST_NAME if path.is_dir() else path
    try:
        status = kept.stat()
    except OSError:
        return str(path), None  # opening it will say what is wrong
    return str(path.resolve()), [status.st_size, status.st_mtime_ns]


def is_store(corpus: str | Path) -> bool:
    """Whether a corpus is a store's folder."""
    return str(corpus) != "-" and (Path(corpus) / MANIFEST_NAME).exists()


def check_source(corpus: str | Path | None, options: BuildOptions) -> None:
    """Raise for a corpus that cannot be opened: CorpusError, OptionError or a StoreError."""
    if corpus is None or str(corpus) == "-":
        return
    if not is_store(corpus):
        open_corpus(corpus, fields=dict(options.fields))
    elif options.fields:
        raise OptionError("expected a file with columns for --field, found an index: its fields have their names")


def open_papers(corpus: str | Path, options: BuildOptions) -> StoreCorpus | Corpus:
    """The papers of a store's folder, or of a file or standard input with the columns of `options`."""
    return StoreCorpus(Path(corpus)) if is_store(corpus) else open_corpus(corpus, fields=dict(options.fields))


def step_of(share: float | None, *, n_read: int, n_taken: int) -> Step:
    """How far the reading of a corpus is: its share, where that is known, else records."""
    done, total = (n_read, None) if share is None else (round(1000 * share), 1000)
    return Step(stage=Stage.READ, done=done, total=total, n_papers=n_taken)


@dataclass(slots=True)
class _Counts:
    n_read: int = 0
    n_selected: int = 0
    n_empty: int = 0
    n_content_ids: int = 0
    n_without_vector: int = 0
    without_vector: list[str] = field(default_factory=list)
    """The ids of the first few."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Having:
    """The papers that have a vector, where those are given: `ids` in a space of this `name`."""

    name: str
    ids: Collection[str]


def read_corpus(
    folder: Path,
    corpus: str | Path | None,
    *,
    known: Generation | None = None,
    number: int,
    template: Template,
    options: BuildOptions,
    progress: Progress,
    having: Having | None = None,
) -> tuple[FileEntry, CorpusNote, tuple[str, ...]]:
    """Read the papers into the catalogue of generation `number`; also the ids of the first few without an abstract.

    Without a corpus they are those of the `known` generation. `having` leaves out all others.
    """
    papers: StoreCorpus | Corpus
    source, stamp, asked = str(folder), None, options.of_corpus()
    if corpus is not None:
        source, stamp = source_of(corpus)
        papers = open_papers(corpus, options)
    else:
        papers = StoreCorpus(folder, known)
        if known is not None and asked == BuildOptions().of_corpus():  # all of them: from where those came
            source, stamp, asked = known.corpus.source, known.corpus.stamp, known.corpus.options
    path = folder / f"papers-{number}.sqlite"
    counts, empty = _Counts(), list[str]()
    with new_path(path) as temporary:
        writer = CatalogueWriter(temporary, sample=(options.sample, options.seed) if options.sample else None)
        try:
            for paper in _selected(papers, writer, counts, empty, options, having):
                writer.add(paper, text=template.render(paper))
                if counts.n_selected % REPORT_EVERY == 0:
                    progress(step_of(papers.fraction(), n_read=counts.n_read, n_taken=counts.n_selected))
            if not len(writer):
                if having is not None and counts.n_without_vector:
                    raise nothing_in_common((papers.name, counts.without_vector), (having.name, list(having.ids)))
                raise CorpusError(f"expected papers with an abstract in {papers.name}, found {_none(counts)}")
            checksum = writer.finish()
        finally:
            writer.close()
    progress(step_of(1.0, n_read=counts.n_read, n_taken=counts.n_selected))
    note = CorpusNote(
        source=source,
        stamp=stamp,
        options=asked,
        checksum=checksum,
        n_read=counts.n_read,
        n_selected=counts.n_selected,
        n_repeated=writer.n_repeated,
        n_empty=counts.n_empty,
        n_content_ids=counts.n_content_ids,
        n_without_vector=counts.n_without_vector,
    )
    return describe(folder, path), note, tuple(empty)


def index_words(folder: Path, papers: FileEntry, *, number: int, progress: Progress) -> list[FileEntry]:
    """Make the keyword index of generation `number` from its catalogue."""
    catalogue = Catalogue(folder / papers.name)
    n_papers, path = len(catalogue), folder / f"keywords-{number}"

    def report(n: int) -> None:
        if n % REPORT_EVERY == 0 or n == n_papers:
            progress(Step(stage=Stage.KEYWORDS, done=n, total=n_papers, n_papers=n))

    with new_path(path) as temporary:
        keywords.build(temporary, catalogue.span(0, catalogue.n_rows), progress=report)
    return [describe(folder, file) for file in sorted(path.iterdir())]


def _selected(
    papers: Iterable[Paper],
    writer: CatalogueWriter,
    counts: _Counts,
    empty: list[str],
    options: BuildOptions,
    having: Having | None,
) -> Iterator[Paper]:
    """The papers to keep. A later record of an id stands, so one that is not selected takes the earlier one out."""
    for paper in papers:
        counts.n_read += 1
        if paper.deleted:
            writer.discard(paper.id)
            continue
        if not options.selection.matches(paper):
            writer.discard(paper.id)
            continue
        if not paper.abstract.strip():
            if options.strict:
                raise CorpusError(
                    f"expected an abstract in each paper, found none in {paper.id} (record {counts.n_read})"
                )
            counts.n_empty += 1
            empty.extend([paper.id] if len(empty) < NAMED_EMPTY else [])
            continue
        if having is not None and paper.id not in having.ids:
            counts.n_without_vector += 1
            counts.without_vector.extend([paper.id] if len(counts.without_vector) < NAMED_IDS else [])
            continue
        counts.n_selected += 1
        counts.n_content_ids += paper.id.startswith(CONTENT_ID_PREFIX)
        yield paper
        if options.limit is not None and len(writer) >= options.limit:
            return


def _none(counts: _Counts) -> str:
    if not counts.n_read:
        return "no record at all"
    left_out = counts.n_read - counts.n_selected - counts.n_empty
    records = f"{counts.n_read:,} record{'s' * (counts.n_read != 1)}"
    return f"{records}, of which {left_out:,} are not selected and {counts.n_empty:,} have no abstract"
