"""What is built for how many vectors, how it is set and measured, and what is said where it misses."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

import click
import corpora
import msgspec
import numpy as np
import pytest
from fake_encoder import FakeEncoder
from running import run
from test_ann import built, clustered
from test_vectors import shards

from embedsearch.ann import AnnKind, faiss_index, measuring
from embedsearch.ann.choice import Plan, plan_for
from embedsearch.ann.measuring import Nearest, Probes, rows_as_probes
from embedsearch.build import BuildOptions, build_index
from embedsearch.cli.build_index import ByteSize
from embedsearch.encoders import ModelSpec
from embedsearch.errors import OptionError
from embedsearch.render.stores import info_table
from embedsearch.scores import Float32, Mask, Rows
from embedsearch.search import Searcher
from embedsearch.stages import probing
from embedsearch.store.generation import Generation
from embedsearch.store.info import store_info
from embedsearch.store.manifest import MANIFEST_NAME, read_manifest
from embedsearch.store.space import Space
from embedsearch.store.vectors import ShardedVectors

IVF = AnnKind.IVF
SENTENCE = "A sentence of its own on dust and plasma, and on nothing else at all."


@pytest.fixture(autouse=True)
def few_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "ROWS_AS_QUERIES", 128)


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> ShardedVectors:
    folder = tmp_path_factory.mktemp("choice")
    made = shards(folder, clustered(2000, 48)[np.random.default_rng(1).permutation(2000)], size=300, dtype="float16")
    return ShardedVectors(folder, made, dim=48, transform=None)


@pytest.mark.parametrize(
    ("n", "dim", "memory", "n_lists", "bits"),
    [
        (1, 384, None, 1, 1),
        (300_000, 384, None, 2048, 1),
        (3_000_000, 384, None, 4096, 1),
        (300_000, 4096, None, 2048, 1),
        (300_000, 32, None, 2048, 8),
        (300_000, 96, None, 2048, 3),
        (300_000, 96, 18_000_000, 2048, 2),
        (300_000, 96, 1, 2048, 1),
    ],
)
def test_what_suits(n: int, dim: int, memory: int | None, n_lists: int, bits: int) -> None:
    assert plan_for(IVF, n, dim, memory=memory) == Plan(kind=IVF, n_lists=n_lists, bits=bits)


@pytest.mark.parametrize("plan", [Plan(kind=AnnKind.FLAT), *(Plan(kind=IVF, n_lists=16, bits=b) for b in (1, 2, 8))])
def test_the_size_is_known_before(plan: Plan, vectors: ShardedVectors, tmp_path: Path) -> None:
    faiss_index.build(tmp_path / "ann", plan, vectors, recall=0.1)
    overhead = (tmp_path / "ann").stat().st_size - plan.n_bytes(2000, 48)
    assert 0 < overhead < 1500


def test_the_exact_ten_leave_out_a_row_itself(vectors: ShardedVectors) -> None:
    everything = vectors.rows(np.arange(2000))
    own = np.array([5, 700, 1999])
    for probes in (Probes(vectors=everything[own], own=own, source="rows"), Probes(vectors=everything[own], source="")):
        nearest = Nearest(probes)
        for first, block in vectors.blocks():
            nearest.add(first, block)
        for i, found in enumerate(nearest.rows()):
            scores = everything @ everything[own[i]]
            scores[own[i]] = scores[own[i]] if probes.own is None else -1
            assert len(found) == 10
            assert (own[i] in found) == (probes.own is None)
            np.testing.assert_allclose(np.sort(scores[found]), np.sort(scores)[-10:], atol=1e-6)


class Half:
    """Finds the five nearest of a query, and the query."""

    exact = False

    def __init__(self, truth: list[Rows], own: Rows) -> None:
        self._answers = [np.append(rows[:5], me) for rows, me in zip(truth, own, strict=True)]

    def candidates(self, queries: Float32, k: int, *, allowed: Mask | None = None) -> list[Rows]:
        return self._answers[: len(queries)]


def test_recall_and_its_error_are_what_was_found(vectors: ShardedVectors) -> None:
    probes = rows_as_probes(vectors, 20)
    assert probes.own is not None
    nearest = Nearest(probes)
    for first, block in vectors.blocks():
        nearest.add(first, block)
    truth = nearest.rows()
    recall, measured = measuring.measure(Half(truth, probes.own), vectors, probes, truth, target=0.9)
    assert (recall, measured.recall_error) == (0.5, 0.0)
    assert (measured.n_queries, measured.queries, measured.target) == (20, "rows", 0.9)
    assert measured.latency_ms > 0
    truth[0] = np.arange(10)[~np.isin(np.arange(10), truth[0])][:5]  # of which none is found
    recall, measured = measuring.measure(Half(nearest.rows(), probes.own), vectors, probes, truth, target=0.9)
    assert (round(recall, 9), round(measured.recall_error, 9)) == (0.475, 0.025)


def test_the_setting_reaches_the_target_in_queries_that_did_not_choose_it(
    vectors: ShardedVectors, tmp_path: Path
) -> None:
    plan = Plan(kind=IVF, n_lists=32, bits=2)
    low, low_index = built(tmp_path / "low", plan, vectors, recall=0.6)
    high, high_index = built(tmp_path / "high", plan, vectors, recall=0.98)
    assert 0.6 <= low.recall < high.recall
    assert high.recall >= 0.98
    assert (low.missed, high.missed) == ("", "")
    work = [made.parameters["n_probe"] * made.parameters["rescored"] for made in (low, high)]
    assert work[0] < work[1]
    for made, index in ((low, low_index), (high, high_index)):
        assert (index.n_probe, index.rescored) == (made.parameters["n_probe"], made.parameters["rescored"])
        assert made.measured.queries == "rows"
        assert made.measured.n_queries == 64


def test_larger_codes_are_taken_as_far_as_memory_goes(
    vectors: ShardedVectors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "RESCORED", (10, 20))
    plan = Plan(kind=IVF, n_lists=8, bits=1)
    made = faiss_index.build(tmp_path / "a", plan, vectors, recall=0.97)
    assert (made.plan.bits > 1, made.missed) == (True, "")
    assert made.recall >= 0.97
    room = Plan(kind=IVF, n_lists=8, bits=2).n_bytes(2000, 48)
    made = faiss_index.build(tmp_path / "a", plan, vectors, recall=0.97, memory=room)
    assert made.plan.bits == 2
    assert made.recall < 0.97
    assert made.missed == "codes of 3 bits, --memory 0.0936M, or --ann flat, 0.384 MB"


def test_a_target_that_only_an_exact_index_reaches(
    vectors: ShardedVectors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "PROBED", (1,))
    made = faiss_index.build(tmp_path / "a", Plan(kind=IVF, n_lists=8, bits=8), vectors, recall=1.0)
    assert made.recall < 1.0
    assert made.missed == "--ann flat, 0.384 MB"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = corpora.records(120)
    for record in made:
        record["abstract"] = f"{record['abstract'][:20]} star. {SENTENCE}"
    return corpora.write(tmp_path_factory.mktemp("corpus") / "papers.jsonl", made)


def build(corpus: Path | None, index: Path, **options: Any) -> Generation:
    build_index(corpus, index, encoder=FakeEncoder(), options=BuildOptions(**{"shard_rows": 64} | options))
    return read_manifest(index).serving


@pytest.fixture(scope="module")
def index(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "i"
    build(corpus, path, ann="ivf", recall=0.9)
    return path


def test_a_store_is_measured_with_titles_and_sentences(index: Path) -> None:
    generation = read_manifest(index).serving
    assert generation.ann is not None
    assert generation.ann.measured is not None
    assert generation.ann.measured.queries == "titles and sentences"
    assert generation.ann.measured.n_queries == 15  # the other half of 15 titles and 15 sentences
    assert generation.ann.measured.target == generation.ann_recall == 0.9
    table = "".join(str(cell) for column in info_table(store_info(index)).columns for cell in column.cells)
    assert f"recall@10 {generation.ann.recall:.3f} ± " in table
    assert " ms a query (in 15 titles and sentences), n_lists " in table


def test_the_queries_are_what_people_would_type(index: Path) -> None:
    class Remembering(FakeEncoder):
        def encode(self, texts: Any, *, role: Any) -> Any:
            self.seen = list(texts), role
            return super().encode(texts, role=role)

    encoder = Remembering()
    probes = probing.probes_of(index, read_manifest(index).serving, encoder)
    texts, role = encoder.seen
    assert role.value == "query"
    assert len(set(texts[:15])) == 15
    assert all(text.startswith("Paper ") for text in texts[:15])
    assert set(texts[15:]) == {SENTENCE}
    assert probes is not None
    assert probes.own is None
    assert (probes.vectors == FakeEncoder().encode(texts, role=role)).all()


def test_a_text_that_cannot_be_embedded_does_not_stop_a_build(index: Path) -> None:
    class Failing(FakeEncoder):
        def encode(self, texts: Any, *, role: Any) -> Any:
            return super().encode([*texts, "NAN"], role=role)

    assert probing.probes_of(index, read_manifest(index).serving, Failing()) is None


def test_vectors_that_came_without_an_encoder_are_measured_with_rows(corpus: Path, index: Path, tmp_path: Path) -> None:
    build_index(corpus, tmp_path / "i", vectors=Space.open(index), options=BuildOptions(ann=IVF, shard_rows=64))
    ann = read_manifest(tmp_path / "i").serving.ann
    assert ann is not None
    assert ann.measured is not None
    assert (ann.measured.queries, ann.measured.n_queries) == ("rows", 60)


def test_a_store_of_before_opens_and_searches_as_it_did(corpus: Path, index: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    build(corpus, old, ann="ivf", recall=0.9)
    document = msgspec.json.decode((old / MANIFEST_NAME).read_bytes())
    serving = document["serving"]
    del serving["ann_memory"], serving["ann_recall"], serving["ann"]["measured"]
    serving["ann"]["parameters"] = {"n_lists": serving["ann"]["parameters"]["n_lists"], "n_probe": 16, "rescored": 100}
    blank = msgspec.json.format(msgspec.json.encode(document | {"checksum": ""}), indent=1)
    document["checksum"] = hashlib.sha256(blank).hexdigest()
    (old / MANIFEST_NAME).write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=1))
    before = (old / MANIFEST_NAME).read_bytes()
    found = [
        [hit.id for hit in Searcher.open(path, encoder=FakeEncoder()).search("star dust wave", k=3, mode="dense").hits]
        for path in (old, index)
    ]
    assert found[0] == found[1]
    assert store_info(old).ann is not None
    assert "± " not in "".join(str(cell) for column in info_table(store_info(old)).columns for cell in column.cells)
    build(corpus, old)
    assert (old / MANIFEST_NAME).read_bytes() == before  # complete, and nothing else is asked of it


def test_what_is_asked_of_an_index_is_kept_and_can_be_changed(corpus: Path, tmp_path: Path) -> None:
    path = tmp_path / "i"
    first = build(corpus, path)
    assert (first.ann_kind, first.ann_memory, first.ann_recall) == ("flat", None, None)
    assert build(corpus, path, ann="auto") == first
    small = build(corpus, path, memory=3000)  # flat takes 3,840 bytes
    assert (small.ann_kind, small.ann_memory, small.shards) == ("ivf", 3000, first.shards)
    sure = build(None, path, recall=0.5)
    assert (sure.ann_kind, sure.ann_memory, sure.ann_recall) == ("ivf", 3000, 0.5)
    assert build(None, path) == sure
    assert build(None, path, ann="flat").ann_kind == "flat"
    assert build(None, path, memory=10_000, ann="auto").ann_kind == "flat"


def test_what_is_missed_is_said(
    corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "RESCORED", (1,))
    monkeypatch.setattr(measuring, "PROBED", (1,))
    with caplog.at_level(logging.WARNING, logger="embedsearch"):
        generation = build(corpus, tmp_path / "i", ann="ivf", memory=1000, recall=1.0)
    assert generation.complete
    missed, large = (record.getMessage() for record in caplog.records)
    assert missed.startswith("the index finds 0.")
    assert missed.endswith("MB")
    assert "of the exact ten, expected 1; that would take codes of 2 bits, --memory 0." in missed
    assert large.startswith("the index takes ")
    assert large.endswith(" MB, expected 0.001 at most")


@pytest.mark.parametrize("options", [{"recall": 0.0}, {"recall": 1.5}, {"memory": 0}, {"ann": "tree"}])
def test_options_that_mean_nothing(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="expected"):
        BuildOptions(**options)


@pytest.mark.parametrize(("text", "n_bytes"), [("250M", 250_000_000), ("4G", 4 * 10**9), ("1.5kB", 1500), ("9", 9)])
def test_a_size_as_people_write_it(text: str, n_bytes: int) -> None:
    assert ByteSize().convert(text, None, None) == n_bytes


@pytest.mark.parametrize("text", ["0", "much", "-4G", "4X"])
def test_a_size_that_is_none(text: str) -> None:
    with pytest.raises(click.BadParameter, match=f"expected a size such as 250M or 4G, found '{text}'"):
        ByteSize().convert(text, None, None)


def test_the_options_reach_the_build(corpus: Path, tmp_path: Path) -> None:
    asked = ("--ann", "auto", "--memory", "3kB", "--recall", "0.5")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("embedsearch.build.open_encoder", lambda *args, **options: Named())
        done = run("build-index", str(corpus), "--index", "i", *asked, cwd=tmp_path)
    assert done.returncode == 0
    generation = read_manifest(tmp_path / "i").serving
    assert (generation.ann_kind, generation.ann_memory, generation.ann_recall) == ("ivf", 3000, 0.5)


class Named(FakeEncoder):
    """As `open_encoder` gives one."""

    spec = ModelSpec(name="fake")
