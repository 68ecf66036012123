from collections import Counter

import pytest

from embedsearch.corpus import is_arxiv_id, normal_id, open_corpus, sample_path, sample_queries, to_text


@pytest.fixture(scope="module")
def papers():
    return list(open_corpus(sample_path()))


def test_120_papers_with_ids_in_normal_form(papers):
    ids = [paper.id for paper in papers]
    assert len(ids) == len(set(ids)) == 120
    assert all(is_arxiv_id(id) and normal_id(id).id == id for id in ids)
    assert {("/" in id) for id in ids} == {True, False}


def test_every_paper_is_complete(papers):
    assert all(p.title and p.authors and p.categories and p.published for p in papers)
    assert all(80 <= len(p.abstract.split()) <= 200 for p in papers)


def test_no_text_occurs_twice(papers):
    assert not [title for title, n in Counter(p.title for p in papers).items() if n > 1]
    assert not [text for text, n in Counter(p.abstract for p in papers).items() if n > 1]


def test_the_sample_looks_like_arxiv(papers):
    assert sum("$" in p.abstract for p in papers) >= 60
    assert any("\\" in name or not name.isascii() for p in papers for name in p.authors)
    texts = [to_text(text) for p in papers for text in (p.title, p.abstract, *p.authors)]
    assert not [text for text in texts if "$" in text or "\\" in text]


def test_30_queries_with_papers_that_answer_them(papers):
    queries = sample_queries()
    ids = {paper.id for paper in papers}
    assert len({q.query for q in queries}) == len(queries) == 30
    assert all(q.relevant and set(q.relevant) <= ids for q in queries)
