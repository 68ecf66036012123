"""The keyword index: written once, read by many threads."""

from __future__ import annotations

import math
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tantivy

from embedsearch.errors import StoreCorrupt, StoreError
from embedsearch.keywords.query import KeywordQuery
from embedsearch.keywords.words import ANALYZER, author_words, words_of
from embedsearch.scores import Float32, Mask, Rows, at_least_kth
from embedsearch.store.catalogue import StoredPaper
from embedsearch.store.manifest import REPAIR
from embedsearch.texts import designations, fold_spelling

LOCK_FILES = ".tantivy-*.lock"
DIRECT_ROWS = 20_000
"""Up to so many allowed rows are named to tantivy; above, it is asked for more hits until enough are allowed."""

TERM_ROWS = 200
"""Up to so many are named one by one, in a third of the time; of 2,000, a set takes a fifth."""


def _schema() -> tantivy.Schema:
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
        index = tantivy.Index(_schema(), path=str(folder))
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


@contextmanager
def _damage(folder: Path) -> Iterator[None]:
    """Whatever tantivy makes of damaged files is a StoreCorrupt."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise StoreCorrupt(f"expected a keyword index in {folder}, found: {error}; {REPAIR}") from error
    except BaseException as error:
        # A panic of Rust is no Exception, and its class cannot be imported.
        if type(error).__name__ != "PanicException":
            raise
        raise StoreCorrupt(f"expected a keyword index in {folder}, found damaged files; {REPAIR}") from error


class Keywords:
    """Reads a keyword index. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._schema = _schema()
        with _damage(folder):
            index = self._open(folder)
            index.register_tokenizer("people", ANALYZER)
            index.reload()
            self._searcher = index.searcher()

    def __len__(self) -> int:
        return int(self._searcher.num_docs)

    def candidates(self, query: KeywordQuery, k: int, *, allowed: Mask | None = None) -> tuple[Rows, Float32]:
        """The k rows of highest BM25 among the allowed ones, and all that tie with the last: (rows, scores).

        Fewer where fewer match. `allowed` is a mask over all rows.
        """
        asked = self._asked(query)
        if asked is None or k < 1 or (allowed is not None and not allowed.any()):
            return np.empty(0, np.int64), np.empty(0, np.float32)
        if allowed is not None and (n := int(allowed.sum())) <= DIRECT_ROWS:
            rows, scores = self._search(self._among(asked, np.flatnonzero(allowed)), n)
            keep = at_least_kth(scores, k)
            return rows[keep], scores[keep]
        limit = (k if allowed is None else 4 * k) + 16
        while True:
            rows, scores = self._search(asked, limit)
            n_found, last = len(rows), scores[-1] if len(scores) else 0.0
            if allowed is not None:
                rows, scores = rows[allowed[rows]], scores[allowed[rows]]
            # Enough is when a hit below the k-th was seen: then its group of ties is whole.
            if n_found < limit or (len(scores) > k and last < scores[k - 1]):
                keep = at_least_kth(scores, k)
                return rows[keep], scores[keep]
            limit *= 4

    def quoted(self, query: KeywordQuery, n_rows: int) -> Mask | None:
        """Which of `n_rows` rows have all that the query has in quotation marks; None where it has none."""
        must = self._must(query)
        if not must:
            return None
        rows, _ = self._search(tantivy.Query.boolean_query(must), n_rows)
        mask = np.zeros(n_rows, bool)
        mask[rows] = True
        return mask

    def bm25(self, query: KeywordQuery, rows: Rows) -> Float32:
        """The BM25 of each of `rows` (m,): (m,) float32, 0 where nothing matches."""
        scores = np.zeros(len(rows), np.float32)
        asked = self._asked(query)
        if asked is None or not len(rows):
            return scores
        found, values = self._search(self._among(asked, rows), len(rows))
        known = dict(zip(found.tolist(), values.tolist(), strict=True))
        for i, row in enumerate(rows.tolist()):
            scores[i] = known.get(row, 0.0)
        return scores

    def best(self, query: KeywordQuery) -> float:
        """The highest BM25 of the whole corpus, 0 where nothing matches."""
        asked = self._asked(query)
        if asked is None:
            return 0.0
        _, scores = self._search(asked, 1)
        return float(scores[0]) if len(scores) else 0.0

    def rarity(self, word: str) -> float:
        """The idf of a word of `words_of`: log(1 + n / (1 + papers that have it))."""
        with _damage(self._folder):
            n_with = self._searcher.doc_freq("text", word)
        return math.log(1 + self._searcher.num_docs / (1 + n_with))

    def _asked(self, query: KeywordQuery) -> tantivy.Query | None:
        should = [(tantivy.Occur.Should, self._term("text", word)) for word in query.words]
        should += [(tantivy.Occur.Should, self._term("names", name)) for name in query.names]
        should += [
            (tantivy.Occur.Should, self._term("authors", word)) for word in query.authors if self._is_a_name(word)
        ]
        must = self._must(query)
        return tantivy.Query.boolean_query(must + should) if must or should else None

    def _must(self, query: KeywordQuery) -> list[tuple[tantivy.Occur, tantivy.Query]]:
        asked = [self._term("names", name) for name in query.quoted_names]
        for phrase in query.phrases:
            several = len(phrase) > 1
            asked.append(
                tantivy.Query.phrase_query(self._schema, "text", list(phrase))
                if several
                else self._term("text", phrase[0])
            )
        return [(tantivy.Occur.Must, one) for one in asked]

    def _is_a_name(self, word: str) -> bool:
        """Whether more papers have this word as an author than as a word: Muench is a name, Young and Black are not."""
        with _damage(self._folder):
            n_as_author = self._searcher.doc_freq("authors", word)
            return n_as_author > 0 and all(
                self._searcher.doc_freq("text", part) < n_as_author for part in words_of(word)
            )

    def _term(self, field: str, word: str) -> tantivy.Query:
        return tantivy.Query.term_query(self._schema, field, word, index_option="freq")

    def _among(self, asked: tantivy.Query, rows: Sequence[int] | Rows) -> tantivy.Query:
        named = self._rows([int(row) for row in rows])
        without_score = tantivy.Query.const_score_query(named, 0.0)
        return tantivy.Query.boolean_query([(tantivy.Occur.Must, without_score), (tantivy.Occur.Must, asked)])

    def _rows(self, rows: list[int]) -> tantivy.Query:
        if len(rows) > TERM_ROWS:
            return tantivy.Query.term_set_query(self._schema, "row", rows)
        terms = [tantivy.Query.term_query(self._schema, "row", row, index_option="basic") for row in rows]
        return tantivy.Query.boolean_query([(tantivy.Occur.Should, term) for term in terms])

    def _search(self, asked: tantivy.Query, limit: int) -> tuple[Rows, Float32]:
        """(rows, scores), best first; `limit` may be more than there are."""
        with _damage(self._folder):
            hits = self._searcher.search(asked, min(limit, max(1, self._searcher.num_docs)), count=False).hits
            rows = self._searcher.fast_field_values("row", [address for _, address in hits]) if hits else []
        return np.array(rows, np.int64), np.array([score for score, _ in hits], np.float32)

    def _open(self, folder: Path) -> tantivy.Index:
        try:
            return tantivy.Index.open(str(folder))
        except ValueError as error:
            if "Lockfile" not in str(error):
                raise
        # tantivy makes a lock file where it reads, which a read-only folder refuses: read through links from elsewhere.
        links = Path(tempfile.mkdtemp(prefix="embedsearch-"))
        weakref.finalize(self, shutil.rmtree, links, ignore_errors=True)
        for file in folder.resolve().iterdir():
            if not file.match(LOCK_FILES):  # one that was left while the folder could be written is not ours to open
                (links / file.name).symlink_to(file)
        return tantivy.Index.open(str(links))
