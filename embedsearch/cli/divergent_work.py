"""What `divergent-pairs` asks of the library: spaces, the papers that are named, the halves, the printed pairs."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from embedsearch.cli.options import is_quiet, parse_fields
from embedsearch.cli.spaces import PairDisplay, open_spaces, split_transform, transformed
from embedsearch.cli.terminal import PLAIN_LINE_EVERY
from embedsearch.corpus import normal_id
from embedsearch.errors import EncoderError, MissingExtra, OptionError, RecipeMismatch
from embedsearch.pairs.divergent import DivergentPairs, Search, Study
from embedsearch.pairs.divergent.known_papers import KnownPapers
from embedsearch.pairs.divergent.nulls import Halves, halves
from embedsearch.pairs.divergent.printed import PRINTED, Pooled, both_poolings, find_printed
from embedsearch.render.pairs import pooled_dict, printed_table, result_dict
from embedsearch.render.tables import Table
from embedsearch.store.atomic import check_writable
from embedsearch.store.space import Space, align

FIGURES, PAGES = (".png", ".pdf", ".svg"), (".md", ".html")

N_PASSES = 5
"""That a search takes beside the scan, in the time of a scan: one for the pairs and one for the counts, both slower."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is shown: a result; with --paper the table of the printed pairs too, and lines on the poolings."""

    result: DivergentPairs
    printed: Table | None = None
    pooled: tuple[Pooled, ...] = ()
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        found = result_dict(self.result)
        if self.printed is None:
            return found
        printed = [{"titles": list(p.titles), "ada-002": p.ada, "AstroLLaMA": p.astrollama} for p in PRINTED]
        return found | {
            "printed": printed,
            "poolings": [pooled_dict(p) for p in self.pooled],
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoSpaces:
    """Two spaces as the command line names them."""

    index: str
    against: str
    sample: str | None
    seed: int
    transform: str | None
    fields: tuple[str, ...]
    fast: bool
    device: str

    @property
    def paths(self) -> tuple[str, str]:
        """Of both spaces, without a transform that stands behind them."""
        return split_transform(self.index)[0], split_transform(self.against)[0]

    def answer(
        self,
        search: Search,
        *,
        named: tuple[str, str] | None,
        pairs_file: str | None,
        paper: bool,
        with_null: bool,
    ) -> Answer:
        """Search, or describe the pairs that were named."""
        spaces = open_spaces(
            [self.index, self.against],
            sample=self.sample,
            seed=self.seed,
            transform=self.transform,
            fields=self.fields,
        ).spaces
        known_papers = KnownPapers.open(*self.paths)
        pairs = [named] if named else read_pairs(pairs_file) if pairs_file else None
        if pairs is not None:
            pairs = [(normal_id(one).id, normal_id(other).id) for one, other in pairs]
        if paper:
            if known_papers is None:
                raise OptionError("expected an index that knows the papers' titles for --paper, found files of vectors")
            pairs = list(find_printed(known_papers, self._all()[0].ids))
        if pairs is not None:
            spaces = self._with(spaces, {id for pair in pairs for id in pair})
        null = self._halves(known_papers, spaces[0]) if with_null else None
        with PairDisplay() as display:
            display.forecast(spaces, n_passes=N_PASSES, fast=self.fast, device=self.device)
            study = Study.of(
                spaces, known_papers=known_papers, measure=search.measure, fast=self.fast, device=self.device,
                progress=display.begin("pairs"),
            )  # fmt: skip
            result = study.search(search, halves=null) if pairs is None else study.describe(pairs, halves=null)
        if paper and known_papers:
            return self._beside_printed(result, pairs or [], known_papers)
        return Answer(result=result)

    def _all(self) -> tuple[Space, ...]:
        fields = parse_fields(self.fields) or None
        return align([Space.open(path, fields=fields) for path in self.paths]).spaces

    def _with(self, spaces: tuple[Space, ...], ids: set[str]) -> tuple[Space, ...]:
        """The sample and the papers that were named, whether the sample has them or not."""
        if ids <= set(spaces[0].ids):
            return spaces
        wanted = ids | set(spaces[0].ids)
        everything = self._all()
        at = sorted((id, i) for i, id in enumerate(everything[0].ids) if id in wanted)
        positions = np.array([i for _, i in at], np.int64)
        chosen = []
        for space, path in zip(everything, (self.index, self.against), strict=True):
            chosen.append(transformed(space.take(positions), split_transform(path)[1] or self.transform))
        return tuple(chosen)

    def _halves(self, known_papers: KnownPapers | None, space: Space) -> Halves:
        """One model on both halves of each abstract, with the transforms that its space has."""
        if known_papers is None:
            raise OptionError("expected an index with abstracts and a model for --null, found files of vectors")
        papers = [stored.paper for stored in known_papers.papers(space.ids).values()]
        found = halves(papers, known_papers.encoder(), progress=_Lines(f"encoding halves of {len(papers):,} abstracts"))
        if len(found.ids) < 3:
            raise OptionError(
                f"expected at least 3 abstracts of two sentences or more for --null, found {len(found.ids)}"
            )
        kind = split_transform(self.index)[1] or self.transform
        sides = [known_papers.into_space(side) for side in (found.odd, found.even)]
        if kind not in (None, "none"):
            sides = [Space.of(found.ids, side).transformed(kind).vectors for side in sides]
        return Halves(ids=found.ids, odd=sides[0], even=sides[1], n_left_out=found.n_left_out)

    def _beside_printed(
        self, result: DivergentPairs, pairs: Sequence[tuple[str, str]], known_papers: KnownPapers
    ) -> Answer:
        pooled, notes = [], []
        for path, label in zip(self.paths, result.labels, strict=True):
            store = KnownPapers.open(path)
            if store is None:
                notes.append(f"{label}: a file of vectors; its model cannot be loaded to pool in both ways")
                continue
            try:
                texts = [(known_papers.text(one), known_papers.text(other)) for one, other in pairs]
                found = both_poolings(store.encoder(), texts, label=label)
            except (EncoderError, MissingExtra, RecipeMismatch) as error:
                notes.append(f"{label}: its model cannot be loaded to pool in both ways: {error}")
                continue
            if found is None:
                notes.append(f"{label}: its encoder does not pool as the model card does")
            else:
                pooled.append(found)
                notes.append(found.nearer)
        return Answer(
            result=result, printed=printed_table(result, pairs, pooled), pooled=tuple(pooled), notes=tuple(notes)
        )


def read_pairs(path: str) -> list[tuple[str, str]]:
    """Two ids a line, between blanks or commas; empty lines and what follows a # do not count."""
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        found = getattr(error, "strerror", None) or error
        raise OptionError(f"expected a file of two ids a line in {path}, found: {found}") from error
    pairs = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#")[0].replace(",", " ").split()
        if len(words) not in (0, 2):
            raise OptionError(f"expected two ids in line {number} of {path}, found {len(words)}: {line.strip()!r}")
        if words:
            pairs.append((words[0], words[1]))
    if not pairs:
        raise OptionError(f"expected two ids a line in {path}, found none")
    return pairs


def check_out(out: Path | None) -> None:
    """Raise OptionError for a file that cannot be written: before hours of counting."""
    if out is None:
        return
    if out.suffix.lower() not in PAGES + FIGURES:
        raise OptionError(f"expected a file named *{', *'.join(FIGURES + PAGES)}, found {out.name!r}")
    if out.is_dir():
        raise OptionError(f"expected to write {out}, found a folder of that name")
    check_writable(out)


class _Lines:
    """A line now and then on stderr."""

    def __init__(self, what: str) -> None:
        self._what, self._last = what, time.monotonic()
        if not is_quiet():
            click.echo(f"{what[0].upper()}{what[1:]}.", err=True)

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if not is_quiet() and now - self._last >= PLAIN_LINE_EVERY:
            self._last = now
            click.echo(f"{self._what}: {done / total:.0%}", err=True)
