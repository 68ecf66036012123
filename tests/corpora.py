"""Small corpora for tests: papers made of the fake encoder's words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from fake_encoder import WORDS

CATEGORIES = ("astro-ph.GA", "astro-ph.CO", "gr-qc")


def records(n: int, *, seed: int = 0) -> list[dict[str, Any]]:
    """n records of random words, many of which tie; ids, dates, categories and authors vary."""
    random = np.random.default_rng(seed)
    return [
        {
            "id": f"{2001 + i % 12:04d}.{10000 + i:05d}",
            "title": f"Paper {i} on {random.choice(WORDS)}",
            "abstract": " ".join(random.choice([*WORDS, "filler"], size=random.integers(1, 9))),
            "authors": f"A. Author{i % 7} and B. Writer{i % 3}",
            "categories": CATEGORIES[i % 3],
        }
        for i in range(n)
    ]


def write(path: Path, made: list[dict[str, Any]]) -> Path:
    """Write records as JSON Lines."""
    path.write_text("".join(json.dumps(record) + "\n" for record in made))
    return path
