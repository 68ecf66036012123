"""The papers of a corpus in memory, chosen as a build chooses them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from embedsearch.corpus import sample_path
from embedsearch.records import Paper
from embedsearch.stages.ingest import check_source, read_corpus
from embedsearch.stages.options import BuildOptions, Step
from embedsearch.store.catalogue import Catalogue
from embedsearch.store.generation import CorpusNote
from embedsearch.texts import Template


@dataclass(frozen=True, slots=True, kw_only=True)
class Papers:
    """Papers in the order of their corpus, the text that is made of each, and what was left out."""

    papers: list[Paper]
    texts: list[str]
    note: CorpusNote


def read_papers(
    corpus: str | Path | None = None,
    *,
    options: BuildOptions | None = None,
    progress: Callable[[Step], None] | None = None,
) -> Papers:
    """The papers with an abstract of a file, of "-" (stdin), of a store's folder, or of the bundled sample (None).

    Of `options` what chooses papers and makes their text counts (`selection`, `limit`, `sample`, `seed`, `fields`,
    `strict`, `template`): the papers are those that build-index would take, a repeated id among them once.
    Raises CorpusError, OptionError or StoreError where they cannot be read or there is none.
    """
    options = options or BuildOptions()
    check_source(corpus, options)
    template = Template.parse(options.template or "{abstract}")
    with tempfile.TemporaryDirectory(prefix="embedsearch-") as folder:
        entry, note, _ = read_corpus(
            Path(folder),
            corpus or sample_path(),
            number=1,
            template=template,
            options=options,
            progress=progress or (lambda step: None),
        )
        catalogue = Catalogue(Path(folder) / entry.name)
        papers = [stored.paper for stored in catalogue.span(0, catalogue.n_rows)]
    return Papers(papers=papers, texts=[template.render(paper) for paper in papers], note=note)
