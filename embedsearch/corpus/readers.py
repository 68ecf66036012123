"""Papers from files: JSON Lines (arXiv's metadata snapshot is one), CSV and Parquet."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

from embedsearch.corpus.fields import Columns, is_deletion, to_paper
from embedsearch.corpus.formats import Csv, JsonLines, Parquet, Records
from embedsearch.corpus.ids import CONTENT_ID_PREFIX
from embedsearch.corpus.streams import Stream, beginning, open_stream
from embedsearch.errors import CorpusError
from embedsearch.records import Paper

_ENOUGH: Final = 100  # records without a column of abstracts, before that is an error


class Corpus:
    """The papers of a file, in its order. Constant memory; a file can be iterated again, stdin once.

    `name` is the file's. Iterating raises CorpusError, with line or row, for whatever cannot be read as a paper.
    A paper without an abstract comes with the abstract "": whoever takes them decides. So with one that was deleted.
    `n_content_ids` counts the papers of the current pass that got an id from their text, as they had none.
    """

    def __init__(self, source: Path | None, *, format: str, columns: Columns) -> None:
        self.name = source.name if source else "stdin"
        self.n_content_ids = 0
        self._source = source
        self._format = format
        self._columns = columns
        self._records: Records | None = None

    def fraction(self) -> float | None:
        """Share of the file that the current pass has read, of its (compressed) bytes; None for stdin."""
        if self._records is None:
            return 0.0 if self._source else None
        return self._records.fraction()

    def __iter__(self) -> Iterator[Paper]:
        if self._source is None and self._records is not None:
            raise CorpusError("stdin can be read only once")
        self.n_content_ids = 0
        with closing(self.open()) as self._records:
            yield from self._papers(self._records)

    def _papers(self, records: Records) -> Iterator[Paper]:
        unit = "row" if self._format == "parquet" else "line"
        n, n_deleted, wrong, complete = 0, 0, None, False
        for number, record in records:
            if is_deletion(record):
                n_deleted += 1
                yield self._paper(record, f"{unit} {number}")
                continue
            n += 1
            if not complete and (wrong := self._columns.missing(tuple(record))) is None:
                complete = True  # one record that has all columns says that the others only leave some out
            if not complete and n == _ENOUGH:
                break
            paper = self._paper(record, f"{unit} {number}")
            self.n_content_ids += paper.id.startswith(CONTENT_ID_PREFIX)
            yield paper
        if n + n_deleted == 0:
            raise CorpusError(f"{self.name}: expected papers, found no records")
        if n and not complete:
            raise CorpusError(f"{self.name}: {wrong}")

    def _paper(self, record: Mapping[str, object], place: str) -> Paper:
        try:
            return to_paper(record, self._columns)
        except CorpusError as error:
            raise CorpusError(f"{self.name}, {place}: {error}") from None

    def open(self) -> Records:
        """Begin a pass: for CSV and Parquet, this finds out which columns are missing."""
        if self._source is None:
            return JsonLines(Stream(sys.stdin.buffer, name=self.name, size=None))
        if self._format == "parquet":
            return Parquet(self._source, self._columns)
        stream = open_stream(self._source)
        return Csv(stream, self._columns) if self._format == "csv" else JsonLines(stream)


def open_corpus(source: str | Path, *, fields: Mapping[str, str] | None = None) -> Corpus:
    """The papers of a file: JSON Lines or CSV (plain, .gz, .zst) or Parquet; "-" is JSON Lines on stdin.

    Columns are found by the names that people give them; `fields` says which one is meant where that fails
    ({"abstract": "summary"}, and {"published": ""} leaves a field out). Raises OptionError for a field that papers do
    not have, CorpusError for a file that is missing, empty, of no known format, or without a column of abstracts.
    """
    columns = Columns(fields)
    if source == "-":
        return Corpus(None, format="json", columns=columns)
    path = Path(source)
    corpus = Corpus(path, format=_format(path), columns=columns)
    corpus.open().close()
    return corpus


def _format(path: Path) -> str:
    magic, first = beginning(path)
    if magic == b"PAR1":
        return "parquet"
    names = path.name.lower().removesuffix(".gz").removesuffix(".zst")
    if names.endswith((".parquet", ".pq")):
        raise CorpusError(f"{path.name}: expected Parquet, found a file that does not start with PAR1")
    if b"\0" in first:
        raise CorpusError(f"{path.name}: expected text in UTF-8, found binary data")
    mark = first.lstrip()[:1]
    if names.endswith((".csv", ".tsv")):
        return "csv"
    if mark == b"[":
        raise CorpusError(
            f"{path.name}: expected JSON Lines, one object a line, found a JSON array; "
            f"convert it: {_conversion(path.name)}"
        )
    if mark == b"{" or names.endswith((".jsonl", ".json", ".ndjson")):
        return "json"
    raise CorpusError(
        f"{path.name}: expected JSON Lines, CSV (.csv) or Parquet, plain or .gz or .zst, "
        f"found a file that starts with {first[:20].decode('utf-8', 'replace')!r}"
    )


def _conversion(name: str) -> str:
    """The command that makes JSON Lines of a JSON array, in a file of another name."""
    unpack = {".gz": "gzip -dc", ".zst": "zstd -dc"}.get(Path(name).suffix, "cat")
    return f"{unpack} {name} | jq -c '.[]' > {name.split('.')[0]}-lines.jsonl"
