import re
from collections import Counter

import numpy as np
import pytest

from embedsearch import open_encoder
from embedsearch.corpus import GuardPaper, guard_papers, sample_queries
from embedsearch.encoders import Role

PAPERS = guard_papers()
FIELDS = Counter(paper.field for paper in PAPERS)
ASTRONOMY = re.compile(r"\b(astro\w*|galax\w*|stars?|stellar|telescopes?|planetary|comets?|quasars?|supernova\w*)\b")


def words(text: str) -> set[str]:
    """Words of four letters or more, without a plural's ending."""
    return {word.removesuffix("s") for word in re.findall(r"[a-z]{4,}", text.lower())}


def test_eight_papers_from_each_of_fourteen_fields() -> None:
    assert [paper.id for paper in PAPERS] == [f"guard-{number:03d}" for number in range(1, 113)]
    assert set(FIELDS.values()) == {8}
    assert len(FIELDS) == 14


def test_no_text_occurs_twice() -> None:
    for texts in ([p.title for p in PAPERS], [p.abstract for p in PAPERS], [p.query for p in PAPERS]):
        assert len(set(texts)) == len(PAPERS)
    assert not {p.query for p in PAPERS} & {q.query for q in sample_queries()}


@pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: paper.id)
def test_lengths_and_words(paper: GuardPaper) -> None:
    assert 60 <= len(paper.abstract.split()) <= 110
    assert 3 <= len(paper.title.split()) <= 16
    assert 5 <= len(paper.query.split()) <= 20
    assert not ASTRONOMY.search(f"{paper.field} {paper.title} {paper.abstract} {paper.query}".lower())
    shared = words(paper.query) & words(f"{paper.title} {paper.abstract}")
    assert len(shared) <= 0.5 * len(words(paper.query)), shared


def test_questions_share_few_rare_words_with_their_papers() -> None:
    texts = [words(f"{paper.title} {paper.abstract}") for paper in PAPERS]
    seen = Counter(word for text in texts for word in text)
    shared = [[w for w in words(p.query) & text if seen[w] <= 3] for p, text in zip(PAPERS, texts, strict=True)]
    print(f"{np.mean([len(found) for found in shared]):.2f} rare words shared on average")
    assert max(map(len, shared)) <= 3
    assert np.mean([len(found) for found in shared]) < 1


def test_a_small_model_finds_most_and_not_all() -> None:
    """So that a model which forgets or learns shows it: the guard can move both ways."""
    encoder = open_encoder("minilm")
    papers = encoder.encode([f"{paper.title}. {paper.abstract}" for paper in PAPERS], role=Role.DOCUMENT)
    queries = encoder.encode([paper.query for paper in PAPERS], role=Role.QUERY)
    cosine = queries @ papers.T
    ranks = (cosine >= np.diag(cosine)[:, None]).sum(axis=1)
    mrr = np.where(ranks <= 10, 1 / ranks, 0).mean()
    print(f"minilm: MRR@10 {mrr:.3f}, recall@1 {(ranks == 1).mean():.3f}")
    assert 0.6 < mrr < 0.97
