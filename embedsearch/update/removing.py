"""Papers go."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from embedsearch.corpus import normal_id
from embedsearch.store.catalogue_updater import CatalogueUpdater
from embedsearch.update.changing import change, opened
from embedsearch.update.report import UpdateReport


def remove(ids: Sequence[str], index: str | Path) -> UpdateReport:
    """Take the papers of these ids, in any form, out of the store at `index`; those that are not there are counted.

    Their rows are dead: they are found no more, and take their place until `compact`. Raises StoreNotFound,
    StoreLocked, StoreCorrupt; StoreError where the store is being built, or no paper would be left.
    """
    asked = dict.fromkeys(normal_id(id).id for id in ([ids] if isinstance(ids, str) else ids))
    with opened(index) as writer:
        known = writer.served

        def tell(updater: CatalogueUpdater) -> UpdateReport:
            for id in asked:
                updater.discard(id)
            return UpdateReport(generation=known.number, n_papers=known.n_papers)

        found = change(writer, "remove", tell)
        if isinstance(found, UpdateReport):
            return found
        return found.report.served(writer.folder, writer.serve(found.generation), known)
