"""An index built on a GPU, which FAISS for the CPU plays here, and what is said where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from fake_encoder import FakeEncoder
from running import run
from test_ann import built, clustered
from test_vectors import shards

from embedsearch.ann import AnnKind, choice, gpu, measuring
from embedsearch.ann.choice import Plan
from embedsearch.ann.gpu import Gpu, gpu_named
from embedsearch.build import BuildOptions, build_index
from embedsearch.errors import EmbedsearchError, MissingExtra, OptionError
from embedsearch.store.vectors import ShardedVectors


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """(device, vectors held) of each index that was put on one of two GPUs."""
    found: list[tuple[int, int]] = []

    def index_cpu_to_gpu(resources: Any, number: int, index: Any) -> Any:
        assert type(resources) is Resources
        found.append((number, index.ntotal))
        return index

    monkeypatch.setattr(faiss, "StandardGpuResources", Resources, raising=False)
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 2)
    monkeypatch.setattr(faiss, "index_cpu_to_gpu", index_cpu_to_gpu, raising=False)
    return found


class Resources:
    """Stands for memory on a GPU."""


@pytest.mark.parametrize("bits", [1, 8])
@pytest.mark.parametrize("graph_from", [2, 4096])
def test_the_index_is_the_same(
    bits: int, graph_from: int, used: list[tuple[int, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "GRAPH_FROM", graph_from)
    monkeypatch.setattr(measuring, "ROWS_AS_QUERIES", 64)
    rows = clustered(2000)
    vectors = ShardedVectors(tmp_path, shards(tmp_path, rows, size=300, dtype="float16"), dim=32, transform=None)
    plan = Plan(kind=AnnKind.IVF, n_lists=24, bits=bits)
    _, here = built(tmp_path / "cpu", plan, vectors, recall=0.5)
    assert used == []
    _, there = built(tmp_path / "gpu", plan, vectors, recall=0.5, gpu=Gpu("cuda:1"))
    assert used == [(1, 0), (1, 24)]  # for k-means, then with the centres
    for index in (here, there):
        index.set(n_probe=6, rescored=20)
    found = [index.candidates(rows[:50], 10) for index in (here, there)]
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_which_gpu(used: list[tuple[int, int]]) -> None:
    assert gpu_named("cpu") is None
    for name in ("cuda", "cuda:0", "cuda:1"):
        gpu_named(name).holding(faiss.IndexFlatIP(4))  # type: ignore[union-attr]
    assert used == [(0, 0), (0, 0), (1, 0)]
    with pytest.raises(
        OptionError, match=r"^no device 'cuda:2' to build an index on: expected one of cpu, cuda:0, cud"
    ):
        gpu_named("cuda:2")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:-1", "cuda:0,cuda:1", "", "mps"])
def test_what_is_no_device(name: str) -> None:
    with pytest.raises(OptionError, match=f"^expected a device cpu, cuda or cuda:N for the index, found '{name}'$"):
        BuildOptions(ann_device=name)


@pytest.mark.parametrize(
    ("package", "found"), [("faiss-cpu 1.15.1", "faiss-cpu 1.15.1"), ("faiss", "faiss"), (None, "no FAISS")]
)
def test_without_faiss_gpu_nothing_is_embedded(
    package: str | None, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(faiss, "StandardGpuResources", raising=False)
    monkeypatch.setattr(gpu, "faiss_package", lambda: package)
    encoder = FakeEncoder()
    with pytest.raises(MissingExtra) as error:
        build_index(None, tmp_path / "i", encoder=encoder, options=BuildOptions(ann_device="cuda"))
    assert str(error.value) == (
        f"expected faiss-gpu to build an index on cuda, found {found}: pip uninstall faiss-cpu, then pip install"
        " 'embedsearch[gpu]'"
    )
    assert encoder.n_calls == 0
    assert not (tmp_path / "i").exists()


def test_a_device_that_is_not_there_stops_before_embedding(used: list[tuple[int, int]], tmp_path: Path) -> None:
    encoder = FakeEncoder()
    with pytest.raises(EmbedsearchError, match="no device 'cuda:5'"):
        build_index(None, tmp_path / "i", encoder=encoder, options=BuildOptions(ann_device="cuda:5"))
    assert (encoder.n_calls, used) == (0, [])


def test_a_store_is_built_with_it(used: list[tuple[int, int]], tmp_path: Path) -> None:
    options = BuildOptions(ann=AnnKind.IVF, ann_device="cuda:1", recall=0.5)
    build_index(None, tmp_path / "i", encoder=FakeEncoder(), options=options)
    assert used == [(1, 0), (1, 3)]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tpu", "expected a device cpu, cuda or cuda:N for the index, found 'tpu'"),
        ("cuda", "expected faiss-gpu to build an index on cuda, found "),
    ],
)
def test_the_command_says_so_in_one_line(name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(faiss, "StandardGpuResources", raising=False)
    done = run("build-index", "--index", "i", "--ann-device", name, cwd=tmp_path)
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if "invented papers" not in line]
    assert said in line
    assert not (tmp_path / "i").exists()
