import csv
import gc
import gzip
import io
import json
import os
import sys
from datetime import date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from embedsearch.corpus import open_corpus
from embedsearch.corpus.authors import split_authors
from embedsearch.errors import CorpusError, OptionError
from embedsearch.records import Paper

REAL = Path(__file__).parent.parent.parent / "shared" / "data" / "arxiv-astro-10k.jsonl.gz"
SNAPSHOT = {
    "id": "0704.0010",
    "submitter": "Somebody",
    "authors": "A. Nu\\~nez (MIT) and B. Other",
    "title": "A title\n  in two lines",
    "comments": "12 pages",
    "journal-ref": "ApJ 1 (2008) 2",
    "doi": "10.1086/ABC",
    "report-no": None,
    "categories": "astro-ph.GA hep-th",
    "license": "http://creativecommons.org/licenses/by/4.0/",
    "abstract": "  An abstract\nwith $x$.\n",
    "versions": [
        {"version": "v1", "created": "Mon, 31 Dec 2007 23:59:18 GMT"},
        {"version": "v3", "created": "Wed, 06 Aug 2025 15:59:18 GMT"},
    ],
    "update_date": "2025-08-07",
    "authors_parsed": [["Nu\\~nez", "A.", "Jr.", "MIT"], ["Other", "B.", ""]],
}
PAPER = Paper(
    id="0704.0010",
    abstract="An abstract\nwith $x$.",
    title="A title\n  in two lines",
    authors=("A. Nu\\~nez Jr.", "B. Other"),
    categories=("astro-ph.GA", "hep-th"),
    published="2007-12-31",
    updated="2025-08-07",
    version=3,
    doi="10.1086/abc",
    journal_ref="ApJ 1 (2008) 2",
    comments="12 pages",
    licence="http://creativecommons.org/licenses/by/4.0/",
)
TWO = [{"id": "2301.00001", "abstract": "one"}, {"id": "2301.00002", "abstract": "two"}]


def lines(*records):
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def write(path, content):
    path.write_bytes(content)
    return path


def read(tmp_path, content, name="papers.jsonl", **options):
    return list(open_corpus(write(tmp_path / name, content), **options))


def refused(tmp_path, content, name="papers.jsonl", **options):
    with pytest.raises(CorpusError) as error:
        read(tmp_path, content, name, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def one(tmp_path, **record):
    [paper] = read(tmp_path, lines({"id": "x", "abstract": "text"} | record))
    return paper


# ---- formats ---------------------------------------------------------------------------------------------------------


def test_arxiv_snapshot(tmp_path):
    assert read(tmp_path, lines(SNAPSHOT), "arxiv-metadata-oai-snapshot.json") == [PAPER]


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("a.jsonl", bytes),
        ("a.jsonl.gz", gzip.compress),
        ("a.jsonl.zst", zstandard.compress),
        ("misnamed.jsonl", gzip.compress),
        ("two-frames.zst", lambda b: zstandard.compress(b[:10]) + zstandard.compress(b[10:])),
        ("two-members.gz", lambda b: gzip.compress(b[:10]) + gzip.compress(b[10:])),
        ("no-suffix", bytes),
        ("bom.jsonl", lambda b: b"\xef\xbb\xbf" + b),
        ("blank-lines.jsonl", lambda b: b"\n" + b.replace(b"\n", b"\r\n\n")),
        ("no-last-newline.jsonl", lambda b: b[:-1]),
    ],
)
def test_json_lines(tmp_path, name, pack):
    papers = read(tmp_path, pack(lines(*TWO)), name)
    assert [(p.id, p.abstract, p.published) for p in papers] == [
        ("2301.00001", "one", "2023-01"),
        ("2301.00002", "two", "2023-01"),
    ]


@pytest.mark.parametrize(
    ("name", "pack"), [("a.csv", bytes), ("a.csv.gz", gzip.compress), ("a.csv.zst", zstandard.compress)]
)
def test_csv_cells_are_text(tmp_path, name, pack):
    out = io.StringIO()
    rows = [
        ["ID", "Abstract", "year"],
        ["0704.0010", 'two\nlines, "quoted" ' + "x" * 200_000, "2007"],
        ["", "second", ""],
    ]
    csv.writer(out).writerows(rows)
    first, second = read(tmp_path, pack(out.getvalue().encode()), name)
    assert (first.id, first.abstract, first.published) == ("0704.0010", rows[1][1], "2007")
    assert second == Paper(id="text:" + second.id[5:], abstract="second")


def test_parquet(tmp_path):
    table = {
        "arxiv_id": ["0704.0010v2", None],
        "summary": ["one", None],
        "authors": [["A. B", "C. D"], None],
        "date": [datetime(2007, 4, 1, 12), None],
        "cites": [3, None],
        "day": [date(2020, 1, 2), None],
        "embed": [[0.5, 0.25], None],
    }
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    corpus = open_corpus(tmp_path / "a.parquet")
    first, second = corpus
    assert first == Paper(
        id="0704.0010",
        version=2,
        abstract="one",
        authors=("A. B", "C. D"),
        published="2007-04-01",
        extra={"cites": 3, "day": "2020-01-02"},
    )
    assert (second.abstract, second.published, second.extra) == ("", None, {})
    assert corpus.fraction() == 1.0


def test_stdin_is_read_once(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines(*TWO))))
    corpus = open_corpus("-")
    assert (corpus.name, corpus.fraction()) == ("stdin", None)
    assert [p.id for p in corpus] == ["2301.00001", "2301.00002"]
    with pytest.raises(CorpusError, match="stdin can be read only once"):
        list(corpus)


def test_a_file_is_read_again_and_knows_how_far_it_is(tmp_path):
    corpus = open_corpus(write(tmp_path / "a.jsonl", lines(*TWO * 10_000)))
    assert (corpus.name, corpus.fraction()) == ("a.jsonl", 0.0)
    shares = [corpus.fraction() for _ in corpus]
    assert shares == sorted(shares)
    assert shares[0] < 0.2
    assert 0.4 < shares[10_000] < 0.7
    assert corpus.fraction() == 1.0
    assert sum(1 for _ in corpus) == 20_000


@pytest.mark.skipif(not REAL.exists(), reason="the real records are not here")
def test_real_records():
    papers = list(open_corpus(REAL))
    assert len({p.id for p in papers}) == 10_000
    assert all(p.abstract and p.title and p.published for p in papers)
    assert {p.id for p in papers if "/" in p.id} == {"astro-ph/9605168", "astro-ph/9903433"}


# ---- columns and values ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["abstract", "summary", "text", "Description"])
def test_conventions(tmp_path, name):
    [paper] = read(tmp_path, lines({"_id": "q1", name: "words", "journal": "ApJ", "cited": 4, "none": None}))
    assert paper == Paper(id="q1", abstract="words", journal_ref="ApJ", extra={"cited": 4})


def test_named_fields_come_before_conventions(tmp_path):
    record = {"id": "a", "key": "b", "abstract": "no", "intro": "yes", "year": 1999}
    [paper] = read(tmp_path, lines(record), fields={"id": "key", "abstract": "intro", "published": ""})
    assert paper == Paper(id="b", abstract="yes", extra={"id": "a", "abstract": "no", "year": 1999})


@pytest.mark.parametrize(
    ("record", "published"),
    [
        ({"published": "2023-01-15"}, "2023-01-15"),
        ({"published": "2023-01-15T10:00:00Z"}, "2023-01-15"),
        ({"date": "2023-01"}, "2023-01"),
        ({"date": "2023-01-00"}, "2023-01"),
        ({"year": 2023}, "2023"),
        ({"year": "2023"}, "2023"),
        ({"year": 2023.0}, "2023"),
        ({"created": "Wed, 06 Aug 2025 23:59:18 -0500"}, "2025-08-07"),
        ({"published": "", "id": "astro-ph/9906432"}, "1999-06"),
        ({"published": None}, None),
    ],
)
def test_published(tmp_path, record, published):
    assert one(tmp_path, **record).published == published


@pytest.mark.parametrize(
    ("value", "id", "version"),
    [
        ("https://arxiv.org/abs/2301.01234v2", "2301.01234", 2),
        (12345, "12345", None),
        (" key ", "key", None),
    ],
)
def test_ids(tmp_path, value, id, version):
    paper = one(tmp_path, id=value)
    assert (paper.id, paper.version) == (id, version)


def test_papers_without_an_id_get_one_from_their_text(tmp_path):
    corpus = open_corpus(write(tmp_path / "a.jsonl", lines({"abstract": "a"}, {"abstract": "a"}, {"abstract": "b"})))
    ids = [paper.id for paper in corpus]
    assert ids[0] == ids[1] != ids[2]
    assert corpus.n_content_ids == 3


def test_an_arxiv_id_may_stand_in_the_doi(tmp_path):
    [paper] = read(tmp_path, lines({"DOI": "2301.01234", "abstract": "a"}))
    assert (paper.id, paper.doi) == ("2301.01234", None)


@pytest.mark.parametrize("abstract", [None, "", " \n ", "\0"])
def test_empty_abstracts_are_handed_on(tmp_path, abstract):
    assert one(tmp_path, abstract=abstract).abstract == ""


def test_a_record_may_leave_the_abstract_out(tmp_path):
    assert [p.abstract for p in read(tmp_path, lines({"id": "a"}, {"id": "b", "abstract": "x"}))] == ["", "x"]


@pytest.mark.parametrize(
    ("categories", "expected"),
    [
        ("astro-ph.GA cs.LG", ("astro-ph.GA", "cs.LG")),
        ("astro-ph.GA, cs.LG", ("astro-ph.GA", "cs.LG")),
        (["astro-ph.GA cs.LG"], ("astro-ph.GA", "cs.LG")),
        (["a", "b", "a"], ("a", "b")),
        (None, ()),
    ],
)
def test_categories(tmp_path, categories, expected):
    assert one(tmp_path, categories=categories).categories == expected


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ()),
        ("A. Name", ("A. Name",)),
        ("A. B, C. D and E. F", ("A. B", "C. D", "E. F")),
        ("A. B, C. D, and E. F", ("A. B", "C. D", "E. F")),
        ("A. B (1 and 2), C. D ((1) MIT, (2) CfA)", ("A. B", "C. D")),
        ("J. M. Muench\n  and C. J.\n  Lada", ("J. M. Muench", "C. J. Lada")),
        ("J. Smith, Jr., K. Griffey III", ("J. Smith Jr.", "K. Griffey III")),
        ("A. B for the NUSES Collaboration", ("A. B", "NUSES Collaboration")),
        ("A. B, on behalf of the X Team", ("A. B", "X Team")),
        ("Euclid Collaboration: A. B, the LSST Collaboration", ("Euclid Collaboration", "A. B", "LSST Collaboration")),
        ("Muench, A. A.; Lada, C. J.", ("A. A. Muench", "C. J. Lada")),
        ("Muench, A. and Lada, C.", ("A. Muench", "C. Lada")),
        ("F. Anderson and S. Brandt", ("F. Anderson", "S. Brandt")),
        ('R. M\\"uller, N. Nu\\~nez', ('R. M\\"uller', "N. Nu\\~nez")),
    ],
)
def test_split_authors(text, names):
    assert split_authors(text) == names


@pytest.mark.parametrize(
    ("authors", "names"),
    [
        (["A. B", "C. D"], ("A. B", "C. D")),
        ([{"name": "A. B"}, {"given": "C.", "family": "D"}], ("A. B", "C. D")),
        ([], ()),
        (None, ()),
    ],
)
def test_lists_of_authors(tmp_path, authors, names):
    assert one(tmp_path, authors=authors).authors == names


def test_extra_holds_what_json_can_hold_but_no_vectors(tmp_path):
    paper = one(tmp_path, keywords=["a", "b"], nested={"x": [1, 2.5]}, vector=[0.1] * 384, empty="", flag=False)
    assert paper.extra == {"keywords": ["a", "b"], "nested": {"x": [1, 2.5]}, "flag": False}


# ---- what is refused -------------------------------------------------------------------------------------------------

GOOD = lines(TWO[0])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GOOD + b"[1, 2]\n", "papers.jsonl, line 2: expected a JSON object, found a list"),
        (GOOD + b"3\n", "papers.jsonl, line 2: expected a JSON object, found a number"),
        (GOOD + b"null\n", "papers.jsonl, line 2: expected a JSON object, found null"),
        (lines({"id": "a", "abstract": ["x"]}), "papers.jsonl, line 1: expected text in 'abstract', found a list"),
        (
            lines({"id": "a", "abstract": "x", "title": 3}),
            "papers.jsonl, line 1: expected text in 'title', found a number",
        ),
        (lines({"id": True, "abstract": "x"}), "papers.jsonl, line 1: expected text in 'id', found true or false"),
        (
            lines({"id": 704.001, "abstract": "x"}),
            "papers.jsonl, line 1: expected text in 'id', found the number 704.001: as a number the id 0704.0010 loses "
            "its zeros; write the ids as text",
        ),
        (
            lines({"id": "a", "abstract": "x", "authors": [1]}),
            "papers.jsonl, line 1: expected names in 'authors', found a list of something else",
        ),
        (
            lines({"id": "a", "abstract": "x", "date": "2023-02-30"}),
            "papers.jsonl, line 1: expected a date such as 2023-01-15 in 'date', found '2023-02-30'; "
            "the field published= with no column leaves dates out",
        ),
        (b"", "papers.jsonl: expected papers, found an empty file"),
        (b"\n\n", "papers.jsonl: expected papers, found no records"),
        (b'{"a": \0}', "papers.jsonl: expected text in UTF-8, found binary data"),
        (
            b'[{"id": "a"}]',
            "papers.jsonl: expected JSON Lines, one object a line, found a JSON array; "
            "convert it: cat papers.jsonl | jq -c '.[]' > papers-lines.jsonl",
        ),
        (
            lines({"id": "a", "title": "t"}),
            "papers.jsonl: expected a column of abstracts (abstract, abstracts, summary, text, description, content), "
            "found the columns id, title; name it with the field abstract=COLUMN",
        ),
    ],
)
def test_refused(tmp_path, content, message):
    assert refused(tmp_path, content) == message


@pytest.mark.parametrize(
    ("content", "start", "end"),
    [
        (
            GOOD + b'{"id": "a", "abs',
            "papers.jsonl, line 2: expected a JSON object, found ",
            "the file may have been cut",
        ),
        (GOOD + b'{"id": "\xff"}\n', "papers.jsonl, line 2: expected a JSON object, found ", ""),
        (GOOD + b'{"id": "\\ud800", "abstract": "x"}\n', "papers.jsonl, line 2: expected a JSON object, found ", ""),
        (GOOD + b'{"id": 0704.0010}\n', "papers.jsonl, line 2: expected a JSON object, found ", ""),
        (GOOD + b"[" * 100_000 + b"\n", "papers.jsonl, line 2: expected a JSON object, found ", ""),
    ],
)
def test_broken_json(tmp_path, content, start, end):
    message = refused(tmp_path, content)
    assert message.startswith(start)
    assert message.endswith(end)
    assert len(message) < 300


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
@pytest.mark.parametrize("kept", [0.5, 0.99])
def test_cut_compressed_files(tmp_path, pack, kept):
    whole = pack(b"".join(lines({"id": str(n), "abstract": os.urandom(20).hex()}) for n in range(5000)))
    message = refused(tmp_path, whole[: int(len(whole) * kept)])
    assert message.startswith("papers.jsonl, after line ")
    assert message.endswith(
        ": expected more compressed data, found the end of the file; fetch or compress the file again"
    )


def test_a_damaged_gzip(tmp_path):
    whole = bytearray(gzip.compress(lines(*TWO * 2000)))
    whole[-6] ^= 1
    assert "found damage (CRC check failed" in refused(tmp_path, bytes(whole))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"id,abstract\n1,x\n2,y,z\n", "a.csv, line 3: expected 2 cells, found 3"),
        ("a.csv", b"id,id,abstract\n", "a.csv: expected each column once, found id twice"),
        (
            "a.csv",
            b'id,abstract\n1,"x\n',
            "a.csv, line 2: expected CSV with quotes doubled, found: unexpected end of data",
        ),
        ("a.csv", b"id,abstract\n1,\xff\n", "a.csv, line 2: expected UTF-8, found the byte 0xff"),
        ("a.csv", b"id,abstract\n", "a.csv: expected papers, found no records"),
        (
            "a.csv",
            b"id;text\n",
            "a.csv: expected a column of abstracts (abstract, abstracts, summary, text, description, content), "
            "found the columns id;text; name it with the field abstract=COLUMN",
        ),
        ("a.parquet", b"hello", "a.parquet: expected Parquet, found a file that does not start with PAR1"),
        (
            "a.txt",
            b"Some words",
            "a.txt: expected JSON Lines, CSV (.csv) or Parquet, plain or .gz or .zst, "
            "found a file that starts with 'Some words'",
        ),
    ],
)
def test_refused_files(tmp_path, name, content, message):
    assert refused(tmp_path, content, name) == message


def test_a_cut_parquet_file(tmp_path):
    pq.write_table(pa.table({"id": ["a"], "abstract": ["x"]}), tmp_path / "a.parquet")
    content = (tmp_path / "a.parquet").read_bytes()
    assert refused(tmp_path, content[:-20], "a.parquet").startswith("a.parquet: expected Parquet, found ")


def test_parquet_ids_are_no_floats(tmp_path):
    pq.write_table(pa.table({"id": [704.001], "abstract": ["x"]}), tmp_path / "a.parquet")
    with pytest.raises(CorpusError, match=r"a\.parquet: expected text in 'id', found numbers \(double\): as a number"):
        open_corpus(tmp_path / "a.parquet")


def test_fields_that_are_not_there(tmp_path):
    path = write(tmp_path / "a.csv", b"id,abstract\n1,x\n")
    with pytest.raises(OptionError, match=r"expected a field of a paper \(id, abstract, .*\), found 'abstrct'"):
        open_corpus(path, fields={"abstrct": "x"})
    with pytest.raises(CorpusError, match=r"a\.csv: expected a column 'summary' \(abstract\), found the columns id, "):
        open_corpus(path, fields={"abstract": "summary"})
    assert refused(tmp_path, GOOD, fields={"title": "name"}).endswith("(title), found the columns id, abstract")


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(CorpusError, match=r"none\.jsonl: expected a file of papers, found no such file"):
        open_corpus(tmp_path / "none.jsonl")
    with pytest.raises(CorpusError, match="expected a file of papers, found a directory"):
        open_corpus(tmp_path)


def test_no_permission(tmp_path, monkeypatch):
    path = write(tmp_path / "a.jsonl", GOOD)

    def refuse(*_):  # root may read everything, whatever chmod says
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(CorpusError, match=r"a\.jsonl: no permission to read it"):
        open_corpus(path)


def test_a_pass_that_is_left_closes_its_file(tmp_path):
    corpus = open_corpus(write(tmp_path / "a.jsonl", lines(*TWO)))
    next(iter(corpus))
    gc.collect()  # a file left open would be a ResourceWarning here, and so an error
