"""Each format, as text."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, replace
from typing import Any

import pytest
from rich.console import Console

from embedsearch.records import Hit, Paper, SearchResult
from embedsearch.render import bibtex, stores, terminal
from embedsearch.render import results as render


def hit(**changes: Any) -> Hit:
    paper = Paper(
        id="0704.0044", abstract="raw", title="The $\\Lambda$ of M\\\"uller's M31", authors=("A. M\\\"uller", "B. Doe"),
        categories=("astro-ph",), published="2007-04-02",
    )  # fmt: skip
    values: dict[str, Any] = {
        "rank": 1, "id": "0704.0044", "score": 0.123456789, "cosine": None, "title": "The Λ of Müller's M31",
        "abstract": "First. Second, best.", "authors": ("A. Müller", "B. Doe"), "categories": ("astro-ph",),
        "published": "2007-04-02", "sentence": "Second, best.", "paper": paper,
    }  # fmt: skip
    return Hit(**values | changes)


def result(*hits: Hit) -> SearchResult:
    return SearchResult(query="q", mode="hybrid", hits=hits)


def shown(*hits: Hit, width: int = 100, **options: Any) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=options.get("links", False))
    console.print(terminal.hits_table(result(*hits), **{"links": False} | options))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert isinstance(text, str)
    return text


def test_json_has_the_documented_shape() -> None:
    loaded = json.loads(render.to_json(render.result_dict(result(hit()))))
    assert list(loaded) == ["query", "mode", "hits"]
    assert list(loaded["hits"][0]) == [
        "rank", "id", "score", "cosine", "title", "abstract", "authors", "categories", "published",
    ]  # fmt: skip
    assert loaded["hits"][0]["cosine"] is None
    assert "\n" not in render.to_json(loaded, indent=None)


def test_a_paper_in_full_has_every_field_as_the_corpus_has_it() -> None:
    paper = replace(hit().paper, extra={"n_stars": 3, "notes": ["a", None]}, version=2)
    whole = render.result_dict(result(hit(paper=paper)), full=True)["hits"][0]
    assert whole["sentence"] == "Second, best."
    shown = {name: value for name, value in asdict(paper).items() if name != "deleted"}
    assert render.to_json(whole["paper"]) == render.to_json(shown)


def test_csv_reads_back() -> None:
    awkward = hit(title='a "b", c\nd', cosine=0.5)
    rows = list(csv.DictReader(io.StringIO(render.to_csv([result(awkward), result()]))))
    assert len(rows) == 1
    assert rows[0]["title"] == 'a "b", c\nd'
    assert rows[0]["authors"] == "A. Müller; B. Doe"
    assert rows[0]["cosine"] == "0.5"


def test_bibtex() -> None:
    assert bibtex.to_bibtex([hit().paper]) == (
        "@misc{muller2007mullers,\n"
        "  title         = {{The $\\Lambda$ of M\\\"uller's M31}},\n"
        '  author        = {A. M\\"uller and B. Doe},\n'
        "  year          = {2007},\n"
        "  month         = apr,\n"
        "  eprint        = {0704.0044},\n"
        "  archivePrefix = {arXiv},\n"
        "  primaryClass  = {astro-ph},\n"
        "  url           = {https://arxiv.org/abs/0704.0044},\n"
        "}\n"
    )


def test_bibtex_of_a_published_paper_and_of_one_that_is_not_arxivs() -> None:
    published = bibtex.to_bibtex([Paper(id="x1", abstract="a", title="T", journal_ref="ApJ 1, 2", doi="10.1/x")])
    assert published.startswith("@article{t,")
    assert "journal       = {ApJ 1, 2}" in published
    assert "doi           = {10.1/x}" in published
    assert "eprint" not in published
    assert "year" not in published


def test_bibtex_of_an_odd_category() -> None:
    entry = bibtex.to_bibtex([Paper(id="2001.00001", abstract="", title="T", categories=("a}b",))])
    assert "primaryClass  = {ab}," in entry


def test_bibtex_keys_are_unique() -> None:
    entries = bibtex.to_bibtex([hit().paper] * 29)
    keys = [line[6:-1] for line in entries.splitlines() if line.startswith("@misc")]
    assert len(set(keys)) == 29
    assert keys[:3] == ["muller2007mullers", "muller2007mullersa", "muller2007mullersb"]
    assert keys[-1] == "muller2007mullersab"


def test_bibtex_has_no_control_characters() -> None:
    entry = bibtex.to_bibtex([Paper(id="x", abstract="", title="a\x1b[31m\x9b2J b", authors=("C\u202e D",))])
    assert "{{a [31m 2J b}}" in entry
    assert "{C D}" in entry


@pytest.mark.parametrize("title", ["a { b", "a } b {", "}{", "x \\{ y", "$\\left\\{ x \\right.$"])
def test_bibtex_entries_stay_whole(title: str) -> None:
    entry = bibtex.to_bibtex([Paper(id="x", abstract="", title=title)])
    assert entry.count("{") == entry.count("}")  # BibTeX counts those behind a backslash too


def test_table() -> None:
    text = shown(hit())
    assert "1  0.123  The Λ of Müller's M31" in text
    assert "A. Müller, B. Doe · 2007 · astro-ph · https://arxiv.org/abs/0704.0044" in text
    assert "Second, best." in text
    assert "First." not in text
    assert "First. Second, best." in shown(hit(), abstracts=True)


def test_links_are_escape_sequences_on_a_terminal_alone() -> None:
    assert "\x1b]8;" in shown(hit(), links=True)
    assert "\x1b" not in shown(hit())
    assert "https" not in shown(hit(id="mine-1"))


def test_many_authors() -> None:
    assert "A, B, C, D et al." in shown(hit(authors=tuple("ABCDEF")))


def test_nothing_found() -> None:
    assert "no paper found" in shown()


def test_control_characters_do_not_reach_a_terminal() -> None:
    text = shown(hit(title="a\x1b[31mb\x07\u202ec", sentence="\x9b2J"))
    assert not any(c in text for c in "\x1b\x07\u202e\x9b")


def test_markup_in_a_paper_is_text() -> None:
    assert "[bold]x[/bold]" in shown(hit(title="[bold]x[/bold]"))


@pytest.mark.parametrize(
    ("n", "text"), [(0, "0 bytes"), (999, "999 bytes"), (15_400_000, "15.4 MB"), (7.2e9, "7.2 GB")]
)
def test_byte_size(n: float, text: str) -> None:
    assert stores.byte_size(n) == text
