"""Each kind of index against the exact scan."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from test_vectors import shards

from embedsearch.ann import (
    AnnIndex,
    AnnKind,
    ExactScan,
    choice,
    choose_kind,
    faiss_index,
    faiss_package,
    measuring,
    protocol,
)
from embedsearch.ann.kinds import FlatIndex, IvfIndex
from embedsearch.errors import MissingExtra, StoreCorrupt
from embedsearch.scores import Float32, Mask, cosines, unit_rows
from embedsearch.store.generation import Ann, FileEntry
from embedsearch.store.vectors import ShardedVectors


def clustered(n: int, d: int = 32) -> Float32:
    """As real abstracts are: in clumps, with some that are told apart by nothing."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(40, d))[random.integers(40, size=n)] + 0.7 * random.normal(size=(n, d))
    rows[1::20] = rows[::20][: len(rows[1::20])]
    return unit_rows(rows)


@pytest.fixture(scope="module", autouse=True)
def few_queries() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measuring, "ROWS_AS_QUERIES", 200)
        yield


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> ShardedVectors:
    folder = tmp_path_factory.mktemp("ann")
    return ShardedVectors(folder, shards(folder, clustered(3000), size=500, dtype="float16"), dim=32, transform=None)


def opened(kind: AnnKind, vectors: ShardedVectors, path: Path) -> AnnIndex:
    if kind is AnnKind.EXACT:
        return ExactScan(vectors)
    return built(path, choice.plan_for(kind, vectors.n_rows, vectors.dim), vectors)[1]


def built(
    path: Path, plan: choice.Plan, vectors: ShardedVectors, **asked: Any
) -> tuple[faiss_index.Built, FlatIndex | IvfIndex]:
    """Build, and open by what a manifest notes."""
    made = faiss_index.build(path, plan, vectors, **asked)
    note = Ann(plan.kind.value, made.parameters, made.recall, FileEntry("", 0, ""), made.measured)
    return made, faiss_index.load(path, note)


@pytest.fixture(scope="module", params=["exact", "flat", "ivf", "ivf with a graph"])
def index(
    request: pytest.FixtureRequest, vectors: ShardedVectors, tmp_path_factory: pytest.TempPathFactory
) -> AnnIndex:
    name, _, graph = request.param.partition(" with ")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choice, "GRAPH_FROM", 2 if graph else 4096)
        return opened(AnnKind(name), vectors, tmp_path_factory.mktemp("index") / "ann")


@pytest.mark.parametrize("k", [1, 10, 2999, 3000, 5000])
@pytest.mark.parametrize("n_allowed", [None, 0, 1, 5, 900, 3000])
def test_candidates_hold_the_best_k_and_their_ties(
    index: AnnIndex, vectors: ShardedVectors, k: int, n_allowed: int | None
) -> None:
    everything = vectors.rows(np.arange(3000))
    allowed = None
    if n_allowed is not None:
        allowed = np.zeros(3000, bool)
        allowed[np.random.default_rng(n_allowed).permutation(3000)[:n_allowed]] = True
    usable = np.arange(3000) if allowed is None else np.flatnonzero(allowed)
    queries = everything[[0, 1, 700, 2500]]
    answers = index.candidates(queries, k, allowed=allowed)
    assert len(answers) == 4
    for query, rows in zip(queries, answers, strict=True):
        assert len(np.unique(rows)) == len(rows) >= min(k, len(usable))
        assert np.isin(rows, usable).all()
        scores = cosines(query, everything[usable])
        if index.exact and len(usable):
            kth = np.sort(scores)[-min(k, len(usable))]
            assert np.isin(usable[scores >= kth], rows).all()


def test_ivf_finds_most_and_says_how_many(vectors: ShardedVectors, tmp_path: Path) -> None:
    made, index = built(tmp_path / "ivf", choice.plan_for(AnnKind.IVF, 3000, 32), vectors)
    assert made.parameters["n_lists"] > 1
    assert 0.9 < made.recall <= 1.0
    everything = vectors.rows(np.arange(3000))
    queries = everything[1000:1100]
    found = index.candidates(queries, 10)
    truth = np.argsort(-(queries @ everything.T), axis=1)[:, :10]
    assert np.mean([np.isin(best, rows).mean() for best, rows in zip(truth, found, strict=True)]) > 0.9


def test_flat_is_the_same_bytes_each_time(vectors: ShardedVectors, tmp_path: Path) -> None:
    for name in "ab":
        made = faiss_index.build(tmp_path / name, choice.Plan(kind=AnnKind.FLAT), vectors)
        assert (made.parameters, made.recall, made.missed) == ({}, 1.0, "")
        assert (made.measured.n_queries, made.measured.queries) == (32, "rows")
        assert made.measured.latency_ms > 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("n", [1, 2, 50])
@pytest.mark.parametrize("kind", list(AnnKind))
def test_few_papers(kind: AnnKind, n: int, tmp_path: Path) -> None:
    few = ShardedVectors(tmp_path, shards(tmp_path, clustered(n)), dim=32, transform=None)
    (rows,) = opened(kind, few, tmp_path / "ann").candidates(few.rows(np.array([0])), 10)
    assert len(rows) >= min(10, n)


@pytest.mark.parametrize("data", [b"", b"IxFI" + b"\0" * 40, b"bad " * 50])
def test_what_is_no_index(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "ann").write_bytes(data)
    with pytest.raises(StoreCorrupt, match="expected a FAISS index in"):
        faiss_index.load(tmp_path / "ann", Ann("flat", {}, 1.0, FileEntry("", 0, "")))


def test_the_kind_is_chosen_by_size(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_kind(1) is choose_kind(protocol.FLAT_UP_TO) is AnnKind.FLAT
    assert choose_kind(protocol.FLAT_UP_TO + 1) is AnnKind.IVF
    assert choose_kind(1000, dim=384, memory=1_536_000) is AnnKind.FLAT
    assert choose_kind(1000, dim=385, memory=1_536_000) is choose_kind(1000, memory=1_536_000) is AnnKind.IVF
    monkeypatch.setattr(protocol, "faiss_package", lambda: None)
    assert choose_kind(10) is AnnKind.EXACT


def test_two_faiss_packages_are_an_error_that_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {"faiss-cpu": "1.15.1", "faiss-gpu": "1.15.1"}

    def version(name: str) -> str:
        if name not in installed:
            raise PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(protocol, "version", version)
    with pytest.raises(MissingExtra, match=r"found faiss-cpu 1.15.1 and faiss-gpu 1.15.1, which overwrite each other"):
        faiss_package()
    del installed["faiss-cpu"]
    assert faiss_package() == "faiss-gpu 1.15.1"


@pytest.mark.parametrize("n_queries", [1, 3])
def test_a_search_leaves_the_callers_threads_as_they_were(n_queries: int) -> None:
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(2)
    try:
        index = faiss.IndexFlatIP(4)
        index.add(np.eye(4, dtype=np.float32))
        FlatIndex(index).candidates(np.eye(4, dtype=np.float32)[:n_queries], 2)
        assert faiss.omp_get_max_threads() == 2
    finally:
        faiss.omp_set_num_threads(before)


def test_a_filter_does_not_cost_recall(vectors: ShardedVectors, tmp_path: Path) -> None:
    """The best of a few allowed rows lie in farther lists than the best of all."""
    _, index = built(tmp_path / "ann", choice.Plan(kind=AnnKind.IVF, n_lists=64, bits=8), vectors)
    assert isinstance(index, IvfIndex)
    index.set(n_probe=3, rescored=20)
    random = np.random.default_rng(6)
    queries = unit_rows(random.normal(size=(60, 32)) + 3 * vectors.rows(np.arange(60)))
    scores = queries @ vectors.rows(np.arange(3000)).T

    def recall(allowed: Mask) -> float:
        exact = np.argsort(-np.where(allowed, scores, -2), axis=1)[:, :10]
        found = index.candidates(queries, 10, allowed=allowed)
        return float(np.mean([np.isin(true, its).mean() for true, its in zip(exact, found, strict=True)]))

    everything = recall(np.ones(3000, bool))
    assert everything > 0.8
    for share in (0.3, 0.1):
        assert recall(random.random(3000) < share) > everything - 0.05
