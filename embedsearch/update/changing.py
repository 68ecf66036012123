"""The files of a new generation: those of the generation before, with what changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np

from embedsearch import keywords
from embedsearch.errors import StoreError
from embedsearch.store.atomic import new_path
from embedsearch.store.catalogue import Catalogue, StoredPaper
from embedsearch.store.catalogue_updater import CatalogueUpdater, Kind
from embedsearch.store.generation import Change, FileEntry, Generation
from embedsearch.store.lock import writer_lock
from embedsearch.store.manifest import build_command, check_hash, describe, now, read_manifest, rollback_command
from embedsearch.store.writer import StoreWriter
from embedsearch.update.report import UpdateReport

AT_ONCE = 1000


@contextmanager
def opened(index: str | Path, *, may_be_adding: bool = False) -> Iterator[StoreWriter]:
    """The store at `index`, to be changed by its holder alone. It must be complete.

    `may_be_adding` allows for an addition that was interrupted. Raises StoreNotFound, StoreLocked, StoreCorrupt,
    StoreTooNew, or StoreError where the store is being built.
    """
    folder = Path(index)
    read_manifest(folder)  # before the lock would make a folder
    with writer_lock(folder):
        writer = StoreWriter(folder)
        assert writer.manifest is not None, "it was read"
        pending, building = writer.manifest.pending, writer.manifest.building
        if pending is not None and not (may_be_adding and building is not None and building.change.what == "add"):
            raise StoreError(
                f"expected an index that is finished at {folder}, found {pending.n_embedded:,} of"
                f" {pending.n_papers:,} papers embedded; finish it with: {build_command(folder)}"
                + (f", or give that up with: {rollback_command(folder)}" if building else "")
            )
        yield writer


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A generation that is not committed yet, and what became of the papers in it."""

    generation: Generation
    report: UpdateReport


def change(
    writer: StoreWriter, what: str, tell: Callable[[CatalogueUpdater], UpdateReport], *, source: str = ""
) -> Changed | UpdateReport:
    """A new generation after the one that is served: another catalogue, more keyword segments.

    `tell` is called once and gives what it counted. Where that changes nothing, there is no generation, but a report
    alone. Rows that were appended have no vectors yet; without any the generation is complete.

    Raises StoreCorrupt where what is copied is not what was written: the copy would have a hash of its own.
    """
    folder, known, number = writer.folder, writer.served, writer.next_number
    path = folder / f"papers-{number}.sqlite"
    report: UpdateReport | None = None
    for entry in (known.papers, *known.keywords):
        check_hash(folder, entry)
    try:
        with new_path(path) as temporary, _updater(temporary, folder, known) as updater:
            report = _counted(tell(updater), updater)
            if not updater.kinds:
                raise _NothingError
            checksum, n_papers, n_rows = updater.finish()
            if not n_papers:
                raise StoreError(
                    f"expected papers to be left in {folder}, found that all {known.n_papers:,} would go; delete the"
                    " folder if that is meant"
                )
    except _NothingError:
        assert report is not None, "it was counted"
        return report
    added = [known.n_rows] if n_rows > known.n_rows else []
    generation = msgspec.structs.replace(
        known,
        number=number,
        created=now(),
        updated=now(),
        n_papers=n_papers,
        n_dead=n_rows - n_papers,
        starts=[*known.starts, *added],
        n_fitted=known.n_papers_fitted,
        corpus=msgspec.structs.replace(known.corpus, checksum=checksum),
        papers=describe(folder, path),
        papers_base=known.papers_base or known.papers,
        vectors=None if added else known.vectors,  # which do not have all papers any more
        keywords=_keywords(folder, known, number, path, updater),
        ann=None if added else known.ann,  # one that has all rows is made when they have vectors
        change=_noted(what, report, source),
        complete=not added,
    )
    return Changed(generation=generation, report=report)


def _updater(path: Path, folder: Path, known: Generation) -> CatalogueUpdater:
    return CatalogueUpdater(path, folder / known.papers.name, checksum=known.corpus.checksum, n_rows=known.n_rows)


class _NothingError(Exception):
    """There is nothing to change: the copy is given up."""


def _counted(report: UpdateReport, updater: CatalogueUpdater) -> UpdateReport:
    return replace(
        report,
        new=updater.ids(Kind.NEW),
        changed=updater.ids(Kind.CHANGED),
        renewed=updater.ids(Kind.RENEWED),
        removed=updater.ids(Kind.REMOVED),
        n_unchanged=updater.n_unchanged,
        n_unknown=updater.n_unknown,
    )


def _noted(what: str, report: UpdateReport, source: str) -> Change:
    return Change(
        what=what,
        n_new=len(report.new),
        n_changed=len(report.changed),
        n_renewed=len(report.renewed),
        n_removed=len(report.removed),
        source=source,
    )


def _keywords(folder: Path, known: Generation, number: int, papers: Path, updater: CatalogueUpdater) -> list[FileEntry]:
    """The old segments without what is gone, and a segment of what is new."""
    old, path = (folder / known.keywords[0].name).parent, folder / f"keywords-{number}"
    renewed = updater.renewed_rows
    written = _written(Catalogue(papers), renewed, updater.first_new)
    with new_path(path) as temporary:
        keywords.extend(temporary, old, written, gone=[*updater.dead, *renewed])
    # Segments' names are never used again, so that what has the name of an old file is that file.
    hashes = {
        (Path(entry.name).name, entry.size): entry.sha256 for entry in known.keywords if ".json" not in entry.name
    }
    return [_entry(folder, file, hashes) for file in sorted(path.iterdir())]


def _written(catalogue: Catalogue, renewed: list[int], first_new: int) -> Iterator[StoredPaper]:
    for first in range(0, len(renewed), AT_ONCE):
        yield from catalogue.papers(np.array(renewed[first : first + AT_ONCE], np.int64))
    yield from catalogue.span(first_new, catalogue.n_rows)


def _entry(folder: Path, file: Path, hashes: dict[tuple[str, int], str]) -> FileEntry:
    size = file.stat().st_size
    known = hashes.get((file.name, size))
    return FileEntry(file.relative_to(folder).as_posix(), size, known) if known else describe(folder, file)
