"""A corpus as large as wanted, made of real papers' sentences, and vectors that lie as such papers' would.

Paper i belongs to the vector that `synthetic` makes for row i: its sentences are those of the real paper that this
vector is made from, of that one's nearest neighbours, and of any paper of its primary category, a third each in the
mean. So words and meaning agree as they do in a real corpus, and frequent words stay as frequent. What real corpora
have and this has not: new words with every new paper. A rare word of the real papers has as many times more papers here
as there are more papers, so that lists of rare words are longer than they would be.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.synthetic import ROWS, Source, source
from embedsearch.scores import Rows, unit_rows
from embedsearch.sentences import sentences
from embedsearch.store.catalogue import StoredPaper
from embedsearch.store.vectors import SHARD_ROWS

FIRST_YEAR, MONTHS = 2007, 236
"""Ids begin with April 2007, and are spread evenly over so many months."""

Random = np.random.Generator


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Real papers taken apart: `texts` has the sentences of each, `alike` the papers of each primary category."""

    papers: Sequence[StoredPaper]
    texts: Sequence[Sequence[str]]
    alike: dict[str, Rows]
    vectors: Source

    @classmethod
    def of(cls, papers: Sequence[StoredPaper], vectors: NDArray[np.float32], *, seed: int) -> Parts:
        """Of papers and their vectors (n, d), n > 3."""
        groups = defaultdict[str, list[int]](list)
        for row, stored in enumerate(papers):
            groups[_category(stored)].append(row)
        return cls(
            papers=papers,
            texts=[sentences(stored.abstract) for stored in papers],
            alike={name: np.array(rows) for name, rows in groups.items()},
            vectors=source(unit_rows(vectors), seed=seed),
        )

    def real_papers(self, number: int) -> Rows:
        """(SHARD_ROWS,): which real paper each vector of a shard is made from. The first that `Source.shard` draws."""
        return np.random.default_rng([self.vectors.seed, ROWS, number]).integers(0, len(self.papers), SHARD_ROWS)

    def records(self, n: int) -> Iterator[dict[str, str]]:
        """The corpus: a record for each of `n` papers, by row."""
        for number, first in enumerate(range(0, n, SHARD_ROWS)):
            random = np.random.default_rng([self.vectors.seed, 3, number])
            for row, real in enumerate(self.real_papers(number)[: n - first].tolist(), first):
                yield self._record(row, n, real, random)

    def _record(self, row: int, n: int, real: int, random: Random) -> dict[str, str]:
        near = self.vectors.near[real].tolist()
        alike = self.alike[_category(self.papers[real])]
        n_sentences = len(self.texts[random.integers(len(self.texts))])
        chosen = []
        for which, of_near, of_alike, where in random.random((n_sentences, 4)).tolist():
            paper = real if which < 1 / 3 else near[int(of_near * len(near))]
            if which > 2 / 3:
                paper = int(alike[int(of_alike * len(alike))])
            chosen.append(self.texts[paper][int(where * len(self.texts[paper]))])
        other = self.papers[near[int(random.integers(1, len(near)))]]
        return {
            "id": _id(row, n),
            "title": _joined(self.papers[real].title, other.title),
            "authors": ", ".join(self.papers[int(random.integers(len(self.papers)))].paper.authors),
            "categories": " ".join(self.papers[real].paper.categories),
            "abstract": " ".join(dict.fromkeys(chosen)),
        }

    def write(self, folder: Path, n: int) -> tuple[Path, Path]:
        """(corpus, vectors) of `n` papers in `folder`: JSON Lines, and .npy (n, d) float16 with ids beside it."""
        folder.mkdir(parents=True, exist_ok=True)
        corpus, vectors = folder / "papers.jsonl", folder / "vectors.npy"
        with corpus.open("wb") as file:
            for record in self.records(n):
                file.write(msgspec.json.encode(record) + b"\n")
        array = np.lib.format.open_memmap(vectors, "w+", np.float16, (n, self.vectors.dim))
        for first, rows in self.vectors.blocks(n):
            array[first : first + len(rows)] = rows
        array.flush()
        (folder / "vectors.ids.txt").write_text("\n".join(_id(row, n) for row in range(n)))
        return corpus, vectors


def _category(stored: StoredPaper) -> str:
    return next(iter(stored.paper.categories), "")


def _joined(title: str, other: str) -> str:
    """The first half of one title with the second of another."""
    first, second = title.split(), other.split()
    return " ".join(first[: (len(first) + 1) // 2] + second[len(second) // 2 :])


def _id(row: int, n: int) -> str:
    """An arXiv id: of `n` papers, each month has as many."""
    months, number = divmod(row * MONTHS, n)
    year, month = divmod(months + 3, 12)
    return f"{(FIRST_YEAR + year) % 100:02d}{month + 1:02d}.{number // MONTHS + 1:05d}"
