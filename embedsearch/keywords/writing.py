"""Writes a keyword index, once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import tantivy

from embedsearch.errors import StoreError
from embedsearch.keywords.words import ANALYZER, author_words
from embedsearch.store.catalogue import StoredPaper
from embedsearch.texts import designations, fold_spelling

LOCK_FILES = ".tantivy-*.lock"


def schema() -> tantivy.Schema:
    """The fields: see the package."""
    builder = tantivy.SchemaBuilder()
    builder.add_unsigned_field("row", stored=False, indexed=True, fast=True)
    builder.add_text_field("text", stored=False, tokenizer_name="people", index_option="position")
    builder.add_text_field("names", stored=False, tokenizer_name="whitespace", index_option="freq")
    builder.add_text_field("authors", stored=False, tokenizer_name="whitespace", index_option="freq")
    return builder.build()


def build(folder: Path, papers: Iterable[StoredPaper], *, progress: Callable[[int], None] | None = None) -> None:
    """Write the segments of a new index to `folder`, which is made. `progress(n)` after the n-th paper."""
    folder.mkdir()
    with _writer(folder, lambda: tantivy.Index(schema(), path=str(folder))) as writer:
        for n, stored in enumerate(papers, 1):
            writer.add_document(_document(stored))
            if progress:
                progress(n)


def extend(folder: Path, known: Path, papers: Iterable[StoredPaper], *, gone: Sequence[int]) -> None:
    """Write to `folder`, which is made, the index at `known` without the rows of `gone`, and with `papers`.

    Segments are never changed: they are linked, and new ones come beside them. BM25 goes on counting the words of what
    is gone until its segment is merged into another.
    """
    folder.mkdir()
    for file in known.iterdir():
        if file.match(LOCK_FILES):
            continue
        if file.suffix == ".json":  # these two are written anew, and the known index shall keep its own
            shutil.copy(file, folder / file.name)
            continue
        try:
            os.link(file, folder / file.name)
        except OSError:  # a file system without links
            shutil.copy(file, folder / file.name)
    with _writer(folder, lambda: tantivy.Index.open(str(folder))) as writer:
        if gone:
            writer.delete_documents_by_query(tantivy.Query.term_set_query(schema(), "row", list(gone)))
        for stored in papers:
            writer.add_document(_document(stored))


@contextmanager
def _writer(folder: Path, open_index: Callable[[], tantivy.Index]) -> Iterator[tantivy.IndexWriter]:
    """Commits at the end, and leaves no lock behind."""
    try:
        index = open_index()
        index.register_tokenizer("people", ANALYZER)
        writer = index.writer(heap_size=128_000_000, num_threads=1)
        yield writer
        writer.commit()
        writer.wait_merging_threads()
    except (ValueError, OSError) as error:  # tantivy reports a full disk as a ValueError
        raise StoreError(f"expected to write {folder}, found: {error}") from error
    for leftover in folder.glob(LOCK_FILES):
        leftover.unlink()


def _document(stored: StoredPaper) -> tantivy.Document:
    text = f"{stored.title}\n{stored.abstract}"
    document = tantivy.Document()
    document.add_unsigned("row", stored.row)
    document.add_text("text", fold_spelling(text))
    document.add_text("names", " ".join(found.folded for found in designations(text)))
    document.add_text("authors", " ".join(word for name in stored.authors for word in author_words(name)))
    return document
