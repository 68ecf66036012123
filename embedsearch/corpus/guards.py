"""Guard papers: short invented papers from outside astronomy, each with a question that it answers.

A model that is fine-tuned on one literature may get worse at everything else. What it does on these, before and after,
is the cheapest way to see that.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

import msgspec


@dataclass(frozen=True, slots=True)
class GuardPaper:
    """An invented paper, and a question in a user's own words whose only answer among the guards it is."""

    id: str
    field: str
    title: str
    abstract: str
    query: str


def guard_papers() -> tuple[GuardPaper, ...]:
    """The guard papers, in the order of their file: eight from each of fourteen fields."""
    text = files("embedsearch.corpus").joinpath("guards.jsonl").read_bytes()
    return tuple(msgspec.json.decode(line, type=GuardPaper) for line in text.splitlines() if line.strip())
