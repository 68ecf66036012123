"""Builds on a Ray cluster whose workers and nodes are killed at random, compared with one that nobody disturbed.

    python -m benchmarks.ray_kills [--kills 20] [--seed 1]

A head and three nodes on this machine, the tests' encoder made slow. Builds follow one another until there were enough
kills: a worker by SIGKILL, or a node with all that runs on it, after which another node joins. Exits with 1 if a store
is not, shard by shard, the undisturbed one, or if `verify` finds anything. Then the memory of the process that commits,
for 20 and for 200 shards of a megabyte.
"""

from __future__ import annotations

import argparse
import logging
import os
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import corpora
from fake_encoder import FakeEncoder

from embedsearch.build import BuildOptions, build_index
from embedsearch.encoders import Compute, Encoded
from embedsearch.stages.options import Stage, Step
from embedsearch.stages.ray_engine import RayCluster
from embedsearch.store.generation import Shard
from embedsearch.store.manifest import read_manifest
from embedsearch.verify import verify_store

TESTS = Path(__file__).parents[1] / "tests"
N_NODES = 3
N_ACTORS = 4
SHARDS = 300
ROWS = 8
SECONDS_A_SHARD = 0.4
PAUSE = (1.0, 3.0)
"""Seconds between two kills."""
WIDE_DIM = 2048
WIDE_ROWS = 256
"""Of a shard of one megabyte in float16."""


class Slow(FakeEncoder):
    """Leaves its process id, and a line for each shard that it begins."""

    def __init__(self, notes: Path) -> None:
        super().__init__()
        self._notes = notes
        (notes / str(os.getpid())).touch()

    def encode_prepared(self, prepared: Any, *, progress: Any = None) -> Encoded:
        with (self._notes / str(os.getpid())).open("a") as file:
            file.write("shard\n")
        time.sleep(SECONDS_A_SHARD)
        return super().encode_prepared(prepared, progress=progress)


class Wide(FakeEncoder):
    """The tests' vectors, repeated to a length at which a shard that is kept would show."""

    @property
    def dim(self) -> int:
        return WIDE_DIM

    def encode_prepared(self, prepared: Any, *, progress: Any = None) -> Encoded:
        found = FakeEncoder().encode_prepared(prepared, progress=progress)
        n = WIDE_DIM // found.vectors.shape[1]
        wide = np.tile(found.vectors, n) / np.float32(np.sqrt(n))
        return Encoded(vectors=wide, n_tokens=found.n_tokens, truncated=found.truncated)


def open_slow(notes: Path, compute: Compute) -> FakeEncoder:
    return Slow(notes)


def open_wide(compute: Compute) -> FakeEncoder:
    return Wide()


@contextmanager
def a_cluster() -> Iterator[Any]:
    """A head that runs no actor, and nodes that do."""
    os.environ["PYTHONPATH"] = f"{TESTS}:{TESTS.parent}"
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(N_NODES):
        cluster.add_node(num_cpus=2)
    cluster.wait_for_nodes()
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    yield cluster
    ray.shutdown()
    cluster.shutdown()


class Killer:
    """A build's progress: kills now and then. In the main thread, where alone Ray lets a node be added."""

    def __init__(self, cluster: Any, notes: Path, random: Random, *, left: int) -> None:
        self._cluster, self._notes, self._random, self._left = cluster, notes, random, left
        self._due = 0.0
        self.killed = Counter[str]()

    def __call__(self, step: Step) -> None:
        """Kill if it is time."""
        if step.stage is not Stage.EMBED or not step.n_papers or not self._left or time.monotonic() < self._due:
            return
        kind = self._random.choice(["worker", "node"])
        if self._kill_node() if kind == "node" else self._kill_worker():
            self.killed[kind] += 1
            self._left -= 1
        self._due = time.monotonic() + self._random.uniform(*PAUSE)

    def _kill_worker(self) -> bool:
        pids = sorted(int(path.name) for path in self._notes.iterdir())
        self._random.shuffle(pids)
        for pid in pids:
            with suppress(OSError):
                # A process id may be another's by now.
                if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::"):
                    os.kill(pid, signal.SIGKILL)
                    return True
        return False

    def _kill_node(self) -> bool:
        nodes = sorted(self._cluster.worker_nodes, key=lambda node: str(node.node_ip_address) + str(node.unique_id))
        self._cluster.remove_node(self._random.choice(nodes), allow_graceful=False)
        self._cluster.add_node(num_cpus=2)
        return True


def build(folder: Path, corpus: Path, **more: Any) -> list[Shard]:
    """The shards of a store that is whole."""
    options = BuildOptions(shard_rows=ROWS)
    build_index(corpus, folder, encoder=FakeEncoder(), options=options, **more)
    return read_manifest(folder).serving.shards


def prove(cluster: Any, folder: Path, *, kills: int, seed: int) -> bool:
    """Print a table of the builds; whether all came to the store of the undisturbed one."""
    corpus = corpora.write(folder / "papers.jsonl", corpora.records(SHARDS * ROWS))
    expected = build(folder / "undisturbed", corpus)
    random, is_right, n_killed, n = Random(seed), True, 0, 0
    print("| build | workers killed | nodes killed | shards | begun | seconds | store |")
    print("|---|---|---|---|---|---|---|", flush=True)
    while n_killed < kills:
        n, start = n + 1, time.monotonic()
        notes, store = folder / f"notes-{n}", folder / str(n)
        notes.mkdir()
        killer = Killer(cluster, notes, random, left=kills - n_killed)
        engine = RayCluster(num_actors=N_ACTORS, open_on=partial(open_slow, notes))
        shards = build(store, corpus, engine=engine, progress=killer)
        same = shards == expected and not [*verify_store(store), *store.glob("drop-*")]
        begun = sum(path.read_text().count("shard") for path in notes.iterdir())
        told = (n, killer.killed["worker"], killer.killed["node"], len(shards), begun)
        seconds = round(time.monotonic() - start)
        print("|", *(f"{each} |" for each in (*told, seconds, "the same" if same else "ANOTHER")), flush=True)
        is_right, n_killed = is_right and same, n_killed + killer.killed.total()
    return is_right


def memory(folder: Path, n_shards: int) -> str:
    """What the committing process holds while shards come in, in megabytes."""
    seen: list[int] = []

    def look(step: Step) -> None:
        if step.stage is Stage.EMBED:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            seen.append(pages * resource.getpagesize())

    corpus = corpora.write(folder / f"{n_shards}.jsonl", corpora.records(n_shards * WIDE_ROWS))
    build_index(
        corpus,
        folder / f"wide-{n_shards}",
        encoder=Wide(),
        options=BuildOptions(shard_rows=WIDE_ROWS, ann="exact"),  # type: ignore[arg-type]
        engine=RayCluster(num_actors=2, open_on=open_wide),
        progress=look,
    )
    return f"{n_shards} shards of 1 MB: {seen[0] / 1e6:,.0f} MB before the first, at most {max(seen) / 1e6:,.0f} MB"


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    logging.getLogger("embedsearch").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="embedsearch-") as name, a_cluster() as cluster:
        is_right = prove(cluster, Path(name), kills=asked.kills, seed=asked.seed)
        for n_shards in (20, 200):
            print(memory(Path(name), n_shards), flush=True)
    sys.exit(0 if is_right else 1)


if __name__ == "__main__":
    main()
