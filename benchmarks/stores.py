"""The index that stages measure: the one that was given, else one that is made, and found again the next time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.suite import Setup
from embedsearch import BuildOptions, Space, build_index
from embedsearch.store.catalogue import Catalogue, StoredPaper
from embedsearch.store.manifest import read_manifest

N_QUICK = 8


def store(setup: Setup) -> Path:
    """Its folder. A build that was stopped goes on."""
    if setup.index is not None:
        return setup.index
    folder = setup.work / ("quick-store" if setup.quick else "store")
    build_index(setup.papers, folder, options=BuildOptions(limit=N_QUICK if setup.quick else None))
    return folder


def papers_of(folder: Path) -> list[StoredPaper]:
    """All papers of the store, by row."""
    generation = read_manifest(folder).serving
    return Catalogue(folder / generation.papers.name).papers(np.arange(generation.n_papers))


def vectors_of(folder: Path) -> NDArray[np.float32]:
    """(n, d) float32 unit rows of the store."""
    return np.ascontiguousarray(Space.open(folder).vectors, dtype=np.float32)
