"""Primary categories of the papers of a space, from stores that know them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from embedsearch.store.catalogue import Catalogue
from embedsearch.store.manifest import read_manifest

CHUNK = 10_000
"""Papers that are read at once: a statement of SQLite has a limit."""


def primary_categories(ids: Sequence[str], folders: Sequence[Path]) -> list[str | None]:
    """The first category of each of `ids`, from the first of the stores in `folders` that has one; else None."""
    found: dict[str, str] = {}
    for folder in folders:
        missing = [id for id in ids if id not in found]
        if not missing:
            break
        catalogue = Catalogue(folder / read_manifest(folder).serving.papers.name)
        rows = [row for id in missing if (row := catalogue.row_of(id)) is not None]
        for first in range(0, len(rows), CHUNK):
            for stored in catalogue.papers(np.array(rows[first : first + CHUNK])):
                if stored.paper.categories:
                    found[stored.paper.id] = stored.paper.categories[0]
    return [found.get(id) for id in ids]
