"""Building on a Ray cluster of several nodes, some of which die."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import corpora
import pytest
from fake_encoder import FakeEncoder

from embedsearch.build import BuildOptions, build_index
from embedsearch.encoders import Compute
from embedsearch.errors import BadVector, OptionError, StoreError
from embedsearch.stages import ray_engine
from embedsearch.stages.options import Stage, Step
from embedsearch.stages.ray_engine import RayCluster
from embedsearch.store.generation import Shard
from embedsearch.store.manifest import read_manifest
from embedsearch.verify import verify_store

OPTIONS = BuildOptions(shard_rows=16)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head that runs no actor, and two nodes that do."""
    patch = pytest.MonkeyPatch()
    patch.setenv("PYTHONPATH", str(Path(__file__).parent))
    patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        cluster.add_node(num_cpus=4)
    cluster.wait_for_nodes()
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    yield cluster
    ray.shutdown()
    cluster.shutdown()
    patch.undo()


class Slow(FakeEncoder):
    """Takes its time, so that there is a middle to die in; kills its process at the first shard if nobody did."""

    def __init__(self, flag: Path | None) -> None:
        super().__init__()
        self._flag = flag

    def encode_prepared(self, prepared: Any, *, progress: Any = None) -> Any:
        if self._flag is not None and not self._flag.exists():
            self._flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.2)
        return super().encode_prepared(prepared, progress=progress)


def open_slow(flag: Path | None, compute: Compute) -> FakeEncoder:
    return Slow(flag)


def engine(flag: Path | None = None, **more: Any) -> RayCluster:
    return RayCluster(num_actors=2, cpus_per_actor=2, open_on=partial(open_slow, flag), **more)


def built(corpus: Path, index: Path, **more: Any) -> list[Shard]:
    """The shards of a store that is whole."""
    build_index(corpus, index, encoder=FakeEncoder(), options=OPTIONS, **more)
    assert list(verify_store(index)) == []
    assert not list(index.glob("drop-*"))
    return read_manifest(index).serving.shards


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return corpora.write(tmp_path / "papers.jsonl", corpora.records(160))


def test_room_is_counted_by_node() -> None:
    nodes: list[dict[str, float]] = [{"CPU": 4, "GPU": 1}, {"CPU": 3, "memory": 9}, {}]
    assert RayCluster(cpus_per_actor=2).room(nodes) == 3  # of 7 cores: none goes on two nodes
    assert RayCluster(cpus_per_actor=0.1).room(nodes) == 70
    assert RayCluster(cpus_per_actor=1, gpus_per_actor=0.25).room(nodes) == 4
    assert RayCluster(cpus_per_actor=5).room(nodes) == 0
    assert RayCluster(cpus_per_actor=2).n_actors(lambda: nodes, n_shards=2) == 2
    assert RayCluster(num_actors=9).n_actors(lambda: nodes, n_shards=100) == 9


def test_an_address_where_nobody_listens_is_told_of() -> None:
    for address in ("127.0.0.1:1", "127.0.0.1:99999"):
        with pytest.raises(StoreError, match=f"expected a Ray cluster at {address}, found: "):
            ray_engine.connect(None, address)


def test_a_cluster_without_room_is_told_of(
    cluster: Any, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embedsearch.stages.ray_engine.NODES_WITHIN", 0)
    with pytest.raises(
        OptionError, match="an actor of 1 cores and 2 GPUs, found 3 with at most 4 cores and 0 GPUs; ask for less"
    ):
        built(corpus, tmp_path / "i", engine=RayCluster(gpus_per_actor=2))


class Hopeful(RayCluster):
    """Starts an actor wherever that may find a place."""

    def n_actors(self, look: Any, *, n_shards: int) -> int:
        return 1


def test_a_place_that_never_comes_is_not_waited_for(
    cluster: Any, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("embedsearch.stages.ray_engine.SAY_EVERY", 0.1)
    monkeypatch.setattr("embedsearch.stages.ray_engine.MOST_LOOKS", 2)
    with pytest.raises(StoreError, match="expected a node with room for an actor, found none for"):
        built(corpus, tmp_path / "i", engine=Hopeful(gpus_per_actor=2))
    assert caplog.messages == ["Waiting for Ray: 0 shards are given out, 1 actors wait for a place."] * 2


class Foreign:
    """Something that another process cannot import, as a package that its node lacks."""

    def __reduce__(self) -> Any:
        return import_in_another, (os.getpid(),)

    def __call__(self, compute: Compute) -> FakeEncoder:
        return FakeEncoder()


def import_in_another(pid: int) -> Foreign:
    if pid != os.getpid():
        raise ModuleNotFoundError("No module named 'missing'")
    return Foreign()


def test_actors_that_cannot_start_end_in_an_error(
    cluster: Any, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embedsearch.stages.ray_engine.MOST_TRIES", 2)
    with pytest.raises(
        StoreError, match=r"actor to start on the cluster, found that 2 died, .*No module named 'missing'"
    ):
        built(corpus, tmp_path / "i", engine=RayCluster(num_actors=1, open_on=Foreign()))


def test_an_actor_that_is_killed_is_replaced(cluster: Any, corpus: Path, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    drop = tmp_path / "drop"
    shards = built(corpus, tmp_path / "i", engine=engine(flag, drop=str(drop)))
    assert flag.exists()
    assert drop.exists()  # where the shards were handed in
    assert not any(drop.iterdir())
    assert shards == built(corpus, tmp_path / "whole")


def test_a_node_that_is_killed_takes_no_shard_along(cluster: Any, corpus: Path, tmp_path: Path) -> None:
    node = cluster.add_node(num_cpus=4)
    killed: list[int] = []

    def kill(step: Step) -> None:
        if step.stage is Stage.EMBED and not killed:
            killed.append(step.done)
            cluster.remove_node(node, allow_graceful=False)

    shards = built(
        corpus, tmp_path / "i", progress=kill, engine=RayCluster(cpus_per_actor=4, open_on=partial(open_slow, None))
    )
    assert killed
    assert killed[0] < 160
    assert shards == built(corpus, tmp_path / "whole")


def test_an_error_of_an_actor_is_the_error_of_the_build(cluster: Any, tmp_path: Path) -> None:
    made = corpora.records(50)
    made[20]["abstract"] = "NAN"
    corpus = corpora.write(tmp_path / "bad.jsonl", made)
    with pytest.raises(BadVector, match=rf"paper {made[20]['id']}: expected finite .*\(on node "):
        built(corpus, tmp_path / "i", engine=engine())


def test_a_real_model_gives_the_bytes_of_a_build_here(cluster: Any, tmp_path: Path) -> None:
    options = BuildOptions(shard_rows=10, limit=20)
    for name, more in (("i", {"engine": RayCluster(num_actors=1)}), ("whole", {})):
        build_index(None, tmp_path / name, model="minilm", options=options, **more)
    files = [[shard.file for shard in read_manifest(tmp_path / name).serving.shards] for name in ("i", "whole")]
    assert len(files[0]) == 2
    assert files[0] == files[1]  # the record of what made them differs: Ray gives an actor one thread a core
