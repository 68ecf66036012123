"""A morning's run: fetch, add, and list what is new (see `newness` for what that is)."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedsearch.corpus import open_corpus
from embedsearch.errors import ModelNotFound, OptionError, StoreError
from embedsearch.search.library import find_library, is_bib
from embedsearch.search.view import StoreView
from embedsearch.store.atomic import remove
from embedsearch.store.lock import writer_lock
from embedsearch.today.arrivals import FOLDER_NAME, read_memory, write_memory
from embedsearch.today.day import DayList, write_day
from embedsearch.today.listing import Liked, list_day
from embedsearch.today.newness import New, of_fetched, of_file, of_store

if TYPE_CHECKING:
    from embedsearch.encoders import Compute, Encoder

log = logging.getLogger("embedsearch")

DEFAULT_SETS = ("physics:astro-ph",)
OVERLAP = timedelta(days=1)
"""A run asks for so much more than what came after the last one, whose day was not over, or by another clock."""


def _nothing(_: Any) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where new papers are fetched: sets of an OAI server, arXiv's unless `base_url` names another.

    `contact` is told to it, a mail address; `pause` in seconds is between two requests. None is as `fetch` has it.
    """

    sets: tuple[str, ...] = DEFAULT_SETS
    base_url: str | None = None
    contact: str | None = None
    pause: float | None = None

    @property
    def key(self) -> str:
        """What it is remembered by."""
        return " ".join((*sorted(self.sets), *([self.base_url] if self.base_url else [])))


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What is told of progress: `fetched` is called as `fetch` calls, `added` and `before_embedding` as `add` does."""

    fetched: Callable[[Any], None] = _nothing
    added: Callable[[Any], None] = _nothing
    before_embedding: Callable[[Any], None] = _nothing


def morning(
    index: str | Path,
    like: Sequence[str],
    *,
    source: Source | str | Path | None = Source(),
    since: str | None = None,
    n: int = 20,
    min_percentile: float | None = None,
    encoder: Encoder | None = None,
    compute: Compute | None = None,
    watch: Watch = Watch(),
    today: date | None = None,
) -> DayList:
    """Take in new papers, and list the n of them that are nearest to the papers that `like` names.

    `source` is where they are fetched, a file of them, or None for what the store has already. `since` is a day in any
    form that `fetch` takes. A list that has papers is written into the store's folder (`day.write_day`); one without
    any is only given back. `today` stands for the day that it is.

    Raises PaperNotFound where nothing of `like` is in the store; what `fetch` raises, before the store is touched; what
    `update.add` raises; ModelNotFound where the store does not know what embeds a paper; StoreLocked where another run
    is at work.
    """
    from embedsearch.fetch.days import since_day, utc_today

    folder, today = Path(index), today or utc_today()
    first = None if since is None else since_day(since, today=today)
    view = StoreView.open(folder)
    liked = _liked(view, like)
    listed = partial(list_day, n=n, min_percentile=min_percentile)
    if source is None:
        new = of_store(view, since=first, today=today)
        day = listed(view, new.rows, liked, since=new.since, until=new.until)
        try:
            _keep(folder, day)
        except StoreError as error:
            log.warning("the list is not kept: %s", error)  # a store that others own can be listed all the same
        return day
    if encoder is None and not view.generation.has_encoder:
        raise ModelNotFound(
            f"expected an index that knows what embeds a paper at {folder}, found vectors from elsewhere: new"
            " papers cannot be added; list those that it has with --no-fetch"
        )
    with writer_lock(folder / FOLDER_NAME):
        taking = _Taking(folder, today, first, encoder, compute, watch)
        new = taking.fetched(source) if isinstance(source, Source) else taking.of_file(Path(source))
        view = StoreView.open(folder)
        day = listed(view, new.rows, _liked(view, like), since=new.since, until=new.until)
        _keep(folder, day)
        if isinstance(source, Source):  # last: what was not listed is new to the next run too
            taking.is_listed(source)
    return day


def _keep(folder: Path, day: DayList) -> None:
    if day.papers:
        write_day(folder, day)


def _liked(view: StoreView, like: Sequence[str]) -> Liked:
    if not like:
        raise OptionError("expected papers that the new ones are to be near to, found none")
    found = find_library(view, like, warn=False)
    labels = tuple(Path(one).name if is_bib(one) else one.strip() for one in like)
    return Liked(rows=found.rows, labels=labels, missing=found.missing)


@dataclass(frozen=True, slots=True)
class _Taking:
    """Papers on their way into a store, whose lock of the day is held."""

    folder: Path
    today: date
    first: date | None
    encoder: Encoder | None
    compute: Compute | None
    watch: Watch

    def fetched(self, source: Source) -> New:
        """Fetch, and add. Where nothing was fetched, or fetching fails, the store is not touched."""
        from embedsearch.fetch import ARXIV, fetch
        from embedsearch.fetch.server import PAUSE

        span = read_memory(self.folder).span(source.key, self.today)
        since = self.first or span.since
        goes_on = self.first is None and span.goes_on
        asked = since - OVERLAP if goes_on else since
        path = _path_of(self.folder, source, asked)
        fetch(
            sorted(source.sets),
            path,
            since=asked.isoformat(),
            base_url=source.base_url or ARXIV,
            contact=source.contact,
            pause=PAUSE if source.pause is None else source.pause,
            progress=self.watch.fetched,
        )
        ids = self._add(path) if path.exists() and path.stat().st_size else []
        for old in path.parent.glob(f"*{_stem(source)}-*"):  # what came in before is in the store by now
            if path.name not in old.name:
                remove(old)
        return of_fetched(
            StoreView.open(self.folder),
            ids,
            read_memory(self.folder),
            since=since,
            today=self.today,
            goes_on=goes_on,
        )

    def is_listed(self, source: Source) -> None:
        """The next run of the source goes on from here."""
        memory = read_memory(self.folder)
        span = memory.span(source.key, self.today)
        if self.first is None or self.first <= span.since:  # else days would be passed over
            write_memory(self.folder, memory.with_last(source.key, span))

    def of_file(self, path: Path) -> New:
        """Add the papers of a file."""
        ids = self._add(path)
        return of_file(StoreView.open(self.folder), ids, read_memory(self.folder), since=self.first, today=self.today)

    def _add(self, path: Path) -> list[str]:
        """The ids of the papers of a file, which are in the store now.

        Remembered first: of a run that is killed between the two, the next one knows what was to come.
        """
        from embedsearch.update import add

        ids = [paper.id for paper in open_corpus(path) if not paper.deleted]
        catalogue = StoreView.open(self.folder).catalogue
        coming = [id for id in dict.fromkeys(ids) if catalogue.row_of(id) is None]
        write_memory(self.folder, read_memory(self.folder).with_arrived(self.today, coming))
        report = add(
            path,
            self.folder,
            encoder=self.encoder,
            compute=self.compute,
            progress=self.watch.added,
            before_embedding=self.watch.before_embedding,
        )
        log.info("%s: %s papers read, %s new to the index", path.name, f"{len(ids):,}", f"{len(report.new):,}")
        return ids


def _stem(source: Source) -> str:
    """What the names of the files of a source begin with: no name of a set is as long as a file's name may be."""
    readable = re.sub(r"[^a-z0-9]+", "-", source.key.lower()).strip("-")[:40]
    return f"{readable}-{hashlib.sha256(source.key.encode()).hexdigest()[:8]}"


def _path_of(folder: Path, source: Source, since: date) -> Path:
    """Where the papers of a source are fetched to. By day: a fetch that failed goes on as long as none succeeded."""
    return folder / FOLDER_NAME / f"{_stem(source)}-{since}.jsonl"
