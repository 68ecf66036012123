"""Results as text: JSON, CSV, BibTeX, and tables for people. One shape for the command line and the server."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from embedsearch.corpus import is_arxiv_id, to_text
from embedsearch.encoders.models import NamedModel, NamedService
from embedsearch.records import Facets, Hit, Paper, SearchResult
from embedsearch.store.filters import fold_name
from embedsearch.store.info import StoreInfo
from embedsearch.store.manifest import build_command

AUTHORS_SHOWN = 4


def hit_dict(hit: Hit, *, full: bool = False) -> dict[str, Any]:
    """A hit as JSON has it; in full with the sentence that answers, and the paper as its corpus has it."""
    more = {"sentence": hit.sentence, "paper": paper_dict(hit.paper)} if full else {}
    return {
        "rank": hit.rank,
        "id": hit.id,
        "score": _short(hit.score),
        "cosine": None if hit.cosine is None else _short(hit.cosine),
        "title": hit.title,
        "abstract": hit.abstract,
        "authors": list(hit.authors),
        "categories": list(hit.categories),
        "published": hit.published,
        **more,
    }


def result_dict(result: SearchResult, *, full: bool = False) -> dict[str, Any]:
    """A result as JSON has it; `full` as for `hit_dict`."""
    counted = {"facets": _facets_dict(result.facets)} if result.facets else {}
    hits = [hit_dict(hit, full=full) for hit in result.hits]
    return {"query": result.query, "mode": result.mode, "hits": hits, **counted}


def paper_dict(paper: Paper) -> dict[str, Any]:
    """A paper as JSON has it: LaTeX and line breaks are kept."""
    return asdict(paper)


def _facets_dict(facets: Facets) -> dict[str, Any]:
    return {
        "n_counted": facets.n_counted,
        "categories": [{"name": name, "n": n} for name, n in facets.categories],
        "years": [{"name": name, "n": n} for name, n in facets.years],
    }


def to_json(value: Any, *, indent: int | None = 2) -> str:
    """JSON text; indent None makes one line, as JSON Lines wants."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)


def to_csv(results: Sequence[SearchResult]) -> str:
    """A row for each hit, the query first; lists are joined by "; "."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    columns = ("rank", "id", "score", "cosine", "title", "authors", "categories", "published", "abstract")
    writer.writerow(("query", *columns))
    for result in results:
        for hit in result.hits:
            values = hit_dict(hit) | {"authors": "; ".join(hit.authors), "categories": "; ".join(hit.categories)}
            writer.writerow([result.query, *(values[column] for column in columns)])
    return buffer.getvalue()


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
    line = " ".join(text.split())
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


def arxiv_url(id: str) -> str | None:
    """Where arXiv shows the paper; None for an id that is not arXiv's."""
    return f"https://arxiv.org/abs/{id}" if is_arxiv_id(id) else None


def printable(text: str) -> str:
    """`text` without control characters: they could command a terminal, or reverse what is read."""
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text)


def hits_table(result: SearchResult, *, links: bool, abstracts: bool = False) -> Group:
    """Hits for a terminal. With `links` a title is a link, else its address is written out."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(justify="right", style="bold", no_wrap=True)
    grid.add_column(no_wrap=True, style="cyan")
    grid.add_column(overflow="fold")
    for hit in result.hits:
        grid.add_row(str(hit.rank), f"{hit.score:.3f}", _hit_text(hit, links=links, abstracts=abstracts))
    heading = Text(printable(result.query), style="bold magenta") if result.query else Text()
    if not result.hits:
        return Group(heading, Padding(Text("no paper found", style="dim"), (0, 0, 1, 2)))
    return Group(heading, grid)


def _hit_text(hit: Hit, *, links: bool, abstracts: bool) -> Text:
    url = arxiv_url(hit.id)
    title = Text(printable(hit.title or hit.id), style=f"bold link {url}" if links and url else "bold")
    where = url if url and not links else hit.id
    about = [_some(hit.authors), (hit.published or "")[:4], " ".join(hit.categories), where]
    lines = [title, Text(printable(" · ".join(part for part in about if part)), style="dim")]
    shown = hit.abstract if abstracts else hit.sentence
    if shown:
        lines.append(Text(printable(shown)))
    return Text("\n").join(lines).append("\n")


def _some(authors: Sequence[str]) -> str:
    return ", ".join(authors[:AUTHORS_SHOWN]) + (" et al." if len(authors) > AUTHORS_SHOWN else "")


def _short(score: float) -> float:
    """float32 to as many digits as tell float32 numbers apart."""
    return float(f"{score:.9g}")


def byte_size(n_bytes: float) -> str:
    """A size for people: 15.4 MB."""
    for unit in ("bytes", "kB", "MB"):
        if n_bytes < 1000:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.3g} GB"


def info_table(info: StoreInfo) -> Table:
    """What a store is, for a terminal."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    state = "complete" if info.complete else f"{info.n_embedded / info.n_papers:.0%} embedded, not finished"
    ann = f"{info.ann['kind']}, recall@10 {info.ann['recall']:.3f}" if info.ann else "exact scan of the vectors"
    recipe = info.recipe
    rows = {
        "index": f"{info.path}, generation {info.generation}, {state}",
        "papers": f"{info.n_papers:,} from {info.corpus['source']}",
        "left out": f"{info.corpus['n_empty']:,} without abstract, {info.corpus['n_repeated']:,} repeated ids"
        + (f", {n:,} without a vector" if (n := info.corpus["n_without_vector"]) else ""),
        "model": f"{info.model['name']}, weights {_weights(recipe['weights'])}",
        "taken from": _taken(info),
        "recipe": f"{recipe['pooling']}, up to {recipe['max_tokens']} tokens, template {info.template!r}"
        if info.vectors is None or info.vectors["has_encoder"]
        else "not known",
        "prompts": f"query {recipe['query_prompt']!r}, document {recipe['document_prompt']!r}"
        if recipe["query_prompt"] or recipe["document_prompt"]
        else "",
        "transform": info.transform or "",
        "vectors": f"{info.n_embedded:,} of {info.dim} dimensions in {info.dtype}" if info.dim else "none yet",
        "tokens": f"{info.n_tokens:,}; {info.n_truncated:,} texts were cut" if info.vectors is None else "",
        "search": ann,
        "sizes": ", ".join(f"{name} {byte_size(size)}" for name, size in info.sizes.items() if size),
        "made with": "\n".join(", ".join(f"{k} {v}" for k, v in made.items()) for made in info.made_with),
        "times": f"begun {info.created}, last changed {info.updated}",
        "format": f"{info.format}, by {info.made_by}",
        "being built": f"generation {info.building}: go on with {build_command(Path(info.path))}"
        if info.building
        else "",
    }
    for name, value in rows.items():
        if value:
            table.add_row(name, printable(value))
    return table


def model_dict(model: NamedModel, *, here: bool) -> dict[str, Any]:
    """A named model as JSON has it."""
    return {
        "name": model.name,
        "summary": model.summary,
        "dim": model.dim,
        "max_tokens": model.max_tokens,
        "pooling": model.pooling.value,
        "licence": model.licence,
        "hub_id": model.hub_id,
        "package": model.package.distribution if model.package else None,
        "install": model.package.install if model.package else None,
        "here": here,
    }


def _taken(info: StoreInfo) -> str:
    """Where vectors came from that were there already, and what that means for queries."""
    if info.vectors is None:
        return ""
    source = info.vectors["source"] or "arrays in Python"
    return source if info.vectors["has_encoder"] else f"{source}: no recipe; a query by meaning needs --model"


def _weights(weights: str) -> str:
    """As much of a hash as tells it from others, alone or behind what it is of; what is no hash, whole."""
    of, colon, last = weights.rpartition(":")
    return of + colon + last[:12] if len(last) == 64 else weights


def service_dict(service: NamedService) -> dict[str, Any]:
    """A named model of a service as JSON has it."""
    return {
        "name": service.name,
        "summary": service.summary,
        "dim": service.dim,
        "max_tokens": service.max_tokens,
        "pooling": "service",
        "licence": service.licence,
        "hub_id": None,
        "package": None,
        "install": service.install,
        "here": False,
    }


def models_table(models: Sequence[tuple[NamedModel, bool]], services: Sequence[NamedService] = ()) -> Table:
    """The named models for a terminal."""
    table = Table.grid(padding=(0, 2, 1, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for model, here in models:
        if here:
            where = "here"
        elif model.package:
            where = f"not here: {model.package.install}"
        else:
            where = f"not here: fetched from the hub when it is used, {model.download}"
        facts = (
            f"{model.dim} dimensions, up to {model.max_tokens} tokens, {model.pooling.value}; licence: {model.licence}"
        )
        table.add_row(model.name, f"{model.summary}\n{facts}\n{where}")
    for service in services:
        facts = f"{service.dim} dimensions, up to {service.max_tokens} tokens; licence: {service.licence}"
        where = f"a service, which is paid: set OPENAI_API_KEY, and {service.install}"
        table.add_row(service.name, f"{service.summary}\n{facts}\n{where}")
    return table
