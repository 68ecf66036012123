"""Queries to measure an index with, such as people ask: titles of papers, and sentences of abstracts."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

from embedsearch.ann.measuring import Probes, spread
from embedsearch.encoders import Encoder, Role
from embedsearch.encoders.openai import ServiceEncoder
from embedsearch.errors import BadVector
from embedsearch.sentences import sentences
from embedsearch.stages.given import GivenVectors
from embedsearch.store.catalogue import Catalogue, StoredPaper
from embedsearch.store.generation import Generation
from embedsearch.transform import Transform

MOST_PAPERS = 256
"""Whose title and one sentence are embedded: 512 short texts, a few seconds for a small model on two cores."""

PAPERS_FOR_ONE = 8
"""Of fewer papers fewer are asked about."""

SHORTEST_SENTENCE = 40
"""Characters: what is shorter says little."""


def probes_of(
    folder: Path, generation: Generation, encoder: Encoder, *, transform: Transform | None = None
) -> Probes | None:
    """Titles and sentences of some papers, always the same, embedded as queries. A title's own paper counts as found.

    None where no query can be embedded, or where it would cost money that nobody has agreed to.
    """
    if isinstance(encoder, (GivenVectors, ServiceEncoder)):
        return None
    n = min(MOST_PAPERS, -(-generation.n_papers // PAPERS_FOR_ONE))
    catalogue = Catalogue(folder / generation.papers.name)
    papers = catalogue.papers(catalogue.rows()[spread(generation.n_papers, n)])
    titles = [paper.title for paper in papers if paper.title.strip()]
    texts = titles + [sentence for paper in papers if (sentence := _sentence_of(paper))]  # halves have both kinds
    if not texts:
        return None
    try:
        vectors = np.asarray(encoder.encode(texts, role=Role.QUERY), np.float32)
        vectors = transform.apply(vectors) if transform else vectors
    except BadVector:  # one odd text is no reason to fail after all papers are embedded
        return None
    return Probes(vectors=vectors, source="titles and sentences")


def _sentence_of(paper: StoredPaper) -> str | None:
    """One of its sentences, by the hash of its id."""
    found = [text for text in map(str.strip, sentences(paper.abstract)) if len(text) >= SHORTEST_SENTENCE]
    return found[zlib.crc32(paper.paper.id.encode()) % len(found)] if found else None
