"""Titles and abstracts as HTML: LaTeX decoded, formulas as MathML, and where a sentence stands in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from markupsafe import Markup, escape

from embedsearch.corpus import to_text
from embedsearch.corpus.latex import FORMULA, GROUP, is_prose
from embedsearch.server.page.latex import MAX_LENGTH
from embedsearch.server.page.math import formula
from embedsearch.server.page.visible import HIDDEN

_FORMULA: Final = re.compile(rf"\\ensuremath(?P<ensured>{GROUP}) | {FORMULA} | \\[^A-Za-z]", re.VERBOSE | re.DOTALL)
_FIRST_STAND_IN: Final = 0xF0000  # private characters, which stand for formulas while the rest is decoded
_STAND_IN: Final = re.compile("[\U000f0000-\U000ffffd]")


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch of text; one that is a formula has its HTML."""

    text: str
    math: Markup | None = None


@dataclass(frozen=True, slots=True)
class Prose:
    """A text as people read it, in runs. Places in it are counted in characters of `text`."""

    runs: tuple[Run, ...]

    @property
    def text(self) -> str:
        """All of it, formulas as the command line prints them."""
        return "".join(run.text for run in self.runs)

    def html(self, start: int = 0, end: int | None = None) -> Markup:
        """From `start` to `end`; a formula is never cut."""
        parts, at = [], 0
        end = len(self.text) if end is None else end
        for run in self.runs:
            first, last = max(start - at, 0), min(end - at, len(run.text))
            if first < last:
                parts.append(escape(run.text[first:last]) if run.math is None else run.math)
            elif not run.text and run.math is not None and start <= at < end:
                parts.append(run.math)
            at += len(run.text)
        return Markup("").join(parts)

    def find(self, sentence: str) -> tuple[int, int] | None:
        """Where a sentence of the decoded text stands; white space may differ. None where it does not."""
        places = [i for i, letter in enumerate(self.text) if not letter.isspace()]
        wanted = "".join(HIDDEN.sub("", sentence).split())
        at = "".join(self.text.split()).find(wanted) if wanted else -1
        return (places[at], places[at + len(wanted) - 1] + 1) if at >= 0 else None

    def cut(self, near: int) -> int:
        """The end of the last word that ends at or before `near`."""
        if near >= len(self.text):
            return len(self.text)
        space = self.text.rfind(" ", 0, near + 1)
        return space if space > 0 else near


@lru_cache(maxsize=4_096)
def prose(latex: str) -> Prose:
    """A title or an abstract as its corpus has it, for the page. Never raises."""
    source = _STAND_IN.sub("", HIDDEN.sub("", latex))
    replaced, formulas = _without_formulas(source)
    pieces = re.split("([\U000f0000-\U000ffffd])", to_text(replaced))
    if [ord(piece) - _FIRST_STAND_IN for piece in pieces[1::2]] != list(range(len(formulas))):
        # A command took some of them as its argument: better in plain text than not at all
        return Prose((Run(HIDDEN.sub("", to_text(source))),))
    runs = []
    for i, piece in enumerate(pieces):
        if i % 2:
            runs.append(formulas[ord(piece) - _FIRST_STAND_IN])
        elif piece:
            runs.append(Run(HIDDEN.sub("", piece)))
    return Prose(tuple(runs))


def _without_formulas(source: str) -> tuple[str, list[Run]]:
    """The source with a stand-in between dollar signs for each formula: so it is decoded as if they were there."""
    parts: list[str] = []
    formulas: list[Run] = []
    start = 0
    while found := _FORMULA.search(source, start):
        parts.append(source[start : found.start()])
        inline = found["inline"]
        if inline is not None and is_prose(inline, source[found.end() : found.end() + 1]):
            parts.append("$")
            start = found.start() + 1
            continue
        latex = inline or found["display"] or found["round"] or found["square"]
        if found["ensured"]:
            latex = found["ensured"][1:-1]
        if latex is not None and latex.strip() and len(formulas) < 5_000:
            parts.append(f"${chr(_FIRST_STAND_IN + len(formulas))}$")
            formulas.append(_run(latex.strip(), block=bool(found["display"] or found["square"])))
        else:
            parts.append(found[0])
        start = found.end()
    return "".join([*parts, source[start:]]), formulas


def _run(latex: str, *, block: bool) -> Run:
    text = HIDDEN.sub("", to_text(f"${latex}$")) if len(latex) <= MAX_LENGTH else latex
    return Run(text, formula(latex, block=block))
