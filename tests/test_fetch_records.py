"""Records of the snapshot, written as XML and fetched, are the same records again."""

from __future__ import annotations

import gzip
import json
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from fetched_papers import AFFILIATED, TRAITS, one_version, paper
from lxml import etree
from oai_server import HEAD, completed, serving, to_xml

from embedsearch.corpus import open_corpus
from embedsearch.corpus.fields import Columns, to_paper
from embedsearch.errors import ServerError
from embedsearch.fetch import fetch
from embedsearch.fetch.protocol import Malformed, OaiError, read_answer, read_page
from embedsearch.fetch.records import BadRecord, to_record

REAL = Path(__file__).parents[2] / "shared" / "data" / "arxiv-astro-10k.jsonl.gz"
RAW_LACKS = {"authors_parsed"}
PARSED_LACKS = {"submitter", "versions"}


def read_back(record: dict[str, Any], prefix: str) -> dict[str, Any]:
    document = f"{HEAD}<ListRecords>{to_xml(record, prefix)}</ListRecords></OAI-PMH>"
    page = read_page(read_answer(document.encode(), "ListRecords"), prefix)
    return page.records[0]


@pytest.mark.parametrize("trait", TRAITS)
def test_raw_records_have_every_field_but_the_parsed_authors(trait: str) -> None:
    record = TRAITS[trait]
    assert read_back(record, "arXivRaw") == {k: v for k, v in record.items() if k not in RAW_LACKS}


@pytest.mark.parametrize("trait", TRAITS)
def test_parsed_records_have_every_field_but_submitter_and_versions(trait: str) -> None:
    record = TRAITS[trait]
    found = read_back(record, "arXiv")
    days = {"five versions": "2020-04-01", "old id": "1999-06-29", "old id of a subject": "2003-08-31"}
    day = days.get(trait, "2020-05-07")
    assert found == {k: v for k, v in record.items() if k not in PARSED_LACKS} | {"created": day}


@pytest.mark.parametrize("prefix", ["arXiv", "arXivRaw"])
@pytest.mark.parametrize("trait", TRAITS)
def test_readers_make_the_same_paper_of_it(trait: str, prefix: str) -> None:
    record = TRAITS[trait]
    expected, found = (to_paper(r, Columns()) for r in (record, read_back(record, prefix)))
    for name in ("id", "abstract", "title", "categories", "published", "updated", "doi", "journal_ref", "comments"):
        assert getattr(found, name) == getattr(expected, name), name
    assert (found.licence, found.extra, found.authors) == (expected.licence, expected.extra, expected.authors)
    assert found.version == (expected.version if prefix == "arXivRaw" else None)


def test_a_day_that_is_not_the_first_versions_is_left_out() -> None:
    """An id tells its month; a version of a later one is not the first."""
    late = paper(1, versions=one_version("Mon, 01 Jun 2020"))
    found = read_back(late, "arXiv")
    assert "created" not in found
    assert to_paper(found, Columns()).published == "2020-05"
    assert to_paper(read_back(paper(1), "arXiv"), Columns()).published == "2020-05-07"


def test_affiliations_are_in_the_parts_and_in_the_raw_text() -> None:
    assert read_back(AFFILIATED, "arXivRaw")["authors"] == AFFILIATED["authors"]
    found = read_back(AFFILIATED, "arXiv")
    assert found["authors_parsed"] == AFFILIATED["authors_parsed"]
    assert found["authors"] == "Ada Nwosu, Ivo Brand"


def test_a_fetched_file_is_read_as_a_corpus(tmp_path: Path) -> None:
    out = tmp_path / "papers.jsonl"
    with serving(TRAITS.values(), page_size=3) as server:
        fetch(["physics"], out, since="2026", base_url=server.url, pause=0)
    papers = {found.id: found for found in open_corpus(out)}
    assert papers == {(made := to_paper(record, Columns())).id: made for record in TRAITS.values()}


def test_a_deleted_record_is_its_id_and_day() -> None:
    deleted = {"id": "math/0309136", "deleted": True, "update_date": "2026-01-05"}
    assert read_back(deleted, "arXiv") == read_back(deleted, "arXivRaw") == deleted


def test_subject_classes_and_capitals_of_ids_are_made_normal() -> None:
    assert read_back(paper(1, id="math.GT/0309136"), "arXivRaw")["id"] == "math/0309136"
    header = "<header status='deleted'><identifier>oai:arxiv.org:math.GT/0309136</identifier>"
    text = f"<record xmlns='http://www.openarchives.org/OAI/2.0/'>{header}<datestamp>2026-01-05</datestamp></header>"
    assert to_record(etree.fromstring(f"{text}</record>"), "arXiv")["id"] == "math/0309136"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda text: text.replace("identifier>", "other>"), "a record without a name"),
        (lambda text: text.replace("2026-01-05", "2026-13-05"), "oai:arXiv.org:2005.00001 without a day"),
        (lambda text: text.replace("2026-01-05", ""), "oai:arXiv.org:2005.00001 without a day"),
        (lambda text: text.replace("arXivRaw", "other"), "oai:arXiv.org:2005.00001 without <arXivRaw>"),
    ],
)
def test_what_is_no_record_is_named(change: Any, expected: str) -> None:
    text = change(to_xml(paper(1), "arXivRaw"))
    root = etree.fromstring(f"<x xmlns='http://www.openarchives.org/OAI/2.0/'>{text}</x>")
    with pytest.raises(BadRecord, match=expected):
        to_record(root[0], "arXivRaw")


LEVELS = "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefghi", "bcdefghij", strict=True))
BOMB = f"""<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha">{LEVELS}]>
<OAI-PMH><ListRecords>&j;</ListRecords></OAI-PMH>"""
OUTSIDE = """<?xml version="1.0"?><!-- <a> --><!DOCTYPE l [<!ENTITY x SYSTEM "file:///etc/hostname">]>
<OAI-PMH><ListRecords>&x;</ListRecords></OAI-PMH>"""


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        OUTSIDE,
        BOMB.replace("<OAI-PMH>", '<OAI-PMH a="&j;">'),
        BOMB.replace('<?xml version="1.0"?>', "\ufeff"),
        OUTSIDE.replace("<!-- <a> -->", "<?x <b> ?>\n"),
        '<!DOCTYPE l SYSTEM "http://127.0.0.1:9/l.dtd"><OAI-PMH/>',
    ],
)
def test_entities_are_refused(text: str) -> None:
    with pytest.raises(ServerError, match="without a DOCTYPE"):
        read_answer(text.encode(), "ListRecords")


def test_a_bomb_in_another_encoding_is_no_xml() -> None:
    with pytest.raises(Malformed, match="not whole"):
        read_answer(BOMB.encode("utf-16"), "ListRecords")


def test_a_deep_document_is_refused() -> None:
    with pytest.raises(Malformed, match="not whole"):
        read_answer(b"<a>" * 100_000, "ListRecords")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "not whole"),
        ("{}", "not whole"),
        ("<!DOCTYPE html><html><body>Hello</body></html>", "a page for people"),
        ("<HTML>", "a page for people"),
        ("<rss/>", "begins with <rss>"),
        (f"{HEAD}</OAI-PMH>", "without <ListRecords>"),
        (f"{HEAD}<ListRecords><record>", "not whole"),
        (f"{HEAD}<ListRecords>&nbsp;</ListRecords></OAI-PMH>", "not whole"),
        (f"{HEAD}<ListRecords>\x01</ListRecords></OAI-PMH>", "not whole"),
    ],
)
def test_what_is_no_answer_is_named(text: str, expected: str) -> None:
    with pytest.raises(Malformed, match=expected):
        read_answer(text.encode(), "ListRecords")


def test_errors_of_the_protocol_have_their_code() -> None:
    with pytest.raises(OaiError, match=r"^no such thing$") as found:
        read_answer(f'{HEAD}<error code="badArgument"> no\n such thing </error></OAI-PMH>'.encode(), "ListRecords")
    assert found.value.code == "badArgument"


@pytest.mark.parametrize("day", ["0001-01-01T00:00:00Z", "soon", ""])
def test_an_answer_of_no_day_has_none(day: str) -> None:
    document = f"{HEAD}<responseDate>{day}</responseDate><ListRecords/></OAI-PMH>"
    assert read_answer(document.encode(), "ListRecords").day is None


def test_comments_do_not_cut_texts() -> None:
    text = to_xml(paper(1), "arXivRaw").replace("abstract.", "ab<!-- x -->str<?y z?>act.")
    document = f"{HEAD}<ListRecords>{text}</ListRecords></OAI-PMH>"
    page = read_page(read_answer(document.encode(), "ListRecords"), "arXivRaw")
    assert page.records[0]["abstract"] == "The 1-th abstract."


@pytest.mark.skipif(not REAL.exists(), reason="the real records are not here")
def test_real_records_are_the_same_again() -> None:
    with gzip.open(REAL, "rt", encoding="utf-8") as file:
        records = [completed(json.loads(line)) for line in islice(file, 500)]
    for record in records:
        raw, parsed = read_back(record, "arXivRaw"), read_back(record, "arXiv")
        assert raw == {k: v for k, v in record.items() if k not in RAW_LACKS}
        assert {k: v for k, v in parsed.items() if k != "created"} == {
            k: v for k, v in record.items() if k not in PARSED_LACKS
        }
