"""A small store whose papers are of known days, and files of papers that come after it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from fake_encoder import WORDS, FakeEncoder
from running import Done, run

from embedsearch.build import BuildOptions, build_index

TODAY = "2026-11-29"


def record(id: str, abstract: str, *, day: str, title: str = "", **more: Any) -> dict[str, Any]:
    """One paper in the field names of arXiv's snapshot, its first version of a day."""
    return {
        "id": id,
        "title": title or f"On {abstract.split()[0]} {id}",
        "abstract": abstract,
        "authors": "A. Author and B. Writer",
        "categories": "astro-ph.GA astro-ph.CO",
        "versions": [{"version": "v1", "created": f"{day}T12:00:00Z"}],
        "update_date": day,
        **more,
    }


def abstract(random: np.random.Generator) -> str:
    """A few of the fake encoder's words: many papers tie."""
    return " ".join(random.choice([*WORDS, "filler"], size=random.integers(2, 9)))


def records(n: int, *, seed: int, year: int, month: int, first: int = 1) -> list[dict[str, Any]]:
    """n papers of a month, with its ids."""
    random = np.random.default_rng(seed)
    return [
        record(
            f"{year % 100:02d}{month:02d}.{first + i:05d}", abstract(random), day=f"{year}-{month:02d}-{1 + i % 28:02d}"
        )
        for i in range(n)
    ]


def write(path: Path, made: Sequence[dict[str, Any]]) -> Path:
    """Write records as JSON Lines."""
    path.write_text("".join(json.dumps(one) + "\n" for one in made))
    return path


def make_store(folder: Path, made: Sequence[dict[str, Any]]) -> Path:
    """A store of these by the fake encoder, searched without FAISS."""
    from embedsearch.ann import AnnKind

    corpus = write(folder / "corpus.jsonl", made)
    build_index(corpus, folder / "index", encoder=FakeEncoder(), options=BuildOptions(ann=AnnKind.EXACT, shard_rows=64))
    return folder / "index"


def write_bib(path: Path, ids: Sequence[str]) -> Path:
    """A library of papers by their eprints."""
    path.write_text("".join(f"@article{{key{i}, eprint = {{{id}}}}}\n" for i, id in enumerate(ids)))
    return path


OLD = [*records(30, seed=1, year=2024, month=3), *records(280, seed=2, year=2026, month=5)]
LIBRARY = ["2403.00003", "2403.00011", "2605.00007"]
BATCH = records(20, seed=3, year=2026, month=11)
"""A store, a library in it, and new papers, for tests that need no others."""

LIKED = ["2605.00003", "2605.00007", "2001.00001"]
NASTY = "<script>alert(1)</script> | `code` & $\\alpha$_x [a](b) *b* #1 \x1b[31m \u202e"


def make_home(home: Path) -> Path:
    """A folder with a store (`index`), a library of which it holds two of three (`my.bib`), and new papers with titles
    that want to be escaped (`new.jsonl`)."""
    make_store(home, records(130, seed=2, year=2026, month=5))
    write_bib(home / "my.bib", LIKED)
    authors = f"A. {NASTY.replace('[a](b)', '')}, B. Writer"
    new = [
        record(f"2611.0000{i}", f"{'star ' * i}plasma", day="2026-11-28", title=f"{NASTY} {i}", authors=authors)
        for i in range(1, 5)
    ]
    write(home / "new.jsonl", new)
    return home


def today(home: Path, *arguments: str, like: str = "my.bib", env: dict[str, str] | None = None) -> Done:
    """Run the command in such a folder."""
    return run("today", "--index", "index", "--like", like, *arguments, cwd=home, env=env)


def ask(home: Path, *arguments: str) -> str:
    """What it prints of the papers that the store has."""
    done = today(home, "--no-fetch", "--since", "2026-11-01", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout
