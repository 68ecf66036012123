"""Reads a keyword index, by many threads."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tantivy

from embedsearch.errors import StoreCorrupt
from embedsearch.keywords.query import KeywordQuery
from embedsearch.keywords.words import ANALYZER, words_of
from embedsearch.keywords.writing import LOCK_FILES, schema
from embedsearch.scores import Float32, Mask, Rows, at_least_kth
from embedsearch.store.manifest import REPAIR

DIRECT_ROWS = 20_000
"""Up to so many allowed rows are named to tantivy; above, it is asked for more hits until enough are allowed."""

TERM_ROWS = 200
"""Up to so many are named one by one, in a third of the time; of 2,000, a set takes a fifth."""

FEW_ROWS = 40
"""Up to so many are named to each word by itself: of 20, in two thirds of the time. The scores are the same."""

FREQUENT = 0.5
"""A word that a larger share of the papers has takes most of a search's time, and adds next to nothing to a score."""

LARGE = 1_000_000
"""From so many papers on frequent words are left out of a first search: of 300,000, a second look takes as long as they
do, of 3,000,000 a third."""

SMALL = 0.05
"""Only where they add at most this share of the best score: else too many papers would need the second look."""

ROUNDING = 1e-3
"""More than rounding can make of a sum of words' scores."""

MOST_OF_A_WORD = 2.2
"""Times its idf: 1 + k1 of tantivy's BM25, which no number of repetitions reaches."""


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


@dataclass(frozen=True, slots=True)
class Listed:
    """Rows (n,) with the least and the most that their BM25 can be, (n,) float32 each, equal where it is known.

    `others` is the most that any other row can have, `best` the highest BM25 of the whole corpus.
    """

    rows: Rows
    at_least: Float32
    at_most: Float32
    others: float
    best: float


class Keywords:
    """Reads a keyword index. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._schema = schema()
        with _damage(folder):
            index = self._open(folder)
            index.register_tokenizer("people", ANALYZER)
            index.reload()
            self._searcher = index.searcher()
            segments = json.loads((folder / "meta.json").read_bytes())["segments"]
        self._n_counted = sum(int(segment["max_doc"]) for segment in segments)
        """Papers that BM25 counts, of which some may be gone; as does `doc_freq`."""

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
        if allowed is None and (found := self._without_frequent(query, k)) is not None:
            return found
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

    def listed(self, query: KeywordQuery, m: int, *, allowed: Mask | None = None) -> Listed:
        """The m allowed rows that are best by BM25, or nearly so, with what is known of the BM25 of all."""
        rare = self._rare(query) if allowed is None else None
        if rare is not None:
            asked, slack = rare
            rows, least = self._search(asked, m)
            if len(rows) == m and slack <= SMALL * least[0]:
                most, others = least + np.float32(slack), float(least[-1]) + slack
                leading = most >= least[0]
                least[leading] = most[leading] = self.bm25(query, rows[leading])
                best = float(least.max())
                return Listed(rows, least, most, others, best if best >= others else self.best(query))
        rows, scores = self.candidates(query, m, allowed=allowed)
        others = float(scores.min()) if len(rows) >= m else 0.0
        best = float(scores.max(initial=0.0)) if allowed is None else self.best(query)
        return Listed(rows, scores, scores, others, best)

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
        found, values = self._search(self._asked_of(query, asked, rows), len(rows))
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
        asked = self._must(query) + self._should(query)
        return tantivy.Query.boolean_query(asked) if asked else None

    def _should(self, query: KeywordQuery) -> list[tuple[tantivy.Occur, tantivy.Query]]:
        asked = [self._term("text", word) for word in query.words]
        asked += [self._term("names", name) for name in query.names]
        asked += [self._term("authors", word) for word in query.authors if self._is_a_name(word)]
        return [(tantivy.Occur.Should, one) for one in asked]

    def _rare(self, query: KeywordQuery) -> tuple[tantivy.Query, float] | None:
        """What is asked without frequent words, and the most that these add to a score; None where that is nothing."""
        n, added, frequent = self._n_counted, 0.0, set[str]()
        if n < LARGE or query.phrases or query.quoted_names:
            return None
        with _damage(self._folder):
            for word in query.words:
                if (n_with := self._searcher.doc_freq("text", word)) > FREQUENT * n:
                    frequent.add(word)
                    added += MOST_OF_A_WORD * math.log(1 + (n - n_with + 0.5) / (n_with + 0.5))
        if not frequent:
            return None
        rest = self._asked(replace(query, words=tuple(word for word in query.words if word not in frequent)))
        return None if rest is None else (rest, added + ROUNDING)

    def _without_frequent(self, query: KeywordQuery, k: int) -> tuple[Rows, Float32] | None:
        """As `candidates`, found by the rare words of a query; None where these are none, or do not decide."""
        if (rare := self._rare(query)) is None:
            return None
        asked, slack = rare
        rows, least = self._search(asked, k + 16)
        if len(rows) < k + 16 or slack > SMALL * least[0]:
            return None
        near = least + slack >= least[k - 1]
        scores = self.bm25(query, rows[near])
        order = np.argsort(-scores, kind="stable")[: int(at_least_kth(scores, k).sum())]
        rows, scores = rows[near][order], scores[order]
        return (rows, scores) if scores[-1] > least[-1] + slack else None

    def _asked_of(self, query: KeywordQuery, asked: tantivy.Query, rows: Rows) -> tantivy.Query:
        """What gives the BM25 of `rows`."""
        if len(rows) > FEW_ROWS or query.phrases or query.quoted_names:
            return self._among(asked, rows)
        each = [(tantivy.Occur.Should, self._among(word, rows)) for _, word in self._should(query)]
        return tantivy.Query.boolean_query(each)

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
