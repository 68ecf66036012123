"""BibTeX as ADS, arXiv, INSPIRE, Zotero and Google Scholar write it, as people break it, and its papers in an index."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import corpora
import numpy as np
import pytest
from fake_encoder import FakeEncoder
from running import run

from embedsearch.build import build_index
from embedsearch.corpus.bib import BibEntry, read_bib
from embedsearch.errors import CorpusError, MissingExtra, PaperNotFound
from embedsearch.search import Searcher
from embedsearch.search.library import Library, find_library
from embedsearch.search.view import StoreView


def read(folder: Path, text: str | bytes) -> Any:
    path = folder / "mine.bib"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_bib(path)


WRITTEN = {
    "ADS": (
        r"""@ARTICLE{2023ApJ...943...47A,
       author = {{M{\"u}ller}, Anna and {Writer}, Bob},
        title = "{The H{\ensuremath{\alpha}} luminosity of {\ensuremath{\Lambda}}CDM galaxies}",
      journal = {\apj},
        month = jan,
          doi = {10.3847/1538-4357/ACAB0C},
archivePrefix = {arXiv},
       eprint = {2212.01234},
 primaryClass = {astro-ph.GA},
       adsurl = {https://ui.adsabs.harvard.edu/abs/2023ApJ...943...47A}
}""",
        BibEntry(
            key="2023ApJ...943...47A",
            title="The Hα luminosity of ΛCDM galaxies",
            eprint="2212.01234",
            doi="10.3847/1538-4357/acab0c",
            author="Müller",
        ),
    ),
    "ADS, by its bibcode": (
        "@MISC{x, adsurl = {https://ui.adsabs.harvard.edu/abs/2023arXiv230101237A}}",
        BibEntry(key="x", eprint="2301.01237"),
    ),
    "ADS, by its key": ("@MISC{2010arXiv1001.1234B}", BibEntry(key="2010arXiv1001.1234B", eprint="1001.1234")),
    "arXiv": (
        """@misc{vaswani2023attention,
      title={Attention Is {All} You Need},
      author={Ashish Vaswani and Noam Shazeer},
      eprint={1706.03762v5},
      archivePrefix={arXiv},
      primaryClass={cs.CL},
      url={https://arxiv.org/abs/1706.03762},
}""",
        BibEntry(
            key="vaswani2023attention", title="Attention Is All You Need", eprint="1706.03762", author="Vaswani"
        ),
    ),
    "INSPIRE": (
        r"""@article{Maldacena:1997re,
    author = "Maldacena, Juan Martin",
    title = "{The Large $N$ limit of superconformal field theories}",
    eprint = "hep-th/9711200",
    archivePrefix = "arXiv",
    doi = "10.4310/ATMP.1998.v2.n2.a1",
    pages = "231--252",
}""",
        BibEntry(
            key="Maldacena:1997re",
            title="The Large N limit of superconformal field theories",
            eprint="hep-th/9711200",
            doi="10.4310/atmp.1998.v2.n2.a1",
            author="Maldacena",
        ),
    ),
    "Zotero": (
        "@misc{a_2023, title = {A {{Deep}} Thing}, author = {{The Team}}, url = {http://arxiv.org/abs/2301.01235},\n"
        "doi = {10.48550/arXiv.2301.01235}, number = {arXiv:2301.01235}, publisher = {arXiv}}",
        BibEntry(key="a_2023", title="A Deep Thing", eprint="2301.01235", author="The Team"),
    ),
    "Zotero, by its note": (
        "@article{b, note = {arXiv: 2301.01236 [astro-ph]}}", BibEntry(key="b", eprint="2301.01236"),
    ),
    "Google Scholar": (
        "@article{c, title={Seen}, author={Vaswani, Ashish and others}, journal={arXiv preprint arXiv:1706.03763}}",
        BibEntry(key="c", title="Seen", eprint="1706.03763", author="Vaswani"),
    ),
    "Semantic Scholar": (
        "@article{o, title={Seen}, journal={ArXiv}, volume={abs/1706.03764}}",
        BibEntry(key="o", title="Seen", eprint="1706.03764"),
    ),
    "seven digits of no archive": (
        "@article{n, eprint = {0601002}, archivePrefix = {arXiv}, url = {https://arxiv.org/abs/astro-ph/0601003v1}}",
        BibEntry(key="n", eprint="astro-ph/0601003"),
    ),
    "an old one without its archive": (
        "@article{d, eprint = {0601002}, archivePrefix = {astro-ph}}", BibEntry(key="d", eprint="astro-ph/0601002"),
    ),
    "a subject class": (
        "@article{e, eprint = {0309136v2}, primaryclass = {math.GT}}", BibEntry(key="e", eprint="math/0309136"),
    ),
    "addresses of DOIs": (
        r"@article{f, doi = {https://doi.org/10.1051/0004/201\_833}}", BibEntry(key="f", doi="10.1051/0004/201_833"),
    ),
    "a DOI as address": (
        r"@article{g, url = {\url{http://dx.doi.org/10.1000/X}}}", BibEntry(key="g", doi="10.1000/x"),
    ),
    "another paper in the note": ("@article{h, note = {Comment: 5 pages, see arXiv:2301.99999}}", BibEntry(key="h")),
    "another archive": ("@article{i, eprint = {hal-01234567}, archivePrefix = {HAL}}", BibEntry(key="i")),
    "strings": (
        '@string{deep = "Deep "}\n@article{j, TITLE = deep # {Im{\\\'p}act} # " of things"}',
        BibEntry(key="j", title="Deep Imṕact of things"),
    ),
    "round brackets": ("@article(k, title = {A}, year = 2001)", BibEntry(key="k", title="A")),
    "fields twice": ("@article{l, title = {First}, title = {Second}}", BibEntry(key="l", title="First")),
    "braces beside each other": (
        r"""@article{m, title = {{\"U}ber and {B}}}""", BibEntry(key="m", title="Über and B")
    ),
    "a mark of its own": (
        '@article{p, title = "A # {B} # C" # { # D}}', BibEntry(key="p", title="A # B # C # D")
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "entry"), list(WRITTEN.values()), ids=list(WRITTEN))
def test_entries_as_they_are_written(tmp_path: Path, text: str, entry: BibEntry) -> None:
    bib = read(tmp_path, text)
    assert bib.entries == (entry,)
    assert bib.problems == ()


def test_what_is_no_entry_is_passed_over(tmp_path: Path) -> None:
    text = '% me@there.org\n@comment{jabref @article{no, title={x}}}\n@preamble{"\\newcommand{\\a}{@b}"}\n'
    bib = read(tmp_path, text + "@string{a = {b}}\nwords between\n@article{yes, title = {Y}}")
    assert [entry.key for entry in bib.entries] == ["yes"]
    assert not bib.problems


BROKEN = {
    "a brace is missing": "@article{a, title = {Never {closed, year = 2000}\n@article{b, title = {B}}",
    "an end is missing": "@article{b, title = {B}}\n@article{a,\n  note = {Cut in the mid",
    "a quote is missing": '@article{a, title = "No end, year = 2000}\n@article{b, title = {B}}',
    "no equals sign": "@article{a, title {A}}\n@article{b, title = {B}}",
}


@pytest.mark.parametrize("text", list(BROKEN.values()), ids=list(BROKEN))
def test_a_damaged_entry_is_said_and_the_others_are_read(tmp_path: Path, text: str) -> None:
    bib = read(tmp_path, text)
    assert [entry.key for entry in bib.entries] == ["b"]
    (problem,) = bib.problems
    line = text[: text.index("@article{a")].count("\n") + 1
    assert problem.startswith(f"line {line}: a damaged entry was left out: @article{{a,")


def test_of_a_damaged_entry_whole_lines_are_read(tmp_path: Path) -> None:
    bib = read(
        tmp_path,
        "@misc{a,\n author = {A. Gordon\\},\n  Eprint = {2301.00001v1},\n year = 2001\n}\n@misc{b, doi={10.1000/b}}",
    )
    assert bib.entries == (
        BibEntry(key="a", eprint="2301.00001", author="Gordon\\"),
        BibEntry(key="b", doi="10.1000/b"),
    )
    assert bib.problems == ("line 1: a damaged entry was read in part: a",)


def test_equal_keys_are_said_and_both_are_kept(tmp_path: Path) -> None:
    bib = read(tmp_path, "@article{a, title = {One}}\n\n@article{a, title = {Two}}")
    assert [entry.title for entry in bib.entries] == ["One", "Two"]
    assert bib.problems == ("line 3: the key a a second time",)


@pytest.mark.parametrize(
    ("data", "problems"),
    [
        ("@misc{a, title = {Müller}}".encode(), ()),
        ("\ufeff@misc{a, title = {Müller}}".encode(), ()),
        ("@misc{a, title = {Müller}}".encode("utf-16"), ()),
        (
            "\n@misc{a, title = {Müller}}".encode("latin-1"),
            ("line 2: not in UTF-8: the whole file is read as Latin-1",),
        ),
        ("@misc{a,\r\n title = {Müller},\r\n}\r\n".encode(), ()),
    ],
    ids=["UTF-8", "with a mark", "UTF-16", "Latin-1", "Windows"],
)
def test_encodings(tmp_path: Path, data: bytes, problems: tuple[str, ...]) -> None:
    bib = read(tmp_path, data)
    assert bib.entries == (BibEntry(key="a", title="Müller"),)
    assert bib.problems == problems


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "found none: the file is empty"),
        (b" \n\t ", "found none: the file is empty"),
        (b"<!DOCTYPE html><title>@ADS</title>", "this is a page of the web: save the BibTeX itself"),
        (b"2301.01234\n2301.01235\n", r"expected entries of BibTeX \(@article\{...\}\), found none$"),
        (b"@article{a, title = {", "found none: line 1: a damaged entry was left out"),
        (b"@string{a = {b}}", "found none$"),
        (b"\x00" * 1000, "found none"),
        (b"@article{" + b"{" * 50_000, "found none"),
        (b"@a{" * 20_000, "found none"),
        (b'@article{a, title="' + b'"' * 20_001, "found none"),
        (bytes(range(256)) * 20, "found none"),
    ],
)
def test_what_is_no_bibtex(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(CorpusError, match=message) as caught:
        read(tmp_path, data)
    assert "mine.bib" in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path, message in ((tmp_path / "no.bib", "no such file"), (tmp_path, "a directory"), ("a\0.bib", "null byte")):
        with pytest.raises(CorpusError, match=f"expected a file of BibTeX, found.*{message}"):
            read_bib(path)


def test_any_bytes_are_read_or_refused(tmp_path: Path) -> None:
    """Whole files with bytes changed, taken away and put in."""
    random = np.random.default_rng(0)
    source = "\n".join(text for text, _ in WRITTEN.values()).encode()
    marks = [b"{", b"}", b'"', b"@", b"\\", b"#", b"=", b",", b"\n@a{", b"(", b")", b"%", b"\0", b"\xff", b"@string{"]
    n_read = 0
    for _ in range(200):
        made = bytearray(source[int(random.integers(200)) :])
        for _ in range(int(random.integers(1, 8))):
            at = int(random.integers(len(made)))
            made[at : at + int(random.integers(20))] = marks[int(random.integers(len(marks)))]
        n_read += len(read(tmp_path, bytes(made)).entries)
    assert n_read > 1000


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("bibtexparser")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "bibtexparser", None)
    with pytest.raises(MissingExtra, match=r"pip install 'embedsearch\[today\]'"):
        read(tmp_path, "@misc{a, title = {A}}")


# ---- in an index -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an index of forty papers, and a .bib of some of them."""
    folder = tmp_path_factory.mktemp("library")
    records = corpora.records(40)
    records[2] |= {"doi": "10.1086/Abc"}
    records[3] |= {"title": r"Dust in $\Lambda$CDM: the Müller effect", "authors": r"A. M\"uller and B. Other"}
    records[4] |= {"title": "Dark matter", "authors": "A. Nobody"}
    records[5] |= {"title": "Dark matter", "authors": "Planck Collaboration and C. Some"}
    build_index(corpora.write(folder / "papers.jsonl", records), folder / "i", encoder=FakeEncoder())
    ids = [record["id"] for record in records]
    (folder / "my.bib").write_text(
        f"@misc{{byid, eprint = {{{ids[0]}v3}}, title = {{Another title}}}}\n"
        f"@misc{{again, eprint = {{{ids[0]}}}}}\n"
        "@article{bydoi, doi = {10.1086/ABC}, eprint = {2512.00001}}\n"
        '@article{bytitle, title = "{Dust in {\\ensuremath{\\Lambda}}CDM: The {M}{\\"u}ller effect}",'
        ' author = {{M{\\"u}ller}, Anna}}\n'
        "@article{team, title = {Dark Matter}, author = {{Planck Collaboration} and {Some}, C.}}\n"
        "@article{stranger, title = {Dark Matter}, author = {Else, Somebody}}\n"
        "@article{unknown, eprint = {2512.00002}, doi = {10.1000/none}, title = {Nowhere}}\n"
    )
    return folder


def library(home: Path, *asked: str) -> Library:
    view = StoreView.open(home / "i")
    found = find_library(view, asked)
    assert find_library(view.catalogue, asked) == found
    assert list(found.rows) == sorted({one.row for one in found.found})
    return found


IDS = [record["id"] for record in corpora.records(40)]


def test_entries_are_matched_by_eprint_then_doi_then_title(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = library(home, str(home / "my.bib"))
    assert [(one.label, one.id, one.by) for one in found.found] == [
        ("byid", IDS[0], "id"), ("again", IDS[0], "id"), ("bydoi", IDS[2], "doi"), ("bytitle", IDS[3], "title"),
        ("team", IDS[5], "title"),
    ]  # fmt: skip
    assert found.ids == (IDS[0], IDS[2], IDS[3], IDS[5])
    assert found.labels == {IDS[0]: "byid", IDS[2]: "bydoi", IDS[3]: "bytitle", IDS[5]: "team"}
    assert found.missing == ("stranger", "unknown")
    assert "2 of 7 papers are not in this index: stranger, unknown" in caplog.text


def test_ids_addresses_and_files_go_together(home: Path) -> None:
    asked = (f"https://arxiv.org/abs/{IDS[9]}v2", "https://doi.org/10.1086/abc", str(home / "my.bib"), IDS[9])
    found = library(home, *asked)
    assert found.ids == (IDS[9], IDS[2], IDS[0], IDS[3], IDS[5])
    assert found.labels[IDS[9]] == asked[0]


@pytest.mark.parametrize("is_verbose", [False, True])
def test_of_many_that_are_missing_the_first_are_named(
    home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, is_verbose: bool
) -> None:
    (tmp_path / "many.BIB").write_text("".join(f"@misc{{key{n}, title = {{None {n}}}}}\n" for n in range(30)))
    caplog.set_level(logging.DEBUG if is_verbose else logging.WARNING, logger="embedsearch")
    assert len(library(home, IDS[1], str(tmp_path / "many.BIB")).missing) == 30
    named = "key0, key1, key2, key3, key4"
    assert f"30 of 31 papers are not in this index: {named}" in caplog.text
    assert ("key29" in caplog.text) == is_verbose
    assert ("and 25 more (-v names all)" in caplog.text) != is_verbose


def test_where_nothing_is_here(home: Path, tmp_path: Path) -> None:
    (tmp_path / "other.bib").write_text("".join(f"@misc{{key{n}, eprint = {{2512.0000{n}}}}}\n" for n in range(7)))
    message = r"expected some of the 7 papers that were named among the 40 in .*/i, found none: key0, .*, key4, \.\.\.$"
    with pytest.raises(PaperNotFound, match=message):
        library(home, str(tmp_path / "other.bib"))
    with pytest.raises(PaperNotFound, match=r"expected the id of one of the 40 papers in .*/i, found '2512.99999'"):
        library(home, "2512.99999")


def test_a_searcher_finds_papers_like_a_library(home: Path) -> None:
    searcher = Searcher.open(home / "i", encoder=FakeEncoder())
    mine = searcher.library([str(home / "my.bib")])
    found = searcher.similar_to(mine.ids, k=40)
    assert {hit.id for hit in found.hits} == set(IDS) - set(mine.ids)
    assert {hit.like for hit in found.hits} <= set(mine.ids)
    assert searcher.library(IDS[1]).ids == (IDS[1],)


# ---- on the command line ---------------------------------------------------------------------------------------------


def test_query_like_a_bib(home: Path) -> None:
    import json

    done = run("query", "--like", "my.bib", "--like", IDS[9], "--index", "i", "-k", "3", "--format", "json", cwd=home)
    searcher = Searcher.open(home / "i", encoder=FakeEncoder())
    expected = searcher.similar_to(searcher.library([str(home / "my.bib"), IDS[9]]).ids, k=3)
    assert [(hit["id"], hit["like"]) for hit in json.loads(done.stdout)["hits"]] == [
        (hit.id, hit.like) for hit in expected.hits
    ]
    assert done.stderr == "2 of 8 papers are not in this index: stranger, unknown\n"
    mean = run("query", "--like", "my.bib", "--combine", "mean", "--index", "i", "-q", "--format", "csv", cwd=home)
    assert mean.stdout.splitlines()[0].endswith(",like")
    assert mean.stderr == ""


def test_the_table_says_which_of_mine_a_hit_is_like(home: Path) -> None:
    done = run("query", "--like", "my.bib", "--index", "i", "-k", "40", "-q", cwd=home)
    lines = {line.strip() for line in done.stdout.splitlines()}
    assert {"like bytitle: Dust in ΛCDM: the Müller effect", "like team: Dark matter"} <= lines
    alone = run("query", "--like", IDS[1], "--index", "i", cwd=home)
    assert "like " not in alone.stdout.replace("Papers like", "")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--like", "none.bib"), 1, "Error: none.bib: expected a file of BibTeX, found no such file"),
        (("--like", "papers.jsonl.bib"), 1, "expected a file of BibTeX, found no such file"),
        (("--like", "2512.99999", "--like", "2512.99998"), 1, "expected some of the 2 papers that were named"),
        (("--like", "my.bib", "--combine", "most"), 2, "'most' is not one of"),
        (("words", "--combine", "mean"), 2, "Expected --combine with --like"),
        (("words", "--like", "my.bib"), 2, "not both"),
    ],
)
def test_what_the_command_refuses(home: Path, arguments: tuple[str, ...], code: int, message: str) -> None:
    done = run("query", *arguments, "--index", "i", cwd=home)
    assert done.returncode == code
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1 or code == 2


def test_a_key_commands_no_terminal(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "odd.bib"
    path.write_text(f"@misc{{k\x1b]0;title\x07\u202e, eprint = {{2512.99999}}}}\n@misc{{a, eprint = {{{IDS[0]}}}}}\n")
    found = run("query", "--like", str(path), "--index", "i", cwd=home)
    assert found.stderr == "1 of 2 papers are not in this index: k ]0;title  \n"
    path.write_text(path.read_text().replace(IDS[0], "2512.99998"))
    nothing = run("query", "--like", str(path), "--index", "i", cwd=home)
    assert nothing.stderr.endswith("found none: k ]0;title  , a\n")


def test_latin_1_and_damage_are_said(home: Path, tmp_path: Path) -> None:
    (tmp_path / "old.bib").write_bytes(
        f"@misc{{a, eprint = {{{IDS[0]}}}, title = {{M\xfcller}}}}\n@misc{{b, title = {{No end".encode("latin-1")
    )
    path = str(tmp_path / "old.bib")
    done = run("query", "--like", path, "--index", "i", cwd=home)
    assert done.returncode == 0
    assert done.stderr == (
        f"{path}: line 1: not in UTF-8: the whole file is read as Latin-1;"
        " line 2: a damaged entry was left out: @misc{b, title = {No end\n"
    )
