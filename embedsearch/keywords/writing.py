"""Writes a keyword index, once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
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
    try:
        index = tantivy.Index(schema(), path=str(folder))
        index.register_tokenizer("people", ANALYZER)
        writer = index.writer(heap_size=128_000_000, num_threads=1)
        for n, stored in enumerate(papers, 1):
            text = f"{stored.title}\n{stored.abstract}"
            document = tantivy.Document()
            document.add_unsigned("row", stored.row)
            document.add_text("text", fold_spelling(text))
            document.add_text("names", " ".join(found.folded for found in designations(text)))
            document.add_text("authors", " ".join(word for name in stored.authors for word in author_words(name)))
            writer.add_document(document)
            if progress:
                progress(n)
        writer.commit()
        writer.wait_merging_threads()
    except (ValueError, OSError) as error:  # tantivy reports a full disk as a ValueError
        raise StoreError(f"expected to write {folder}, found: {error}") from error
    for leftover in folder.glob(LOCK_FILES):
        leftover.unlink()
