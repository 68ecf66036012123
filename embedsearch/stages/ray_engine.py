"""A Ray cluster: an actor for each encoder, shards as their tasks, and nothing but receipts that come back.

Plain actors and not Ray Data: shards have names, hashes and a place to resume from already.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from embedsearch.encoders import Compute, Encoder
from embedsearch.errors import EmbedsearchError, MissingExtra, OptionError, StoreError
from embedsearch.stages.collect import Collector
from embedsearch.stages.local_engine import OpenOn, opener_of
from embedsearch.stages.options import Progress
from embedsearch.stages.receipts import Receipt
from embedsearch.stages.shard_work import IN_FLIGHT, Opener, ShardWorker
from embedsearch.stages.tasks import Tasks
from embedsearch.store.manifest import Generation
from embedsearch.store.writer import StoreWriter

SAY_EVERY = 60.0
"""Seconds without an answer after which it is said that the cluster is waited for."""

log = logging.getLogger("embedsearch")


@dataclass(frozen=True, slots=True, kw_only=True)
class RayCluster:
    """An Engine with actors on the cluster at `address`, or on one of this machine that ends with the build.

    `num_actors` None: as many as the cluster has room for. The store's folder must have the same path on all nodes,
    and embedsearch must be installed there. `open_on` replaces the opening of the store's model.
    """

    address: str | None = None
    num_actors: int | None = None
    cpus_per_actor: float = 1
    gpus_per_actor: float = 0
    compute: Compute = field(default_factory=Compute)
    open_on: OpenOn | None = None

    def __call__(
        self, writer: StoreWriter, generation: Generation, encoder: Encoder, *, progress: Progress
    ) -> Generation:
        """Raises what an actor raised, and StoreError where actors die at the same shard again and again."""
        collector = Collector(writer, generation, progress)
        collector.sweep()
        if not collector.missing:
            return collector.finish()
        ray = _ray()
        was_there = ray.is_initialized()
        if not was_there:
            _connect(ray, self.address)
        opener = partial(self.open_on or opener_of(generation), self.compute)
        tasks = Tasks(collector.missing, shard_rows=generation.shard_rows)
        actors = _Actors(ray, self, (writer.folder.resolve(), generation.number, opener), tasks)
        try:
            while collector.missing:
                for receipt in actors.receive():
                    collector.take(receipt)
        finally:
            actors.stop()
            if not was_there:
                ray.shutdown()
        return collector.finish()

    def n_actors(self, has: dict[str, float], *, n_shards: int) -> int:
        """How many to start on a cluster that `has` these resources."""
        wanted = {"CPU": self.cpus_per_actor, "GPU": self.gpus_per_actor}
        room = [int(has.get(name, 0) / each) for name, each in wanted.items() if each]
        most = min(room, default=1)
        if most < 1:
            found = f"{has.get('CPU', 0):g} cores and {has.get('GPU', 0):g} GPUs"
            raise OptionError(f"expected a cluster with room for one actor, found {found} in all; ask for less of each")
        return min(self.num_actors or most, n_shards)


class _Worker:
    """What an actor runs. The encoder is opened at the first shard, so that its errors are those of a task."""

    def __init__(self, folder: Path, number: int, opener: Opener) -> None:
        self._arguments = (folder, number, opener)
        self._opening = threading.Lock()
        self._worker: ShardWorker | None = None

    def ready(self) -> None:
        """Returns when the actor has a place."""

    def work(self, first: int) -> bytes:
        """The receipt of a shard, as JSON."""
        with self._opening:
            self._worker = self._worker or ShardWorker.open(*self._arguments)
        return msgspec.json.encode(self._worker(first))


class _Actors:
    """The actors, and which shard each has. One that dies is replaced, and gets shards when it has a place."""

    def __init__(self, ray: Any, cluster: RayCluster, arguments: tuple[Path, int, Opener], tasks: Tasks) -> None:
        self._ray = ray
        self._tasks = tasks
        self._arguments = arguments
        self._kind = ray.remote(
            num_cpus=cluster.cpus_per_actor,
            num_gpus=cluster.gpus_per_actor,
            max_restarts=0,  # another takes its place here, where it is known which shards it had
            max_concurrency=IN_FLIGHT,
        )(_Worker)
        self._running: dict[Any, tuple[Any, int | None]] = {}
        """What is waited for: the actor, and the first row of its shard; None while the actor gets its place."""
        self._alive: list[Any] = []
        """Those that have a place, idle ones too."""
        for _ in range(cluster.n_actors(ray.cluster_resources(), n_shards=len(tasks))):
            self._start()

    def _start(self) -> None:
        actor = self._kind.remote(*self._arguments)
        self._running[actor.ready.remote()] = (actor, None)

    def _give(self) -> None:
        """To each that has a place as many as it may have: one that dies leaves shards to idle ones, too."""
        for actor in self._alive:
            has = sum(other is actor for other, _ in self._running.values())
            for first in self._tasks.take(IN_FLIGHT - has):
                self._running[actor.work.remote(first)] = (actor, first)

    def receive(self) -> list[Receipt]:
        """What one of them has finished, at most one receipt; waits for it."""
        done, _ = self._ray.wait(list(self._running), timeout=SAY_EVERY)
        if not done:
            log.warning("Waiting for the Ray cluster: %d actors, %d shards given out.", *self._state())
            return []
        actor, first = self._running.pop(done[0])
        try:
            answer = self._ray.get(done[0])
        except self._ray.exceptions.RayActorError as error:
            self._died(actor, first, error)
            return []
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, EmbedsearchError):
                raise error.cause from None
            raise StoreError(f"expected a shard of an actor, found: {error.cause!r}") from error
        if first is None:
            self._alive.append(actor)
        self._give()
        return [] if first is None else [msgspec.json.decode(answer, type=Receipt)]

    def _died(self, actor: Any, first: int | None, error: Exception) -> None:
        """All that it had is given to others, and one more actor is started."""
        gone = [ref for ref, (other, _) in self._running.items() if other is actor]
        had = [first, *(self._running.pop(ref)[1] for ref in gone)]
        how = type(error).__name__
        self._tasks.lost([each for each in had if each is not None], f"with {how}")
        log.warning("A worker of the cluster died (%s): another takes its place.", how)
        self._alive = [other for other in self._alive if other is not actor]
        self._start()
        self._give()

    def _state(self) -> tuple[int, int]:
        actors = {id(actor) for actor, _ in self._running.values()}
        return len(actors), sum(first is not None for _, first in self._running.values())

    def stop(self) -> None:
        """End them, whatever they are doing: what was handed in stays."""
        for actor in {
            id(actor): actor for actor in (*self._alive, *(each for each, _ in self._running.values()))
        }.values():
            self._ray.kill(actor)


def _connect(ray: Any, address: str | None) -> None:
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            include_dashboard=False if address is None else None,
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise StoreError(f"expected a Ray cluster at {address or 'this machine'}, found: {reason}") from error


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise MissingExtra("--engine ray needs Ray: pip install 'embedsearch[ray]'") from None
    return ray
