"""Building on a Ray cluster of several nodes, some of which die."""

from __future__ import annotations

import os
import signal
import time
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import corpora
import pytest
from fake_encoder import FakeEncoder

from embedsearch.build import BuildOptions, build_index
from embedsearch.encoders import Compute
from embedsearch.errors import BadVector
from embedsearch.stages.options import Stage, Step
from embedsearch.stages.ray_engine import RayCluster
from embedsearch.store.manifest import Shard, read_manifest
from embedsearch.verify import verify_store

pytestmark = [pytest.mark.filterwarnings("ignore")]  # Ray's own: open files, deprecations
OPTIONS = BuildOptions(shard_rows=16)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head that runs no actor, and two nodes that do."""
    patch = pytest.MonkeyPatch()
    patch.setenv("PYTHONPATH", str(Path(__file__).parent))
    patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
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
    return corpora.write(tmp_path / "papers.jsonl", corpora.records(250))


def test_an_actor_that_is_killed_is_replaced(cluster: Any, corpus: Path, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    shards = built(corpus, tmp_path / "i", engine=engine(flag))
    assert flag.exists()
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
    assert killed[0] < 250
    assert shards == built(corpus, tmp_path / "whole")


def test_an_error_of_an_actor_is_the_error_of_the_build(cluster: Any, tmp_path: Path) -> None:
    made = corpora.records(50)
    made[20]["abstract"] = "NAN"
    corpus = corpora.write(tmp_path / "bad.jsonl", made)
    with pytest.raises(BadVector, match=rf"paper {made[20]['id']}: expected finite"):
        built(corpus, tmp_path / "i", engine=engine())


def test_a_real_model_gives_the_bytes_of_a_build_here(cluster: Any, tmp_path: Path) -> None:
    for name, more in (("i", {"engine": RayCluster(num_actors=2)}), ("whole", {})):
        build_index(None, tmp_path / name, model="minilm", options=BuildOptions(shard_rows=60), **more)
    files = [[shard.file for shard in read_manifest(tmp_path / name).serving.shards] for name in ("i", "whole")]
    assert len(files[0]) == 2
    assert files[0] == files[1]  # the record of what made them differs: Ray gives an actor one thread a core
