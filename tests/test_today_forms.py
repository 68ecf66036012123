"""Every form of a day's list, with whatever titles hold escaped."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import bibtexparser
import pytest
from fake_encoder import FakeEncoder
from today_store import LIKED, ask, make_home, today

from embedsearch.render.day import about, day_dict, day_text, heading, to_markdown, unusual
from embedsearch.today import DayList, DayPaper, Near


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store that has the new papers."""
    home = make_home(tmp_path_factory.mktemp("today"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("embedsearch.cli.add.service_of", lambda *arguments: FakeEncoder())
        assert today(home, "--no-fetch", "new.jsonl").returncode == 0
    return home


def test_a_table_fits_a_terminal(listed):
    done = today(listed, "--no-fetch", "--since", "2026-11-01", env={"COLUMNS": "80"})
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    text = " ".join(done.stdout.split())
    assert "4 new papers, the 4 nearest to 2 papers of my.bib." in text
    assert "Last year's are 128 other papers, of the 365 days before 2026-11-01." in text
    assert "Not in the index, and not compared: key2." in text
    assert "nearest of yours: On " in text
    assert "of last year's 128 papers" in text
    assert "https://arxiv.org/abs/2611.00001" in text
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_json(listed):
    found = json.loads(ask(listed, "--format", "json", "-n", "2"))
    assert list(found) == [
        "made", "since", "until", "library", "n_library", "n_new", "papers", "missing", "n_year",
    ]  # fmt: skip
    assert (found["since"], found["library"], found["missing"], found["n_new"]) == (
        "2026-11-01", ["my.bib"], ["key2"], 4,
    )  # fmt: skip
    paper = found["papers"][0]
    assert list(paper) == [
        "rank", "url", "id", "title", "authors", "categories", "published", "cosine", "nearest", "terms", "percentile",
        "n_as_near", "abstract",
    ]  # fmt: skip
    assert (paper["rank"], paper["url"]) == (1, f"https://arxiv.org/abs/{paper['id']}")
    assert list(paper["nearest"][0]) == ["id", "title", "cosine"]
    assert [one["rank"] for one in found["papers"]] == [1, 2]


class Tags(HTMLParser):
    """What a browser would see."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [str(value) for name, value in attrs if name == "href"]
        assert not [name for name, _ in attrs if name.startswith("on") or name == "src"]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_page_is_whole_and_escaped(listed):
    page = Tags(ask(listed, "--format", "html"))
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert page.tags.count("article") == page.tags.count("details") == 4
    assert "<script>alert(1)</script> | `code` & α_x" in page.text
    assert "\x1b" not in page.text
    assert set(page.links) <= {f"https://arxiv.org/abs/{id}" for id in (*LIKED, *(f"2611.0000{i}" for i in range(5)))}
    assert len(page.links) == 4 + 4 * 2  # each, and both of the library


def test_markdown_is_escaped(listed):
    text = ask(listed, "--format", "markdown")
    assert "<script" not in text
    assert "\\`code\\`" in text
    assert "\\[a\\](b)" in text
    assert "](https://arxiv.org/abs/2611.00001)**" in text
    assert [line[:4] for line in text.splitlines() if ". **" in line] == ["1. *", "2. *", "3. *", "4. *"]


def test_bibtex_is_of_the_list_in_its_order(listed):
    done = today(listed, "--no-fetch", "--since", "2026-11-01", "--format", "bibtex")
    parsed = bibtexparser.parse_string(done.stdout)
    assert (len(parsed.entries), parsed.failed_blocks) == (4, [])
    order = [paper["id"] for paper in json.loads(ask(listed, "--format", "json"))["papers"]]
    assert [entry.fields_dict["eprint"].value for entry in parsed.entries] == order
    assert done.stderr == "Not in the index, and not compared: key2.\n"


@pytest.mark.parametrize(("name", "begins"), [
    ("a.md", "# New"), ("a.html", "<!doctype"), ("a.json", "{"), ("a.bib", "@misc"), ("deep/a.TXT", "New papers"),
])  # fmt: skip
def test_the_name_of_a_file_says_its_form(listed, name, begins):
    done = today(listed, "--no-fetch", "--since", "2026-11-01", "--out", name, "-q")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (listed / name).read_text().startswith(begins)


def test_only_what_is_near_enough(listed):
    whole = json.loads(ask(listed, "--format", "json"))["papers"]
    bound = str(whole[1]["percentile"])
    assert [p["id"] for p in json.loads(ask(listed, "--format", "json", "--min-percentile", bound))["papers"]] == [
        p["id"] for p in whole if p["percentile"] >= float(bound)
    ]
    nearest = [p["id"] for p in whole if p["n_as_near"] == 0]
    text = ask(listed, "--format", "json", "--min-percentile", "100")
    assert [p["id"] for p in (json.loads(text)["papers"] if text else [])] == nearest


def day_of(*papers: DayPaper, **changes) -> DayList:
    values = {"made": "2026-11-29T06:00:00+00:00", "since": "2026-11-28", "until": "2026-11-29", "library": ["my.bib"],
              "n_library": 30, "n_new": 312, "papers": list(papers), "n_year": 8214}  # fmt: skip
    return DayList(**values | changes)


def paper_of(n_as_near: int | None) -> DayPaper:
    near = [Near(id="x", title="", cosine=0.5)]
    return DayPaper(
        id="y", title="", authors=[], categories=[], published=None, cosine=0.5, nearest=near, n_as_near=n_as_near,
        percentile=None if n_as_near is None else 100 * (1 - n_as_near / 8214),
    )  # fmt: skip


def test_all_of_them_are_all_and_no_less():
    told = {n: unusual(day_of(), paper_of(n)) for n in (0, 1, 30, 8213, 8214)}
    assert told == {
        0: "closer than all of last year's 8,214 papers",
        1: "closer than 99.9 % of last year's 8,214 papers",
        30: "closer than 99.6 % of last year's 8,214 papers",
        8213: "closer than 0.0 % of last year's 8,214 papers",
        8214: "closer than 0.0 % of last year's 8,214 papers",
    }
    assert unusual(day_of(), paper_of(None)) == ""


def test_a_list_of_papers_of_which_little_is_known():
    day = day_of(paper_of(None), n_year=42)
    assert about(day) == "312 new papers, the nearest to 30 papers of my.bib."
    assert heading(day_of(since="2026-11-29")) == "New papers near yours, 2026-11-29"
    assert "1. **y**" in to_markdown(day)
    assert day_dict(day)["papers"][0]["url"] is None
    assert day_text(day, links=True)
    four = day_of(paper_of(3), library=["a", "b", "c", "d"], n_library=4, missing=["e"] * 5)
    assert "the nearest to a, b, c and 1 more." in about(four)
    assert "e, e, e and 2 more" in to_markdown(four)
