"""Going over to a newer state of the index while requests are answered from the one before.

A request keeps the state that it began with. A state is opened and warmed beside the one that answers, so that no
request waits for it; the old one is let go when its last request ends.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from embedsearch.encoders import Encoder
from embedsearch.errors import EmbedsearchError, RecipeMismatch, StoreCorrupt
from embedsearch.search import Searcher
from embedsearch.search.searcher import OpenView
from embedsearch.search.view import StoreView
from embedsearch.server import metrics
from embedsearch.server.batching import QueryBatcher
from embedsearch.server.options import ServeOptions
from embedsearch.store.manifest import MANIFEST_NAME, read_manifest

log = logging.getLogger("embedsearch")

T = TypeVar("T")

OPENINGS = 5
"""How often it is begun anew where the folder is renamed while it is opened."""
LONGEST_PAUSE = 30.0
"""Seconds between two attempts at a state that could not be opened: it is tried again because its files may still be on
their way."""
PAUSES = (0.0, 0.05, 0.2, 0.5)
"""Seconds before each look for a state instead of one whose files are gone: between two renames there is no folder."""

HOPELESS_SECONDS = 1.0
"""For so long after such looks were in vain there are no more of them, unless something else lies there."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Which folder lies there, and which manifest in it: (device, inode), and (inode, size, time of change)."""

    folder: tuple[int, int]
    manifest: tuple[int, int, int]


def look(folder: Path) -> Seen | None:
    """What lies there now, None where it is no store. Two calls of stat: cheap enough for each second."""
    try:
        outer, inner = os.stat(folder), os.stat(folder / MANIFEST_NAME)
    except OSError:
        return None
    return Seen((outer.st_dev, outer.st_ino), (inner.st_ino, inner.st_size, inner.st_mtime_ns))


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """One state of the index; `batcher` is None where nothing is known that embeds its queries."""

    searcher: Searcher
    batcher: QueryBatcher | None
    seen: Seen

    @property
    def generation(self) -> int:
        """Its number."""
        return self.searcher.generation.number


class Swapper:
    """Holds the state that answers. All methods are for one event loop; stores are opened in a thread of its own.

    `encoder` stands in for the stores' own; `encode_thread` is a pool of one, where it works. `prepare` is awaited for
    each state before it answers. `open_view`: see Searcher.open.
    """

    def __init__(
        self,
        options: ServeOptions,
        *,
        encoder: Encoder | None,
        encode_thread: ThreadPoolExecutor,
        prepare: Callable[[Searcher], Awaitable[None]],
        open_view: OpenView = StoreView.open,
    ) -> None:
        self.current: Served | None = None
        self._options = options
        self._given = encoder
        self._encode_thread = encode_thread
        self._prepare = prepare
        self._open_view = open_view
        self._opener = ThreadPoolExecutor(1, thread_name_prefix="open")
        self._lock = asyncio.Lock()
        self._settled: Seen | None = None
        self._complaint = ""
        self._failed_at = -LONGEST_PAUSE
        self._rescue: asyncio.Task[None] | None = None
        self._hopeless: Seen | None = None
        self._hopeless_until = 0.0

    async def reload(self) -> bool:
        """Look at the index now; whether there was something newer, which answers from now on.

        Raises what Searcher.open and loading its model raise; what answered before goes on then.
        """
        async with self._lock:
            try:
                opened = await self._in_thread(self._open_newer)
                if opened is not None:
                    await self._prepare(opened.searcher)
            except Exception as error:
                self._failed_at = time.monotonic()
                self._complain(error)
                raise
            self._complaint = ""
            if opened is None:
                return False
            self._go_on_with(opened)
            return True

    async def instead_of(self, served: Served) -> Served | None:
        """Another state than `served`, some of whose files are gone; None where there is none.

        All who ask share one search for it; who asks right after it found nothing is told so at once.
        """
        is_hopeless = time.monotonic() < self._hopeless_until and look(self._options.index) == self._hopeless
        if (self._rescue is None or self._rescue.done()) and not is_hopeless:
            self._rescue = asyncio.create_task(self._look_again(served))
        if self._rescue is not None:
            await asyncio.shield(self._rescue)
        return self.current if self.current is not served else None

    async def _look_again(self, served: Served) -> None:
        for pause in PAUSES:
            await asyncio.sleep(pause)
            if self.current is not served:
                return
            with suppress(EmbedsearchError):  # told by reload
                await self.reload()
        if self.current is served:
            self._hopeless, self._hopeless_until = look(self._options.index), time.monotonic() + HOPELESS_SECONDS

    async def watch(self) -> None:
        """Reload whenever something else lies there. Never ends; whatever cannot be opened is told once."""
        failed, pause = None, self._options.poll_seconds
        while True:
            await asyncio.sleep(self._options.poll_seconds)
            seen = await self._in_thread(lambda: look(self._options.index))
            if seen == self._settled or (seen == failed and time.monotonic() < self._failed_at + pause):
                continue
            pause = min(2 * pause, LONGEST_PAUSE) if seen == failed else self._options.poll_seconds
            try:
                await self.reload()
                self._settled, failed = seen, None
            except Exception:  # told by reload; a server outlives whatever a store may do
                failed = seen

    async def close(self) -> None:
        """Stop the thread."""
        if self._rescue is not None:
            self._rescue.cancel()
        await asyncio.to_thread(self._opener.shutdown, wait=True, cancel_futures=True)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._opener, work)

    def _go_on_with(self, opened: Served) -> None:
        is_first = self.current is None
        self.current, self._settled = opened, opened.seen
        metrics.serving(opened.generation)
        if not is_first:
            metrics.swap_done(ok=True)
            log.info("generation %d of the index answers now", opened.generation)

    def _complain(self, error: Exception) -> None:
        """Once for each failure, however often it is met again."""
        complaint = f"{type(error).__name__}: {error}"
        if self.current is None or complaint == self._complaint:
            return
        self._complaint = complaint
        metrics.swap_done(ok=False)
        is_ours = isinstance(error, EmbedsearchError)
        log.warning(
            "generation %d goes on: the index cannot be opened as it is now: %s",
            self.current.generation,
            error if is_ours else complaint,
            exc_info=None if is_ours else error,
        )

    def _open_newer(self) -> Served | None:
        """The state that lies there, opened and warm, or None if it is what answers already. In a thread."""
        folder = self._options.index
        for _ in range(OPENINGS):
            seen, old = look(folder), self.current
            manifest = read_manifest(folder)
            is_there = old is not None and seen is not None and seen.folder == old.seen.folder
            if old is not None and is_there and manifest.serving == old.searcher.generation:
                return None
            shared = self._given
            if shared is None and old is not None and old.batcher is not None:
                shared = old.batcher.encoder if manifest.serving.recipe == old.searcher.generation.recipe else None
            try:
                searcher = self._open(shared)
            except (StoreCorrupt, RecipeMismatch):
                if _is_same(look(folder), seen):
                    raise
                continue
            if seen is not None and _is_same(look(folder), seen):
                return Served(searcher, self._batcher(searcher), seen)
        raise StoreCorrupt(f"expected an index at {folder}, found that it is renamed all the time")

    def _open(self, encoder: Encoder | None) -> Searcher:
        options = self._options
        searcher = Searcher.open(
            options.index,
            encoder=encoder,
            model=options.model,
            compute=options.compute,
            observe=metrics.stage,
            follows=False,
            open_view=self._open_view,
        )
        searcher.warm_up()
        return searcher

    def _batcher(self, searcher: Searcher) -> QueryBatcher | None:
        """The same as before for the same encoder: what it knows of recent queries holds."""
        if not searcher.has_encoder:
            return None
        encoder, old = searcher.encoder, self.current
        if old is not None and old.batcher is not None and old.batcher.encoder is encoder:
            return old.batcher
        return QueryBatcher(encoder, thread=self._encode_thread, options=self._options.batching)


def _is_same(now: Seen | None, before: Seen | None) -> bool:
    """Whether the folder is still the same one; a newer manifest in it leaves an older state whole."""
    return now is not None and before is not None and now.folder == before.folder
