"""Papers as BibTeX."""

from __future__ import annotations

import re
from collections.abc import Iterable

from embedsearch.corpus import is_arxiv_id, to_text
from embedsearch.records import Paper
from embedsearch.render.results import arxiv_url
from embedsearch.render.tables import printable
from embedsearch.store.filters import fold_name


def to_bibtex(papers: Iterable[Paper]) -> str:
    """An entry for each paper, in the fields that arXiv and ADS use; LaTeX is kept, keys are unique."""
    entries, used = [], set[str]()
    for paper in papers:
        key, n = _citation_key(paper), 0
        while (unique := key + (_letters(n) if n else "")) in used:
            n += 1
        used.add(unique)
        entries.append(_entry(paper, unique))
    return "\n".join(entries)


def _entry(paper: Paper, key: str) -> str:
    date = (paper.published or "").split("-")
    fields = {
        # Twice braced, as in ADS: otherwise styles write "m31" for M31
        "title": f"{{{_braced(paper.title)}}}",
        "author": " and ".join(_braced(name) for name in paper.authors),
        "journal": _braced(paper.journal_ref or ""),
        "year": date[0],
        "month": MONTHS[int(date[1]) - 1] if len(date) > 1 else "",
        "doi": _braced(paper.doi or ""),
    }
    if is_arxiv_id(paper.id):
        fields |= {
            "eprint": paper.id,
            "archivePrefix": "arXiv",
            "primaryClass": _braced(paper.categories[0]) if paper.categories else "",
            "url": arxiv_url(paper.id) or "",
        }
    lines = [
        f"  {name:<13} = {value if name == 'month' else f'{{{value}}}'},"
        for name, value in fields.items()
        if value not in ("", "{}")
    ]
    return "\n".join([f"@{'article' if paper.journal_ref else 'misc'}{{{key},", *lines, "}", ""])


MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_SMALL_WORDS = {"a", "an", "the", "on", "of", "in", "at", "for", "from", "to", "with", "and", "is", "are", "do", "does"}


def _citation_key(paper: Paper) -> str:
    """As arXiv makes them: last name of the first author, year, first word of the title that says something."""
    last = to_text(paper.authors[0]).split()[-1:] if paper.authors else []
    words = [_plain(word) for word in to_text(paper.title).split()]
    word = next((word for word in words if word and word not in _SMALL_WORDS), "")
    return f"{_plain(''.join(last))}{(paper.published or '')[:4]}{word}" or _plain(paper.id) or "paper"


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", "".join(fold_name(text)))


def _letters(n: int) -> str:
    """a, b, ..., z, aa, ab, ... for 1, 2, ..."""
    text = ""
    while n:
        n, rest = divmod(n - 1, 26)
        text = chr(ord("a") + rest) + text
    return text


def _braced(text: str) -> str:
    r"""`text` on one line. BibTeX counts every brace, \{ too: where they do not match, the entry goes without them."""
    line = " ".join(printable(text).split())
    if (len(line) - len(line.rstrip("\\"))) % 2:
        line = line[:-1]  # it would take the field's own brace for itself
    if not _balanced(line):
        line = line.replace("\\{", "\\lbrace ").replace("\\}", "\\rbrace ")
    return line if _balanced(line) else re.sub(r"[{}]", "", line)


def _balanced(text: str) -> bool:
    depth = 0
    for character in text:
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth < 0:
            return False
    return depth == 0
