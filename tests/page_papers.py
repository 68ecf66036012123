"""Papers for tests of the page: with formulas, with what no page should run, with nothing but words."""

from __future__ import annotations

import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
from corpora import records, write
from fake_encoder import FakeEncoder

from embedsearch.build import build_index
from embedsearch.today import DayList, DayPaper, Near, day_path
from embedsearch.today.day import write_day

FORMULAS: dict[str, Any] = {
    "id": "2301.00001",
    "title": r"Dust in $\Lambda$CDM at $z\sim 6$",
    "abstract": r"We study star formation. The dust mass is $10^{4}\,M_\odot$ where H$\alpha$ is seen. No more.",
    "authors": "A. One, B. Two, C. Three, D. Four and E. Five",
    "categories": "astro-ph.GA astro-ph.CO",
    "versions": [{"version": "v1", "created": "Mon, 9 Jan 2023 10:00:00 GMT"}],
}
ATTACKS: dict[str, Any] = {
    "id": '"><img src=x onerror=alert(1)>',
    "title": "<script>alert('title')</script> plasma &amp; <b>more</b>",
    "abstract": r"Hot plasma <img src=x onerror=alert(2)> $\text{<script>alert(3)</script>}$ and plasma"
    r" $\href{javascript:alert(4)}{x}$ $\style{position:fixed}{y}$ \href{javascript:alert(5)}{plasma}.",
    "authors": "<i onclick=alert(6)>Mallory</i>",
    "categories": "<u>cat</u>",
}
LINK: dict[str, Any] = {"id": "javascript:alert(7)", "title": "A wave", "abstract": "wave wave wave", "categories": "x"}
TURNED: dict[str, Any] = {
    "id": "1801.00002",
    "title": "A planet \u202egnihton\u202c and \u200bnothing",
    "abstract": f"planet planet \u2067planet\u2069 planet ${'+'.join('abcdefghijklmnopqrstuvwxyz' * 3)}$",
    "authors": "\u202eevE",
}
PAPERS = [FORMULAS, ATTACKS, LINK, TURNED]


def make_page_store(folder: Path, *, n: int = 40) -> Path:
    """A store of PAPERS and n papers of words."""
    papers = write(folder / "papers.jsonl", [*PAPERS, *records(n)])
    build_index(papers, folder / "index", encoder=FakeEncoder())
    return folder / "index"


DAY = DayList(
    made="2026-11-29T06:02:11Z",
    since="2026-11-26",
    until="2026-11-28",
    library=["my.bib"],
    n_library=3,
    n_new=12,
    n_year=812,
    missing=["Rubin1970<b>"],
    papers=[
        DayPaper(
            id="2301.00001",
            title="Dust",
            authors=["A. One"],
            categories=["astro-ph.GA"],
            published="2023-01-09",
            cosine=0.875,
            nearest=[Near("1801.00002", "A planet", 0.875), Near("9999.00001", "<b>Gone</b>", 0.5)],
            terms=["dust lane", "<b>H-alpha</b>"],
            percentile=99.5,
            n_as_near=4,
        ),
        DayPaper(
            id="9999.99999",
            title="Gone",
            authors=[],
            categories=[],
            published=None,
            cosine=0.8,
            nearest=[],
            n_as_near=9,
        ),
        DayPaper(
            id=str(LINK["id"]),
            title="A wave",
            authors=[],
            categories=["x"],
            published=None,
            cosine=0.25,
            nearest=[Near("1801.00002", "A planet", 0.25)],
            percentile=100.0,
            n_as_near=0,
        ),
    ],
)
"""A list of three papers of the store: with all that can be said, gone from it, with markup for an id."""


def make_day_store(page_index: Path, folder: Path) -> Path:
    """A copy of a store with DAY beside it."""
    shutil.copytree(page_index, folder)
    write_day(folder, DAY)
    assert day_path(folder).exists()
    return folder


class Elements(HTMLParser):
    """The elements of a page: name and attributes of each, and all of the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def named(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        """The attributes of each element of this name that has all of `attributes`."""
        wanted = {name.rstrip("_"): value for name, value in attributes.items()}
        return [found for name, found in self.found if name == tag and wanted.items() <= found.items()]


def get_page(client: httpx.Client, path: str, status: int = 200) -> tuple[str, Elements]:
    """A page of the server and its elements; it must have this status."""
    answer = client.get(path)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return answer.text, Elements(answer.text)
