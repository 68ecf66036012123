"""Several devices of one machine: a process for each, and shards as their tasks."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from embedsearch.encoders import Compute, Encoder, ModelSpec, Recipe, open_encoder
from embedsearch.errors import OptionError, StoreError
from embedsearch.stages.collect import Collector
from embedsearch.stages.embed import check_beforehand
from embedsearch.stages.options import Progress
from embedsearch.stages.receipts import Receipt
from embedsearch.stages.shard_work import IN_FLIGHT, Opener, ShardWorker
from embedsearch.stages.tasks import Tasks
from embedsearch.store.generation import Generation
from embedsearch.store.writer import StoreWriter

OpenOn = Callable[[Compute], Encoder]
"""Opens an encoder that computes so; it can be pickled."""


def opener_of(generation: Generation) -> OpenOn:
    """Opens the model of a generation, and refuses another."""
    spec, recipe = ModelSpec.from_dict(generation.model), Recipe.from_dict(generation.recipe)
    return partial(_open, spec, recipe)


def _open(spec: ModelSpec, recipe: Recipe, compute: Compute) -> Encoder:
    return open_encoder(spec, compute=compute, expected=recipe)


@dataclass(frozen=True, slots=True, kw_only=True)
class Devices:
    """An Engine with one process for each of `devices` (`cuda:0`, `cuda:1`; a name may stand twice).

    `open_on` replaces the opening of the store's model. The processes are spawned: a script of yours that builds so
    needs its `if __name__ == "__main__":`.
    """

    devices: Sequence[str]
    compute: Compute = field(default_factory=Compute)
    open_on: OpenOn | None = None

    def __post_init__(self) -> None:
        if not self.devices or not all(self.devices):
            raise OptionError(f"expected devices such as cuda:0,cuda:1, found {','.join(self.devices)!r}")

    def __call__(
        self, writer: StoreWriter, generation: Generation, encoder: Encoder, *, progress: Progress
    ) -> Generation:
        """Raises what a worker raised, and StoreError where workers die at the same shard again and again."""
        check_beforehand(writer.folder, generation, encoder)
        collector = Collector(writer, generation, encoder, progress)
        collector.sweep()
        collector.begin()
        tasks = Tasks(collector.missing, shard_rows=generation.shard_rows)
        open_on = self.open_on or opener_of(generation)
        workers: list[_Worker] = []
        try:
            for device in self.devices[: len(tasks)]:
                opener = partial(open_on, replace(self.compute, device=device))
                workers.append(_Worker(writer.folder, generation.number, opener, tasks))
            while collector.missing:
                for worker in _ready(workers):
                    if (receipt := worker.receive()) is not None:
                        collector.take(receipt)
        finally:
            for worker in workers:
                worker.stop()
        return collector.finish()


def _ready(workers: Sequence[_Worker]) -> list[_Worker]:
    """Those that have something to say, or died; blocks until there is one."""
    by_connection = {worker.connection: worker for worker in workers}
    return [by_connection[ready] for ready in wait(list(by_connection)) if isinstance(ready, Connection)]


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """A process that is started in here never sees Control-C, not even while it imports: its starter decides."""
    resource_tracker.ensure_running()  # else that would be started in here, and unblocks the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Worker:
    """A process with an encoder, and the shards that it was given; another process takes the place of one that dies."""

    connection: Connection

    def __init__(self, folder: Path, number: int, opener: Opener, tasks: Tasks) -> None:
        self._arguments = (folder, number, opener)
        self._tasks = tasks
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, *self._arguments), daemon=True)
        with _interrupts_blocked():
            self._process.start()
        theirs.close()
        self._has: list[int] = []
        self._give()

    def _give(self) -> None:
        for first in self._tasks.take(IN_FLIGHT - len(self._has)):
            self._has.append(first)
            with suppress(OSError):  # it died: the next reading of its connection says so
                self.connection.send(first)

    def receive(self) -> Receipt | None:
        """What it has finished; None where it died and another was started."""
        try:
            answer: Any = self.connection.recv()
        except (EOFError, OSError):
            self._process.join()
            self._tasks.lost(self._has, f"with exit code {self._process.exitcode}")
            self.stop()
            self._start()
            return None
        if isinstance(answer, BaseException):
            raise answer
        receipt: Receipt = answer
        self._has.remove(receipt.shard.first_row)
        self._give()
        return receipt

    def stop(self) -> None:
        """End the process, whatever it is doing: what it has handed in stays."""
        self._process.terminate()
        self._process.join()
        self.connection.close()


def _work(connection: Connection, folder: Path, number: int, opener: Opener) -> None:
    """What a worker's process does: a receipt, or an error, for each first row that it is sent."""
    sending = threading.Lock()

    def answer(first: int) -> None:
        try:
            found: object = worker(first)
        except BaseException as error:
            found = _sendable(error)  # raised again by who gave the task
        with sending:
            connection.send(found)

    try:
        worker = ShardWorker.open(folder, number, opener)
    except Exception as error:
        connection.send(_sendable(error))
        return
    pool = ThreadPoolExecutor(IN_FLIGHT)
    while True:
        try:
            pool.submit(answer, connection.recv())
        except (EOFError, OSError):
            os._exit(1)  # the starting process is gone, and a shard in the model would be waited for


def _sendable(error: BaseException) -> BaseException:
    """The error, or what it says where it cannot be sent: its shard would be waited for without end."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever its own code raises
        return StoreError(f"expected a shard of a worker, found: {error!r}")
    return error
