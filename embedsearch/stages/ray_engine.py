"""A Ray cluster: an actor for each encoder, shards as their tasks, and nothing but receipts that come back.

Plain actors and not Ray Data: shards have names, hashes and a place to resume from already.
"""

from __future__ import annotations

import logging
import platform
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from embedsearch._version import __version__
from embedsearch.encoders import Compute, Encoder
from embedsearch.errors import EmbedsearchError, MissingExtra, OptionError, StoreError
from embedsearch.stages.collect import Collector
from embedsearch.stages.drops import absolute
from embedsearch.stages.embed import check_beforehand
from embedsearch.stages.local_engine import OpenOn, opener_of
from embedsearch.stages.options import Progress
from embedsearch.stages.receipts import Receipt
from embedsearch.stages.shard_work import IN_FLIGHT, Opener, ShardWorker
from embedsearch.stages.tasks import MOST_TRIES, Tasks
from embedsearch.store.generation import Generation
from embedsearch.store.writer import StoreWriter

SAY_EVERY = 60.0
"""Seconds without an answer after which it is said that the cluster is waited for."""
NODES_WITHIN = 30.0
"""Seconds that a cluster has for a node with room for an actor to join."""
MOST_LOOKS = 10
"""Times that is said while no node has room any more."""

log = logging.getLogger("embedsearch")


@dataclass(frozen=True, slots=True, kw_only=True)
class RayCluster:
    """An Engine with actors on the cluster at `address`, or on one of this machine that ends with the build.

    `num_actors` None: as many as the cluster has room for. The store's folder must have the same path on all nodes,
    and embedsearch must be installed there. Shards are handed in under `drop`, a folder or a URL that fsspec knows,
    else in the store's own folder, which is only read then. `open_on` replaces the opening of the store's model.

    An actor computes with as many threads as it has cores, which the record of what made its shards says.
    """

    address: str | None = None
    num_actors: int | None = None
    cpus_per_actor: float = 1
    gpus_per_actor: float = 0
    drop: str | None = None
    compute: Compute = field(default_factory=Compute)
    open_on: OpenOn | None = None

    def __call__(
        self, writer: StoreWriter, generation: Generation, encoder: Encoder, *, progress: Progress
    ) -> Generation:
        """Raises what an actor raised; OptionError where no node has room for one; StoreError where none can start, or
        actors die at the same shard again and again."""
        check_beforehand(writer.folder, generation, encoder)
        collector = Collector(writer, generation, encoder, progress, drop=self.drop)
        collector.sweep()
        if not collector.missing:
            return collector.finish()
        collector.begin()
        ray = ray_library()
        was_there = ray.is_initialized()
        if not was_there:
            connect(ray, self.address)
        opener = partial(self.open_on or opener_of(generation), self.compute)
        tasks = Tasks(collector.missing, shard_rows=generation.shard_rows)
        try:
            arguments = (writer.folder.resolve(), generation.number, opener, absolute(self.drop))
            actors = _Actors(ray, self, arguments, tasks)
            try:
                while collector.missing:
                    for receipt in actors.receive():
                        collector.take(receipt)
            finally:
                actors.stop()
        finally:
            if not was_there:
                ray.shutdown()
        return collector.finish()

    def room(self, nodes: Nodes) -> int:
        """How many actors find a place on `nodes`: what each has by name, as Ray counts it."""
        wanted = {"CPU": self.cpus_per_actor, "GPU": self.gpus_per_actor}
        places = ([node.get(name, 0) / each for name, each in wanted.items() if each] for node in nodes)
        return sum(int(min(place, default=1) + 1e-9) for place in places)

    def n_actors(self, look: Callable[[], Nodes], *, n_shards: int) -> int:
        """How many to start; looks for a node with room for a while. Raises OptionError where there is none."""
        deadline = time.monotonic() + NODES_WITHIN
        while not (room := self.room(nodes := look())):
            if time.monotonic() > deadline:
                raise OptionError(
                    f"expected a node with room for an actor of {self.cpus_per_actor:g} cores and"
                    f" {self.gpus_per_actor:g} GPUs, found {len(nodes)} with at most {_most(nodes, 'CPU'):g}"
                    f" cores and {_most(nodes, 'GPU'):g} GPUs; ask for less with --cpus-per-actor and --gpus-per-actor"
                )
            time.sleep(0.5)
        return min(self.num_actors or room, n_shards)


Nodes = Sequence[Mapping[str, float]]


def _most(nodes: Nodes, name: str) -> float:
    return max((node.get(name, 0) for node in nodes), default=0)


class _Worker:
    """What an actor runs. The encoder is opened at the first shard, so that its errors are those of a task."""

    def __init__(self, folder: Path, number: int, opener: Opener, drop: str | None) -> None:
        self._arguments = (folder, number, opener, drop)
        self._opening = threading.Lock()
        self._worker: ShardWorker | None = None

    def ready(self) -> None:
        """Returns when the actor has a place."""

    def work(self, first: int) -> bytes:
        """The receipt of a shard, as JSON."""
        try:
            with self._opening:
                self._worker = self._worker or ShardWorker.open(*self._arguments)
            return msgspec.json.encode(self._worker(first))
        except EmbedsearchError as error:
            error.args = (f"{error} (on node {platform.node()})",)  # which may lack what the others have
            raise


class _Actors:
    """The actors, and which shard each has. One that dies is replaced, and gets shards when it has a place."""

    def __init__(self, ray: Any, cluster: RayCluster, arguments: tuple[Any, ...], tasks: Tasks) -> None:
        self._ray = ray
        self._cluster = cluster
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
        self._n_unstarted = self._n_looks = 0
        for _ in range(cluster.n_actors(self._nodes, n_shards=len(tasks))):
            self._start()

    def _nodes(self) -> Nodes:
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]

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
            self._say_what_is_waited_for()
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
            self._n_unstarted = 0
        self._give()
        return [] if first is None else [msgspec.json.decode(answer, type=Receipt)]

    def _died(self, actor: Any, first: int | None, error: Exception) -> None:
        """All that it had is given to others, and one more actor is started; but not for ever where none can start."""
        gone = [ref for ref, (other, _) in self._running.items() if other is actor]
        had = [first, *(self._running.pop(ref)[1] for ref in gone)]
        how = f"{type(error).__name__}: {_last_line(error)}"
        self._tasks.lost([each for each in had if each is not None], f"with {how}")
        if all(other is not actor for other in self._alive):
            self._n_unstarted += 1
        self._alive = [other for other in self._alive if other is not actor]
        if self._n_unstarted < MOST_TRIES:
            log.warning("An actor died (%s): another takes its place.", how)
            self._start()
        elif self._running or self._alive:
            log.warning("An actor died at its start (%s), as %d before: none takes its place.", how, MOST_TRIES - 1)
        else:
            raise StoreError(
                f"expected an actor to start on the cluster, found that {self._n_unstarted} died, the last one with"
                f" {how}; is embedsearch {__version__} installed on every node?"
            )
        self._give()

    def _say_what_is_waited_for(self) -> None:
        """Raises StoreError where no node has had room for an actor for long, and so none will ever answer."""
        n_given = sum(first is not None for _, first in self._running.values())
        n_waiting = len(self._running) - n_given
        log.warning("Waiting for Ray: %d shards are given out, %d actors wait for a place.", n_given, n_waiting)
        self._n_looks = 0 if self._cluster.room(self._nodes()) else self._n_looks + 1
        if self._n_looks >= MOST_LOOKS:
            raise StoreError(
                f"expected a node with room for an actor, found none for {MOST_LOOKS * SAY_EVERY / 60:.0f} minutes;"
                " what was handed in is kept: run the same command when the cluster is back"
            )

    def stop(self) -> None:
        """End them, whatever they are doing: what was handed in stays."""
        for actor in {
            id(actor): actor for actor in (*self._alive, *(each for each, _ in self._running.values()))
        }.values():
            self._ray.kill(actor)


def _last_line(error: Exception) -> str:
    """Where Ray puts what went wrong, under the trace of another process."""
    return str(error).strip().splitlines()[-1].strip()[:300]


def connect(ray: Any, address: str | None, *, num_cpus: int | None = None) -> None:
    """Join the cluster at `address`, or start one of this machine, quietly. Raises StoreError where there is none.

    With `num_cpus` it is a new one of this machine, which says that it has so many.
    """
    if address is not None:
        _knock(address)
    try:
        ray.init(
            address="local" if num_cpus else address,  # None is also what RAY_ADDRESS names, or `ray start` left here
            num_cpus=num_cpus,
            log_to_driver=False,
            logging_level=logging.ERROR,
            include_dashboard=False if address is None else None,
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise StoreError(f"expected a Ray cluster at {address or 'this machine'}, found: {reason}") from error


def _knock(address: str) -> None:
    """Raise StoreError where nobody listens at HOST:PORT: Ray tries for minutes, and its own lines do not say it."""
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or "://" in address:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise StoreError(f"expected a Ray cluster at {address}, found: {error}") from error


def ray_library() -> Any:
    """Ray. Raises MissingExtra."""
    try:
        import ray
    except ImportError:
        raise MissingExtra("--engine ray needs Ray: pip install 'embedsearch[ray]'") from None
    return ray
