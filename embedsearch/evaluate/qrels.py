"""Queries and judgments from files: TREC's and BEIR's formats, and questions that name their answers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedsearch.corpus import normal_id
from embedsearch.corpus.streams import open_stream
from embedsearch.errors import QueryError
from embedsearch.evaluate.queries import Query, QuerySet
from embedsearch.keywords import clean

_HEADINGS = {"query-id", "query_id", "qid", "_id", "id", "topic"}
"""First cells of a line of headings, in any case."""

Judged = Mapping[str, Mapping[str, int]]
"""By query and paper, how relevant."""


@dataclass(frozen=True, slots=True)
class _Asked:
    id: str
    text: str
    kind: str
    relevant: Mapping[str, int] | None


def read_query_sets(queries: Path, qrels: Path | None = None) -> tuple[list[QuerySet], list[str]]:
    """The queries of a file with the papers that answer them, and notes on what could not be used.

    `queries` is JSON Lines, of `_id` and `text` (BEIR) or of `query` and `relevant` (a list of ids; a set for each
    `kind`, where there is one), or TSV, an id and a text a line. `qrels` has four columns (TREC: query, anything,
    paper, relevance) or three between tabs (BEIR: query-id, corpus-id, score). Ids of papers are in any form. What has
    a relevance of 0 or less is no answer. Each may be compressed. Raises QueryError, which names the line.
    """
    asked = list(_read_queries(queries))
    if not asked:
        raise QueryError(f"{queries}: expected queries, found none")
    own = sum(one.relevant is not None for one in asked)
    if own and qrels is not None:
        raise QueryError(f"{queries}: expected queries without answers beside {qrels}, found relevant; leave out one")
    if qrels is None:
        if own < len(asked):
            raise QueryError(
                f"{queries}: expected the papers that answer each query, found none; name them with --qrels"
            )
        return _sets(queries, asked, {one.id: one.relevant or {} for one in asked}), []
    judged = read_qrels(qrels)
    known = {one.id for one in asked}
    notes = []
    if unknown := [id for id in judged if id not in known]:
        if len(unknown) == len(judged):
            raise QueryError(
                f"{qrels}: expected judgments of the queries in {queries}, such as {asked[0].id!r}, found none of them:"
                f" it judges {unknown[0]!r}"
            )
        notes.append(f"{qrels.name}: {len(unknown):,} of {len(judged):,} judged queries are not in {queries.name}")
    return _sets(queries, asked, judged), notes


def _sets(path: Path, asked: list[_Asked], judged: Judged) -> list[QuerySet]:
    """One for each kind, in the order in which they come."""
    made = []
    for kind in dict.fromkeys(one.kind for one in asked):
        queries = tuple(
            Query(
                id=one.id, text=one.text, relevant={id: gain for id, gain in judged.get(one.id, {}).items() if gain > 0}
            )
            for one in asked
            if one.kind == kind
        )
        stem = path.name.split(".")[0]
        made.append(QuerySet(name=f"{stem}, {kind}" if kind else stem, queries=queries))
    return made


def read_qrels(path: Path) -> dict[str, dict[str, int]]:
    """The judgments of a file: see `read_query_sets`. Raises QueryError, which names the line."""
    judged: dict[str, dict[str, int]] = {}
    for number, line in _lines(path):
        tabbed = [cell.strip() for cell in line.split("\t")]
        cells = tabbed if len(tabbed) == 3 else line.split()
        if number == 1 and cells and cells[0].lower() in _HEADINGS:
            continue
        if len(cells) != 4 and cells != tabbed:
            raise QueryError(
                f"{path}, line {number}: expected query, iteration, paper and relevance, or query, paper and score"
                f" between tabs, found {line[:60]!r}"
            )
        query, paper, gain = cells[0], normal_id(cells[-2]).id, _whole(path, number, cells[-1])
        before = judged.setdefault(query, {}).setdefault(paper, gain)
        if before != gain:
            raise QueryError(
                f"{path}, line {number}: expected one judgment of {paper} for query {query}, found {before} and {gain}"
            )
    if not judged:
        raise QueryError(f"{path}: expected judgments, found none")
    return judged


def _whole(path: Path, number: int, text: str) -> int:
    try:
        value = float(text)
        if value == int(value):
            return int(value)
    except (ValueError, OverflowError):
        pass
    raise QueryError(f"{path}, line {number}: expected a whole number for the relevance, found {text[:30]!r}")


def _read_queries(path: Path) -> Iterator[_Asked]:
    seen: dict[str, int] = {}
    for number, line in _lines(path):
        asked = _of_json(path, number, line) if line.startswith("{") else _of_columns(path, number, line)
        if asked is None:
            continue
        if not clean(asked.text):
            raise QueryError(f"{path}, line {number}: expected a query, found an empty text")
        if asked.id in seen:
            raise QueryError(
                f"{path}, line {number}: expected each query's id once, found {asked.id!r} in line {seen[asked.id]} too"
            )
        seen[asked.id] = number
        yield asked


def _of_columns(path: Path, number: int, line: str) -> _Asked | None:
    id, tab, text = line.partition("\t")
    if number == 1 and id.strip().lower() in _HEADINGS:
        return None
    if not tab or not id.strip():
        raise QueryError(f"{path}, line {number}: expected an id, a tab and a query, or JSON, found {line[:60]!r}")
    return _Asked(id.strip(), text.strip(), "", None)


def _of_json(path: Path, number: int, line: str) -> _Asked:
    def wrong(expected: str, found: object) -> QueryError:
        return QueryError(f"{path}, line {number}: expected {expected}, found {str(found)[:60]!r}")

    try:
        record: dict[str, Any] = json.loads(line)
    except ValueError:
        raise wrong("JSON", line) from None
    text = record.get("text", record.get("query"))
    if not isinstance(text, str):
        raise wrong("_id and text, or query and relevant", line)
    relevant, kind = record.get("relevant"), str(record.get("kind") or "")
    if relevant is None:
        id = record.get("_id", record.get("id"))
        if not isinstance(id, (str, int)):
            raise wrong("an _id", line)
        return _Asked(str(id), text, kind, None)
    if not isinstance(relevant, list) or not relevant or not all(isinstance(id, str) for id in relevant):
        raise wrong("a list of ids in relevant", relevant)
    id = record.get("_id", record.get("id", number))
    return _Asked(str(id), text, kind, dict.fromkeys((normal_id(id).id for id in relevant), 1))


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Those that are not empty, with their numbers."""
    if not path.is_file():
        raise QueryError(f"expected a file at {path}, found none")
    with closing(open_stream(path)) as stream:
        for number, raw in stream.lines():
            try:
                line = raw.decode("utf-8").rstrip("\r\n")
            except UnicodeDecodeError:
                raise QueryError(f"{path}, line {number}: expected UTF-8, found other bytes") from None
            if line.strip():
                yield number, line
