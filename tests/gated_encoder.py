"""A fake encoder whose passes wait for a test to let them through."""

from __future__ import annotations

import threading
from collections.abc import Callable

from fake_encoder import FakeEncoder

from embedsearch.encoders import Encoded, Prepared


class GatedEncoder(FakeEncoder):
    """`passes` lists the texts of each pass as it begins; each waits while the gate is shut."""

    def __init__(self, name: str = "fake", *, is_open: bool = True) -> None:
        super().__init__(name)
        self.passes: list[list[str]] = []
        self._gate = threading.Event()
        if is_open:
            self._gate.set()

    def shut(self) -> None:
        self._gate.clear()

    def open(self) -> None:
        self._gate.set()

    def encode_prepared(self, prepared: Prepared, *, progress: Callable[[int, int], None] | None = None) -> Encoded:
        self.passes.append(list(prepared.content))
        assert self._gate.wait(20), "the test never opened the gate"
        return super().encode_prepared(prepared, progress=progress)
