"""Invented records with what real ones have: LaTeX, line breaks, nulls, suffixes, affiliations, old ids, markup."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

Record = dict[str, Any]

SET = "physics:astro-ph"


def paper(n: int, day: str = "2026-01-05", **fields: Any) -> Record:
    """The n-th record, changed on this day."""
    versions = [
        {"version": "v1", "created": "Thu, 07 May 2020 06:37:23 GMT"},
        {"version": "v2", "created": "Mon, 21 Sep 2020 22:55:04 GMT"},
    ]
    return {
        "id": f"2005.{n:05}",
        "submitter": "Ada Nwosu",
        "authors": "Ada Nwosu, Ivo Brand",
        "title": f"Paper {n}",
        "comments": None,
        "journal-ref": None,
        "doi": None,
        "report-no": None,
        "categories": "astro-ph.GA",
        "license": "http://arxiv.org/licenses/nonexclusive-distrib/1.0/",
        "abstract": f"The {n}-th abstract.",
        "versions": versions,
        "update_date": day,
        "authors_parsed": [["Nwosu", "Ada", ""], ["Brand", "Ivo", ""]],
    } | fields


def one_version(day: str) -> list[dict[str, str]]:
    """Of a day such as "Thu, 07 May 2020"."""
    return [{"version": "v1", "created": f"{day} 23:59:59 GMT"}]


def deletion(n: int, day: str) -> Record:
    """The same id, deleted on this day."""
    return {"id": f"2005.{n:05}", "deleted": True, "update_date": day}


def days(n: int, first: str = "2026-01-01") -> list[str]:
    """So many days, one after the other."""
    return [(date.fromisoformat(first) + timedelta(days=at)).isoformat() for at in range(n)]


def one_a_day(n: int) -> list[Record]:
    """Papers 0 to n - 1, of days that follow one another."""
    return [paper(at, day) for at, day in enumerate(days(n))]


TRAITS: dict[str, Record] = {
    "plain": paper(1),
    "LaTeX": paper(
        2, title=r"$\mathcal{O}(10^{-3})$ & more: A\&A < B", abstract='Let $a<b$ & $c>d$;\n\\\'etoiles "x" ]]> &amp;'
    ),
    "line breaks": paper(
        3,
        title="A title that\n  goes on",
        comments="12 pages,\n  5 figures",
        abstract="First line\nsecond\n\n  A paragraph\tand a tab",
    ),
    "all fields": paper(
        4,
        **{"journal-ref": "Phys.Rev. D76:013009, 2007", "doi": "10.1103/PhysRevD.76.013009 10.1/x", "report-no": "X-1"},
        comments="Ünïcödé 星, see http://x.org/?a=1&b=2",
    ),
    "no authors": paper(5, authors="", authors_parsed=[]),
    "suffix": paper(
        6,
        authors="J. Smith Jr., The XYZ Collaboration",
        authors_parsed=[["Smith", "J.", "Jr."], ["The XYZ Collaboration", "", ""]],
    ),
    "old id": paper(7, id="astro-ph/9906432", categories="astro-ph", versions=one_version("Tue, 29 Jun 1999")),
    "old id of a subject": paper(
        8, id="math/0309136", categories="math.NT astro-ph.CO", versions=one_version("Sun, 31 Aug 2003")
    ),
    "five versions": paper(
        9,
        versions=[
            {"version": f"v{n}", "created": f"{day} Apr 2020 00:00:0{n} GMT"}
            for n, day in enumerate(("Wed, 01", "Thu, 02", "Fri, 03", "Sat, 04", "Sun, 05"), 1)
        ],
    ),
    "nothing but what must be": paper(10, submitter=None, license=None, abstract=""),
}
"""By the name of what is special in them."""

AFFILIATED = paper(
    11,
    authors="Ada Nwosu (1), Ivo Brand (2) ((1) MIT, (2) Kiel)",
    authors_parsed=[["Nwosu", "Ada", "", "MIT"], ["Brand", "Ivo", "", "Kiel"]],
)
"""Its `authors` says more than the parts do."""
