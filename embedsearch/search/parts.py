"""One store over several processes: each part holds some of the vectors, one who asks them all merges.

The merging side opens the store as a PartedView: papers, words and filters are its own, and whatever needs a vector is
asked of the parts. Scores are computed where the vectors lie, by the one function that computes them anywhere, so that
they are the same bit for bit; of proposals the best k of all parts and their ties are kept, as one index would give.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec
import numpy as np

from embedsearch.errors import OptionError, StoreCorrupt
from embedsearch.scores import Float32, Mask, Rows
from embedsearch.search.view import NO_ROWS, Around, StoreView
from embedsearch.store.generation import Generation
from embedsearch.store.manifest import Manifest, check_sizes, read_manifest
from embedsearch.store.space import open_vectors

STATES = 2
"""So many states of a store a part holds at once: while those who ask go on to a newer one, some ask the older."""


class Call(NamedTuple):
    """What one part is asked: a method of Part with its arguments."""

    part: int
    method: str
    arguments: tuple[Any, ...]


class Parts(Protocol):
    """How the parts of a store are asked, wherever they run. Thread-safe."""

    n_parts: int

    def ask(self, calls: Sequence[Call], *, patient: bool = False) -> list[Any]:
        """An answer to each of `calls`, all of which go out at once. `patient`: the parts may still have to start.

        Raises what a part raised, and Overloaded where one gives no answer: a part is never left out.
        """


def bounds(n_papers: int, n_parts: int) -> Rows:
    """(n_parts + 1,): part p holds the rows from the p-th up to the next. Raises OptionError for too many parts."""
    if not 1 <= n_parts <= max(1, n_papers):
        raise OptionError(f"expected at most as many parts as there are papers ({n_papers:,}), found {n_parts}")
    return np.arange(n_parts + 1, dtype=np.int64) * n_papers // n_parts


def state_of(generation: Generation) -> str:
    """What a state of a store is called between processes: other vectors, or more of them, are another state."""
    return hashlib.sha256(msgspec.json.encode(generation)).hexdigest()


class PartView(StoreView):
    """A state of a store that answers for the rows of one part. Of the vectors' files only those of its rows are read.

    An index without a file is a scan of these rows; one with a file is asked for these rows alone.
    """

    def __init__(self, folder: Path, manifest: Manifest, *, part: int, n_parts: int) -> None:
        super().__init__(folder, manifest)
        first, end = bounds(self.n_rows, n_parts)[part : part + 2]
        shards = [
            each for each in self.generation.shards if each.first_row < end and first < each.first_row + each.n_rows
        ]
        self.vectors = open_vectors(folder, msgspec.structs.replace(self.generation, shards=shards))
        self._mine = self.everything()
        self._mine[:first] = self._mine[end:] = False
        self.span = slice(int(first), int(end))

    def nearest(self, query: Float32, k: int, mask: Mask | None) -> Rows:
        """Those of this part."""
        if mask is None:  # not to be scanned one by one, however few they are
            return self.ann.candidates(query[None], k, allowed=self._mine)[0]
        return super().nearest(query, k, mask & self._mine)


class Part:
    """Answers for the rows of part `part` of `n_parts` of the store at `folder`, from the states that it is asked for.

    Rows are those of the whole store. Thread-safe. Raises what StoreView.open raises.
    """

    def __init__(self, folder: Path, part: int, n_parts: int) -> None:
        self._folder = folder
        self._part = part
        self._n_parts = n_parts
        self._views: OrderedDict[str, PartView] = OrderedDict()
        self._lock = threading.Lock()
        self.open(state_of(read_manifest(folder).serving))

    def open(self, state: str) -> None:
        """Open all that `state` needs. Raises StoreCorrupt where it is none of those that the store has."""
        view = self._view(state)
        _ = view.ann
        view.vectors.open_all()

    def check(self) -> None:
        """Raise what reading a vector raises."""
        with self._lock:
            view = next(reversed(self._views.values()))
        first = np.array([view.span.start])
        view.read(first[view.vectors.has(first)])

    def around(
        self, state: str, query: Float32, k: int, allowed: bytes | None, others: Rows
    ) -> tuple[Float32 | Rows, ...]:
        """See StoreView.around: (near rows, rows, cosines); `allowed` is the mask of this part's rows in bits."""
        view = self._view(state)
        mask = None
        if allowed is not None:
            mask = np.zeros(view.n_rows, bool)
            n_mine = view.span.stop - view.span.start
            mask[view.span] = np.unpackbits(np.frombuffer(allowed, np.uint8), count=n_mine).astype(bool)
        found = view.around(query, k, mask, others=others)
        return found.near, found.rows, found.cosines

    def cosines(self, state: str, query: Float32, rows: Rows) -> Float32:
        """See StoreView.cosines."""
        return self._view(state).cosines(query, rows)

    def read(self, state: str, rows: Rows) -> Float32:
        """See StoreView.read."""
        return self._view(state).read(rows)

    def _view(self, state: str) -> PartView:
        with self._lock:
            if state not in self._views:
                self._views[state] = self._opened(state)
                while len(self._views) > STATES:
                    self._views.popitem(last=False)
            self._views.move_to_end(state)
            return self._views[state]

    def _opened(self, state: str) -> PartView:
        manifest = read_manifest(self._folder, check_files=False)
        for generation in manifest.generations():
            if state_of(generation) == state:
                check_sizes(self._folder, generation)
                serving = msgspec.structs.replace(manifest, serving=generation)
                return PartView(self._folder, serving, part=self._part, n_parts=self._n_parts)
        raise StoreCorrupt(f"expected a state of {self._folder} that is asked for, found that others took its place")


class PartedView(StoreView):
    """A state of a store whose vectors `parts` hold. Thread-safe."""

    def __init__(self, folder: Path, manifest: Manifest, *, parts: Parts) -> None:
        super().__init__(folder, manifest)
        self._parts = parts
        self._bounds = bounds(self.n_rows, parts.n_parts)
        self._state = state_of(self.generation)

    def open_all(self) -> None:
        """See StoreView; each part opens this state as well."""
        _ = self.keywords
        calls = [Call(part, "open", (self._state,)) for part in range(self._parts.n_parts)]
        self._parts.ask(calls, patient=True)

    def around(self, query: Float32, k: int, mask: Mask | None, *, others: Rows = NO_ROWS) -> Around:
        """See StoreView: what the parts found, cut to the best k of all and their ties."""
        others = np.sort(others)
        calls = []
        for part, at in enumerate(self._split(others)):
            allowed = None if mask is None else mask[self._bounds[part] : self._bounds[part + 1]]
            if allowed is None or allowed.any() or at.start < at.stop:
                bits = None if allowed is None else np.packbits(allowed).tobytes()
                calls.append(Call(part, "around", (self._state, query, k, bits, others[at])))
        if not calls:
            return Around.of_words(NO_ROWS)
        answers = self._parts.ask(calls)
        near, rows, cosines = (np.concatenate(each) for each in zip(*answers, strict=True))
        return Around(near, rows, cosines).best(k, others)

    def nearest_of_each(self, queries: Float32, k: int, mask: Mask) -> Rows:
        """See StoreView: each part knows its own."""
        found = NO_ROWS
        for query in queries:
            found = np.union1d(found, self.around(query, k, mask).near)
        return found

    def cosines(self, query: Float32, rows: Rows) -> Float32:
        """See StoreView."""
        found = np.empty(len(rows), np.float32)
        for at, answer in self._of_each("cosines", rows, query):
            found[at] = answer
        return found

    def read(self, rows: Rows) -> Float32:
        """See StoreView."""
        found = np.empty((len(rows), self.vectors.dim), np.float32)
        for at, answer in self._of_each("read", rows):
            found[at] = answer
        return found

    def _of_each(self, method: str, rows: Rows, *arguments: Any) -> list[tuple[Rows, Any]]:
        """What each part that has some of `rows` answers, and the positions that these have."""
        order = np.argsort(rows, kind="stable")
        places = {part: order[at] for part, at in enumerate(self._split(rows[order])) if at.start < at.stop}
        calls = [Call(part, method, (self._state, *arguments, rows[at])) for part, at in places.items()]
        return list(zip(places.values(), self._parts.ask(calls), strict=True))

    def _split(self, rows: Rows) -> list[slice]:
        """Where in `rows`, sorted, those of each part are."""
        at = np.searchsorted(rows, self._bounds)
        return [slice(int(first), int(end)) for first, end in pairwise(at)]
