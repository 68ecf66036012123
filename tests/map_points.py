"""Invented maps for the tests of the page: a few papers at places that a reader can check."""

from __future__ import annotations

from typing import Any

import numpy as np

from embedsearch.map import MapPoints, Region

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)> & \"quoted\" '<b>' ${1} {{about}}"


def grid_map(n: int = 400, *, turned: bool = False, **given: Any) -> MapPoints:
    """Papers on a square grid from the lower left, row by row; `turned`: from the upper right."""
    side = int(np.ceil(np.sqrt(n)))
    places = np.array([(i % side, i // side) for i in range(n)], np.float64) / max(side - 1, 1) * 2 - 1
    xy = (-places if turned else places).astype(np.float32)
    sign = -1 if turned else 1
    names = ("astro-ph.GA", "astro-ph.CO", "astro-ph.HE", "gr-qc")
    fields: dict[str, Any] = {
        "name": "indexes/default",
        "label": "smollm2" if turned else "minilm",
        "ids": tuple(f"2001.{i:05d}" for i in range(n)),
        "xy": xy,
        "titles": tuple(f"Dust in galaxy number {i}" if i % 10 else f"A pulsar named {i}" for i in range(n)),
        "authors": tuple("Müller et al." if i % 7 == 0 else "Li and Rossi" for i in range(n)),
        "categories": tuple(names[i % 4] for i in range(n)),
        "years": np.array([0 if i % 11 == 5 else 2000 + i % 20 for i in range(n)], np.int16),
        "density": np.linspace(0, 1, n, dtype=np.float32),
        "region_of": np.zeros((2, n), np.int32),
        "regions": (
            Region(label="dusty galaxies", terms=("dust", "galaxy"), xy=(-0.4 * sign, -0.4 * sign), n=n // 2),
            Region(label="pulsars & friends", terms=("pulsar",), xy=(0.4 * sign, 0.4 * sign), n=n // 3),
            Region(label="hidden behind", terms=("pulsar",), xy=(0.41 * sign, 0.41 * sign), n=n // 9),
            Region(
                label="cold dust", terms=("cold", "dust"), xy=(-0.45 * sign, -0.3 * sign), n=n // 5, level=1, parent=0
            ),
        ),
        "caption": f"{n} papers by what they say.\nDistances between far groups mean nothing.",
        "seed": 0,
        "recipe": {"neighbors": 15},
    }
    return MapPoints(**(fields | given))
