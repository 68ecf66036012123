"""Queries and judgments from files, whole and damaged."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import corpora
import pytest
from fake_encoder import FakeEncoder

from embedsearch.build import BuildOptions, build_index
from embedsearch.errors import OptionError, QueryError
from embedsearch.evaluate import Entry, Papers, make_sets
from embedsearch.evaluate.qrels import read_qrels, read_query_sets

TOPICS = "1\tstars of old\n2\tdust: a query\n"
TREC = "1 0 2001.10000 1\n1 0 2002.10001 0\n2 0 2003.10002v2 2\n"
BEIR_QUERIES = '{"_id": "1", "text": "stars of old", "metadata": {}}\n{"_id": "2", "text": "dust: a query"}\n'
BEIR = "query-id\tcorpus-id\tscore\n1\t2001.10000\t1\n1\t2002.10001\t0\n2\thttps://arxiv.org/abs/2003.10002\t2\n"
OWN = (
    '{"query": "stars of old", "relevant": ["2001.10000"], "kind": "words"}\n'
    '{"query": "Ash on dust", "relevant": ["2003.10002"], "kind": "author"}\n'
    '{"query": "gas", "relevant": ["2001.10000", "2002.10001v1"], "kind": "words"}\n'
)


def write(folder: Path, **texts: str | bytes) -> tuple[Path, ...]:
    made = []
    for name, text in texts.items():
        path = folder / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        made.append(path)
    return tuple(made)


@pytest.mark.parametrize("queries", [TOPICS, f"qid\tquery\n{TOPICS}", BEIR_QUERIES, gzip.compress(TOPICS.encode())])
@pytest.mark.parametrize("qrels", [TREC, TREC.replace(" ", "\t"), BEIR, f"\ufeff{TREC}\n", TREC.replace("\n", "\r\n")])
def test_formats(tmp_path: Path, queries: str | bytes, qrels: str) -> None:
    (found,), notes = read_query_sets(*write(tmp_path, topics=queries, qrels=qrels))
    assert [(q.id, q.text, dict(q.relevant)) for q in found.queries] == [
        ("1", "stars of old", {"2001.10000": 1}),
        ("2", "dust: a query", {"2003.10002": 2}),
    ]
    assert (found.name, found.known_items, found.titles, notes) == ("topics", False, True, [])


def test_questions_that_name_their_answers(tmp_path: Path) -> None:
    (path,) = write(tmp_path, **{"mine.jsonl": OWN})
    sets, notes = read_query_sets(path)
    assert not notes
    assert {found.name: [(q.text, dict(q.relevant)) for q in found.queries] for found in sets} == {
        "mine, words": [("stars of old", {"2001.10000": 1}), ("gas", {"2001.10000": 1, "2002.10001": 1})],
        "mine, author": [("Ash on dust", {"2003.10002": 1})],
    }


@pytest.mark.parametrize(
    ("qrels", "message"),
    [
        ("1 0 a 1\n2 0 b\n\n3 0\n", "line 2: expected query, iteration, paper and relevance"),
        ("1 0 a high\n", "line 1: expected a whole number for the relevance, found 'high'"),
        ("1 0 a 0.5\n", "line 1: expected a whole number for the relevance, found '0.5'"),
        ("1 0 a inf\n", "line 1: expected a whole number"),
        ("1 0 a 1\n1 0 a 0\n", "line 2: expected one judgment of a for query 1, found 1 and 0"),
        ("query-id\tcorpus-id\tscore\n", "expected judgments, found none"),
        (b"1 0 a 1\n1 0 \xff 1\n", "line 2: expected UTF-8"),
        (
            "8 0 a 1\n9 0 a 1\n",
            "expected judgments of the queries in .*, such as '1', found none of them: it judges '8'",
        ),
    ],
)
def test_wrong_judgments(tmp_path: Path, qrels: str | bytes, message: str) -> None:
    topics, path = write(tmp_path, topics=TOPICS, qrels=qrels)
    with pytest.raises(QueryError, match=message):
        read_query_sets(topics, path)


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        ("1\tstars\n2 dust\n", "line 2: expected an id, a tab and a query, or JSON, found '2 dust'"),
        ("1\tstars\n2\t \n", "line 2: expected a query, found an empty text"),
        ("1\tstars\n2\tgas\n1\tdust\n", "line 3: expected each query's id once, found '1' in line 1 too"),
        ('{"_id": "1", "text": "a"}\n{"_id": "2", "text"\n', "line 2: expected JSON, found"),
        ('{"_id": "1", "words": "a"}\n', "line 1: expected _id and text, or query and relevant, found"),
        ('{"text": "a"}\n', "line 1: expected an _id, found"),
        ('{"query": "a", "relevant": []}\n', "line 1: expected a list of ids in relevant, found"),
        ('{"query": "a", "relevant": "2001.1"}\n', "line 1: expected a list of ids in relevant, found"),
        ('{"query": "a", "relevant": ["2001.1"]}\n', "expected queries without answers beside .*, found relevant"),
        ("qid\tquery\n", "expected queries, found none"),
        ("\n \n", "expected queries, found none"),
    ],
)
def test_wrong_queries(tmp_path: Path, queries: str, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        read_query_sets(*write(tmp_path, topics=queries, qrels=TREC))


def test_files_that_are_not_there(tmp_path: Path) -> None:
    (topics,) = write(tmp_path, topics=TOPICS)
    with pytest.raises(QueryError, match=r"expected a file at .*nowhere, found none"):
        read_query_sets(topics, tmp_path / "nowhere")
    with pytest.raises(
        QueryError, match="expected the papers that answer each query, found none; name them with --qrels"
    ):
        read_query_sets(topics)


def test_judgments_of_other_queries_are_said(tmp_path: Path) -> None:
    (found,), notes = read_query_sets(*write(tmp_path, topics=TOPICS, qrels=f"{TREC}7 0 2001.10000 1\n"))
    assert len(found) == 2
    assert notes == ["qrels: 1 of 3 judged queries are not in topics"]
    assert read_qrels(tmp_path / "qrels")["7"] == {"2001.10000": 1}


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    folder = tmp_path_factory.mktemp("qrels")
    corpora.write(folder / "papers.jsonl", corpora.records(12))
    build_index(folder / "papers.jsonl", folder / "i", encoder=FakeEncoder(), options=BuildOptions(ann="exact"))
    return Papers.common([Entry.open(folder / "i", encoder=FakeEncoder())])[0]


def test_unknown_papers_are_counted(tmp_path: Path, papers: Papers) -> None:
    qrels = f"{TREC}1 0 9999.00001 1\n3 0 9999.00002 1\n"
    topics, path = write(tmp_path, topics=f"{TOPICS}3\tof nothing here\n4\tnobody judged\n", qrels=qrels)
    (found,), notes = make_sets(papers, queries=topics, qrels=path)
    assert [query.id for query in found.queries] == ["1", "2"]
    assert notes == [
        "topics: 2 of 4 judged papers are not in the corpus",
        "topics: 2 of 4 queries have no answer in the corpus",
    ]


def test_only_unknown_papers_are_an_error(tmp_path: Path, papers: Papers) -> None:
    lines = [json.dumps({"query": "gas", "relevant": [f"9999.0000{i}"]}) for i in range(3)]
    (path,) = write(tmp_path, **{"mine.jsonl": "\n".join(lines)})
    with pytest.raises(
        QueryError, match=r"expected judged papers such as '2001\.10000', found '9999\.00000' and the like"
    ):
        make_sets(papers, queries=path)
    topics, qrels = write(tmp_path, topics=TOPICS, qrels="1 0 2001.10000 0\n")
    with pytest.raises(QueryError, match="found none of a relevance above 0"):
        make_sets(papers, queries=topics, qrels=qrels)
    with pytest.raises(OptionError, match=r"expected the queries that .* judges, found none: name them with --queries"):
        make_sets(papers, qrels=qrels)


def test_one_query_is_too_few(tmp_path: Path, papers: Papers) -> None:
    (path,) = write(tmp_path, **{"mine.jsonl": OWN})
    (found,), notes = make_sets(papers, queries=path)
    assert found.name == "mine, words"
    assert notes == ["mine, author: left out, expected at least 2 such queries, found 1"]
