"""Several workers that listen on one port: started, watched, started again when one ends, and stopped."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from types import FrameType

from uvicorn.config import STARTUP_FAILURE, Config
from uvicorn.supervisors.multiprocess import Process

from embedsearch.errors import ServerError
from embedsearch.server import metrics
from embedsearch.server.listening import of_worker, share

log = logging.getLogger("embedsearch")

TICK = 0.1
HUNG_SECONDS = 120.0
"""A worker that gives no sign of life for so long is ended. It gives none while it loads a model, which takes seconds,
or minutes from a slow disk."""
STEADY_SECONDS = 30.0
"""A worker that ends before it has lived so long is started again after a pause that doubles each time."""
LONGEST_PAUSE = 60.0
LATE_SECONDS = 5.0
"""Workers that have not ended so long after they should have are killed."""


class WorkerProcess(Process):
    """A worker that does not outlive its parent, however that ends."""

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        """What runs in the worker."""
        threading.Thread(target=_end_with_parent, daemon=True).start()
        super().target(sockets)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


class Worker:
    """The place of one worker, which one process after another may hold."""

    def __init__(self, config: Config, held: socket.socket) -> None:
        self._config = config
        self._held = held
        self._n_short_lives = 0
        self._again_at = 0.0
        self.was_ready = False
        """Whether the process that holds the place now has served."""
        self.start()

    def start(self) -> None:
        """Start a process."""
        with of_worker(self._held) as its_own:
            self.process = WorkerProcess(self._config, [its_own])
            self.process.start()
        self._born = self._heard = time.monotonic()
        self._is_asked = self._is_ended = self.was_ready = False

    @property
    def is_alive(self) -> bool:
        """Whether its process runs."""
        return self.process.process.is_alive()

    def ask(self) -> None:
        """Hear what the process says of itself, without waiting for it; end it if it has been silent for too long."""
        now = time.monotonic()
        pipe = self.process.parent_conn
        try:
            while pipe.poll(0):
                self.was_ready |= bool(pipe.recv())
                self._heard, self._is_asked = now, False
            if not self._is_asked:
                pipe.send(b"ping")
                self._is_asked = True
        except (OSError, EOFError):
            pass  # it ends just now
        if now - self._heard > HUNG_SECONDS:
            log.error("worker %s gave no sign of life for %.0f s: it is ended", self.process.pid, HUNG_SECONDS)
            self.process.process.kill()

    def again(self) -> None:
        """Start a process in place of one that has ended, when it is time to."""
        now = time.monotonic()
        if not self._is_ended:
            self._is_ended = True
            self.bury()
            self._n_short_lives = self._n_short_lives + 1 if now - self._born < STEADY_SECONDS else 0
            pause = min(2.0 ** (self._n_short_lives - 1), LONGEST_PAUSE) if self._n_short_lives > 1 else 0.0
            self._again_at = now + pause
            how = "at once" if not pause else f"in {pause:.0f} s"
            log.error("worker %s ended (%s): another one starts %s", self.process.pid, self.exit, how)
        if now >= self._again_at:
            self.start()

    @property
    def exit(self) -> str:
        """How its process ended."""
        code = self.process.exitcode or 0
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"

    @property
    def failed_to_start(self) -> bool:
        """Whether its process ended by itself without having served."""
        return not self.was_ready and self.process.exitcode in (1, STARTUP_FAILURE)

    def bury(self) -> None:
        """Release what a process that has ended still holds."""
        self.process.kill()
        self.process.join()
        if self.process.pid is not None:
            metrics.worker_died(self.process.pid)


class Supervisor:
    """Runs `config.workers` workers until it is told to stop, by SIGTERM, SIGINT or SIGHUP."""

    def __init__(self, config: Config, listening: socket.socket, *, drain_seconds: float) -> None:
        self._config = config
        self._held = share(listening)
        self._drain_seconds = drain_seconds
        self._is_stopping = False
        self._n_interrupts = 0

    def run(self, *, when_ready: Callable[[], None]) -> None:
        """Return when all workers have ended as they were told to. `when_ready` is called when the first one serves.

        Raises ServerError where none could start, KeyboardInterrupt where it was interrupted twice.
        """
        before = {sig: signal.signal(sig, self._told) for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
        workers = [Worker(self._config, self._held) for _ in range(self._config.workers)]
        try:
            has_served = False
            while not self._is_stopping:
                time.sleep(TICK)
                self._watch(workers, has_served=has_served)
                if not has_served and any(worker.was_ready for worker in workers):
                    has_served = True
                    when_ready()
        finally:
            self._stop(workers)
            for sig, handler in before.items():
                signal.signal(sig, handler)
        if self._n_interrupts > 1:
            raise KeyboardInterrupt

    def _told(self, sig: int, frame: FrameType | None) -> None:
        self._is_stopping = True
        self._n_interrupts += sig == signal.SIGINT

    def _watch(self, workers: Sequence[Worker], *, has_served: bool) -> None:
        for worker in workers:
            if worker.is_alive:
                worker.ask()
            elif self._is_stopping:
                return
            elif worker.failed_to_start and not has_served:
                raise ServerError(f"expected workers to start, found that one ended ({worker.exit}), as said above")
            else:
                worker.again()

    def _stop(self, workers: Sequence[Worker]) -> None:
        self._held.close()  # or connections would go on being taken, which nobody answers, where workers share it
        for worker in workers:
            if worker.is_alive:
                worker.process.process.terminate()
        deadline = time.monotonic() + self._drain_seconds + LATE_SECONDS
        while any(worker.is_alive for worker in workers):
            if self._n_interrupts > 1 or time.monotonic() > deadline:
                break
            time.sleep(TICK / 2)
        for worker in workers:
            worker.bury()
