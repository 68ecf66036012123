"""The weight of a store's own for hybrid scores: what an evaluation chose, and somebody asked to keep."""

from __future__ import annotations

from pathlib import Path

import msgspec

from embedsearch._version import __version__
from embedsearch.errors import OptionError
from embedsearch.store.lock import writer_lock
from embedsearch.store.manifest import commit, now, read_manifest


def save_hybrid_weight(folder: str | Path, weight: float | None) -> None:
    """From now on hybrid scores of the store at `folder` are weight cosine + (1 - weight) BM25 / best BM25.

    None: the usual weight again. It is of what is served now: a build that replaces that begins with the usual one.
    Searchers and servers take it up when they look at the store again. Raises OptionError for a weight outside of 0 to
    1, StoreLocked while a build is writing, and what `read_manifest` raises.
    """
    if weight is not None and not 0 <= weight <= 1:
        raise OptionError(f"expected a weight from 0 (words alone) to 1 (meaning alone), found {weight}")
    folder = Path(folder)
    read_manifest(folder)  # first: the lock would make a folder where none is
    with writer_lock(folder):
        manifest = read_manifest(folder)
        if manifest.serving.hybrid_weight == weight:
            return
        serving = msgspec.structs.replace(manifest.serving, hybrid_weight=weight, updated=now())
        commit(folder, msgspec.structs.replace(manifest, serving=serving, made_by=f"embedsearch {__version__}"))
