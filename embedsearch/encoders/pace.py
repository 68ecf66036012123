"""Reporting progress while a device works ahead of the program."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import torch

Progress = Callable[[int, int], None]
"""Called with the texts and tokens of a batch that is done."""

MOST_UNDER_WAY = 2
"""Batches that a GPU is given ahead of the last one that it is known to have finished."""


class Tally:
    """What of a call was reported as done."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._n_texts = self._n_tokens = 0

    def done(self, n_texts: int, n_tokens: int) -> None:
        self._n_texts += n_texts
        self._n_tokens += n_tokens
        if self._progress is not None:
            self._progress(n_texts, n_tokens)

    def take_back(self) -> None:
        if self._n_texts:
            self.done(-self._n_texts, -self._n_tokens)


class Pace:
    """Reports batches when they are finished, not when they are queued, and keeps the queue of a GPU short.

    Waiting for the batch before the last leaves the GPU busy, where waiting for the last one would not.
    """

    def __init__(self, device: torch.device, tally: Tally) -> None:
        self._device = device
        self._tally = tally
        self._waiting: deque[tuple[torch.cuda.Event | None, int, int]] = deque()

    def given(self, n_texts: int, n_tokens: int) -> None:
        """A batch was given to the device."""
        event = None
        if self._device.type == "cuda":
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record(torch.cuda.current_stream(self._device))
        elif self._device.type == "mps":
            torch.mps.synchronize()
        self._waiting.append((event, n_texts, n_tokens))
        if len(self._waiting) > MOST_UNDER_WAY or event is None:
            self._report()

    def finish(self) -> None:
        """All were given."""
        while self._waiting:
            self._report()

    def _report(self) -> None:
        event, n_texts, n_tokens = self._waiting.popleft()
        if event is not None:
            event.synchronize()
        self._tally.done(n_texts, n_tokens)
