"""The corpus of the benchmark of many papers: real sentences, and vectors that belong to them."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.scale import queries_of
from benchmarks.scale_corpus import Parts
from embedsearch.corpus import is_arxiv_id, open_corpus
from embedsearch.records import Paper
from embedsearch.sentences import sentences
from embedsearch.store.catalogue import StoredPaper
from embedsearch.store.space import Space

N = 300


@pytest.fixture(scope="module")
def parts() -> Parts:
    texts = [f"Sentence {i} says a. Another one says {i}." for i in range(40)]
    papers = [
        StoredPaper(
            row=i,
            paper=Paper(id=str(i), abstract=text, authors=(f"A. Author{i}",), categories=("gr-qc", "hep-th")[i % 2 :]),
            title=f"Of the matter {i}",
            abstract=text,
            authors=(),
        )
        for i, text in enumerate(texts)
    ]
    return Parts.of(papers, np.random.default_rng(0).standard_normal((40, 16)).astype(np.float32), seed=1)


def test_a_corpus_is_read_with_its_vectors(parts: Parts, tmp_path: Path) -> None:
    corpus, vectors = parts.write(tmp_path, N)
    papers = list(open_corpus(corpus))
    assert [paper.id for paper in papers] == list(Space.open(vectors).ids) == sorted(paper.id for paper in papers)
    assert all(is_arxiv_id(paper.id) for paper in papers)
    known = {sentence for text in parts.texts for sentence in text}
    assert {sentence for paper in papers for sentence in sentences(paper.abstract)} <= known
    assert list(parts.records(N)) == list(parts.records(N))


def test_a_vector_is_made_from_the_paper_that_gives_the_first_half_of_the_title(parts: Parts) -> None:
    real = parts.real_papers(0)[:N]
    cosines = parts.vectors.shard(0, N) @ parts.vectors.rows.T
    assert cosines[np.arange(N), real].mean() > np.median(cosines) + 0.3


def test_queries_are_titles_and_two_words_of_one(parts: Parts) -> None:
    asked = queries_of(parts.papers, 10)
    titles = {stored.title for stored in parts.papers}
    assert set(asked["title"]) <= titles
    assert len(asked["title"]) == len(asked["two words"]) == 10
    assert all(len(query.split()) == 2 for query in asked["two words"])
