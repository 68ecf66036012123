"""`divergent-pairs` as a shell sees it: every form of output, escapes, named pairs, and one clear line for the rest."""

from __future__ import annotations

import csv
import io
import json
from html.parser import HTMLParser
from pathlib import Path

import corpora
import numpy as np
import pytest
from fake_encoder import FakeEncoder
from running import run

from embedsearch.build import BuildOptions, build_index
from embedsearch.pairs.divergent.printed import PRINTED

NASTY = "<script>alert(1)</script> & 50% of $\\alpha$_x | [a](b) #1 \x1b[31m"


class Reversed(FakeEncoder):
    """Counts the same words by how late they stand: another model."""

    def _counts(self, text: str) -> list[float]:
        return [value**2 + 0.3 * i for i, value in enumerate(super()._counts(text))]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("divergent")
    made = corpora.records(40)
    for record in made:
        record["title"] = f"{record['title']} {NASTY}"
        record["abstract"] = f"{record['abstract']} dynamo. Second sentence of the {record['id']}."
    corpora.write(folder / "papers.jsonl", made)
    options = BuildOptions(shard_rows=16)
    build_index(folder / "papers.jsonl", folder / "a", encoder=FakeEncoder(), options=options)
    build_index(folder / "papers.jsonl", folder / "b", encoder=Reversed("reversed"), options=options)
    random = np.random.default_rng(0)
    ids = [record["id"] for record in made[:30]]
    np.savez(folder / "file.npz", ids=np.array(ids), vectors=random.normal(size=(30, 5)).astype(np.float32))
    return folder


def ask(home: Path, *arguments: str, index: str = "a", against: str = "b", code: int = 0, stdin: bytes = b"") -> str:
    done = run("divergent-pairs", "--index", index, "--against", against, *arguments, cwd=home, stdin=stdin)
    assert done.returncode == code, done.stderr
    if code == 1:
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
    return done.stdout if code == 0 else done.stderr


@pytest.mark.parametrize("by", ["rank", "conditional", "raw"])
def test_json(home, by):
    found = json.loads(ask(home, "-n", "4", "--by", by, "--format", "json"))
    assert (found["by"], found["n_papers"], found["n_pairs"], found["halves"]) == (by, 40, 780, None)
    assert [pair["rank"] for pair in found["first"]] == [1, 2, 3, 4]
    for pair in found["first"] + found["second"]:
        assert pair["ids"] == sorted(pair["ids"])
        assert pair["urls"][0] == f"https://arxiv.org/abs/{pair['ids'][0]}"
        assert all(0 <= p <= 100 for p in pair["percentiles"])
        assert pair["n_at_least"] >= pair["rank"]
        assert pair["n_expected"] >= 0
    assert len({id for pair in found["first"] for id in pair["ids"]}) == 8  # each paper once


def test_a_space_without_any_spread_is_json_too(home):
    ids = [record["id"] for record in corpora.records(40)]
    np.savez(home / "flat.npz", ids=np.array(ids), vectors=np.eye(1, 4, dtype=np.float32).repeat(40, axis=0))
    found = json.loads(ask(home, "-n", "2", "--format", "json", against="flat.npz"))
    assert found["spearman"] is None
    assert [pair["n_expected"] for pair in found["first"]] == [None, None]
    told = " ".join(ask(home, "-n", "2", against="flat.npz").split())
    assert "Spearman correlation –" in told
    assert "an unknown number expected" in told
    assert " nan" not in told


def test_a_table_fits_a_terminal(home):
    shown = ask(home, "-n", "3")
    assert max(len(line) for line in shown.splitlines()) <= 100
    assert "given in Python [a] finds close, given in Python [b] does not" in " ".join(shown.split())
    assert "\x1b" not in shown
    assert "neighbour" in shown
    assert "expected" in shown


def test_csv_and_latex(home):
    rows = list(csv.DictReader(io.StringIO(ask(home, "-n", "3", "--format", "csv"))))
    assert len(rows) == 6
    assert rows[0]["title_1"].startswith("Paper ")
    assert float(rows[0]["divergence"]) >= float(rows[1]["divergence"])
    latex = ask(home, "-n", "3", "--format", "latex")
    assert "\\&" in latex
    assert "\\%" in latex
    assert "\\_x" in latex or "\\_{}x" in latex
    body = latex.replace("\\%", "").split("\n", 1)[1]  # the first line is a comment
    assert "%" not in body


class Tags(HTMLParser):
    """What a browser would see."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_page_is_whole_and_escaped(home):
    assert ask(home, "-n", "3", "--out", "pages/page.html") == ""
    page = (home / "pages" / "page.html").read_text()
    seen = Tags()
    seen.feed(page)
    assert {tag for tag, _ in seen.tags}.isdisjoint({"script", "link", "img", "iframe"})
    assert "<script>alert(1)</script> & 50%" in seen.text
    assert "\x1b" not in page
    links = [attrs["href"] for tag, attrs in seen.tags if tag == "a"]
    assert len(links) == 12
    assert all(str(link).startswith("https://arxiv.org/abs/") for link in links)
    markdown = ask(home, "-n", "3", "--out", "page.md") or (home / "page.md").read_text()
    assert "&lt;script&gt;alert(1)" in markdown
    assert "\\[a\\](b)" in markdown


@pytest.mark.parametrize("by", ["rank", "raw"])
def test_a_figure_has_the_same_bytes_each_time(home, by):
    for name in ("one.png", "two.png"):
        ask(home, "-n", "25", "--by", by, "--per-paper", "0", "--out", name)
    assert (home / "one.png").read_bytes() == (home / "two.png").read_bytes()
    ask(home, "-n", "1", "--out", "three.svg", "--format", "json")
    assert (home / "three.svg").exists()


def test_pairs_that_are_named(home):
    pair = json.loads(ask(home, "-n", "1", "--format", "json"))["first"][0]
    one, other = pair["ids"]
    named = json.loads(ask(home, f"arXiv:{other}v2", one, "--format", "json"))
    assert named["first"] == [pair]
    assert named["second"] == []
    (home / "pairs.txt").write_text(f"# mine\n{one}, {other}\n\n{other} {one}\n")
    assert len(json.loads(ask(home, "--pairs", "pairs.txt", "--format", "json"))["first"]) == 2
    assert json.loads(ask(home, "--pairs", "-", "--format", "json", stdin=f"{one} {other}".encode()))["first"] == [pair]


def test_named_papers_are_compared_whatever_the_sample(home):
    everything = json.loads(ask(home, "--format", "json", "-n", "20"))
    pair = everything["first"][0]
    found = json.loads(ask(home, *pair["ids"], "--sample", "5", "--format", "json", "--transform", "center"))
    assert 5 <= found["n_papers"] <= 7
    assert len(found["first"] + found["second"]) == 1


def test_filters(home):
    found = json.loads(ask(home, "--category", "gr-qc", "--format", "json", "-n", "50"))
    assert (found["n_papers"], found["n_pairs"]) == (40, 78)  # 13 of 40 are in gr-qc
    near = json.loads(ask(home, "--min-cosine", "0.6", "--format", "json", "-n", "50"))
    assert all(pair["cosines"][0] >= 0.6 for pair in near["first"])
    assert all(pair["cosines"][1] >= 0.6 for pair in near["second"])


def test_a_file_of_vectors_has_titles_by_the_index(home):
    found = json.loads(ask(home, "--format", "json", "-n", "2", against="file.npz"))
    assert found["n_papers"] == 30
    assert found["first"][0]["titles"][0].startswith("Paper")
    same = json.loads(ask(home, "--format", "json", "-n", "2", index="file.npz", against="a"))
    assert [pair["ids"] for pair in same["second"]] == [pair["ids"] for pair in found["first"]]
    alone = json.loads(ask(home, "--format", "json", "-n", "2", index="file.npz", against="file.npz"))
    assert alone["first"][0]["titles"] == [None, None]
    assert "expected an index" in ask(home, "--category", "gr-qc", index="file.npz", against="file.npz", code=1)


def test_the_papers_pairs(home, tmp_path):
    made = corpora.records(12)
    for record, title in zip(made, (title for pair in PRINTED for title in pair.titles), strict=False):
        record["title"] = title
    corpora.write(tmp_path / "papers.jsonl", made)
    build_index(tmp_path / "papers.jsonl", tmp_path / "a", encoder=FakeEncoder())
    build_index(tmp_path / "papers.jsonl", tmp_path / "b", encoder=Reversed("reversed"))
    shown = ask(tmp_path, "--paper", "--sample", "5")
    assert "printed: AstroLLaMA" in shown
    assert "its model cannot be loaded to pool in both ways" in shown
    found = json.loads(ask(tmp_path, "--paper", "--format", "json"))
    assert found["printed"][1]["AstroLLaMA"] == 0.928
    assert "0.363" in ask(tmp_path, "--paper", "--format", "csv")
    missing = ask(home, "--paper", code=1)
    assert missing.count("Error: ") == 1
    assert "Comment on modified Coulomb law" in missing


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("2001.10000", "9999.99999"), "found '9999.99999'"),
        (("2001.10000", "2001.10000"), "expected two papers"),
        (("--out", "x.gif"), "expected a file named *.png, *.pdf, *.svg, *.md, *.html, found 'x.gif'"),
        (("--out", "papers.jsonl/x.png"), "expected to write papers.jsonl/x.png"),
        (("--pairs", "none.txt"), "expected a file of two ids a line in none.txt"),
        (("--pairs", "papers.jsonl"), "in line 1 of papers.jsonl"),
        (("--category", "math.*"), "expected at least 2 papers in math.*, found 0"),
        (("--sample", "41"), "at most 40 papers"),
        (("--null",), "expected the encoder object"),
    ],
)
def test_what_cannot_be_done(home, arguments, told):
    assert told in " ".join(ask(home, *arguments, code=1).split())


@pytest.mark.parametrize(
    "arguments",
    [
        ("one",),
        ("a", "b", "--paper"),
        ("a", "b", "--category", "x"),
        ("-n", "0"),
        ("--by", "size"),
        ("--min-cosine", "nan"),
        ("--min-cosine", "2"),
    ],
)
def test_a_wrong_command_line(home, arguments):
    ask(home, *arguments, code=2)


def test_halves_with_a_real_model(tmp_path):
    build = run("build-index", "--sample", "30", "--index", "i", cwd=tmp_path)
    assert build.returncode == 0, build.stderr
    found = json.loads(ask(tmp_path, "--null", "-n", "3", "--format", "json", index="i@truncate:40", against="i"))
    assert found["halves"]["n_papers"] + found["halves"]["n_left_out"] == 30
    assert found["halves"]["spaces"] == ["odd sentences", "even sentences"]
    assert all(0 <= pair["n_halves"] <= 435 for pair in found["first"])
    shown = ask(tmp_path, "--null", "-n", "2", index="i@truncate:40", against="i")
    assert "One model on the odd against the even sentences" in shown
    assert "between halves of abstracts" in shown
