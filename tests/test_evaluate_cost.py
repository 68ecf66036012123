"""What an entry costs: timings by a clock that the test sets, bytes by the store's files, prices by what is known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from corpora import records, write
from fake_encoder import FakeEncoder
from numpy.typing import NDArray
from serving import make_store

from embedsearch.ann import AnnKind
from embedsearch.ann.choice import plan_for
from embedsearch.build import BuildOptions, build_index
from embedsearch.encoders import ModelSpec, Role
from embedsearch.encoders.services import SERVICE_MODELS, TOKENS_A_MINUTE
from embedsearch.evaluate import cost as cost_module
from embedsearch.evaluate.cost import Rate, bytes_a_paper, cost_of, measure_latency, measure_speed
from embedsearch.evaluate.entries import Entry, Papers
from embedsearch.store.manifest import read_manifest
from embedsearch.store.space import Space

QUERIES = ["star plasma", "gas", "dust wave"]


class Clock:
    """Stands still, but for what is said to have taken time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(cost_module, "clock", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


class Slow(FakeEncoder):
    """Takes `each` seconds a text, a second more for its first call, and the n-th round `more[n]` times as long."""

    def __init__(self, clock: Clock, each: float = 0.01, more: Sequence[float] = (1, 1, 1, 1, 1)) -> None:
        super().__init__()
        self.clock, self.each, self.more = clock, each, [1.0] * 3 + list(more)
        self.sizes: list[int] = []

    def encode(self, texts: Sequence[str], *, role: Role) -> NDArray[np.float32]:
        assert role is Role.DOCUMENT
        self.clock.now += len(texts) * self.each * self.more[len(self.sizes)] + (0 if self.sizes else 1.0)
        self.sizes.append(len(texts))
        return super().encode(texts, role=role)


def test_speed_is_the_median_of_rounds_over_the_same_papers(clock: Clock) -> None:
    encoder = Slow(clock)
    rate = measure_speed(encoder, ["star dust"] * 1000, seconds=8)
    assert rate.value == pytest.approx(100)
    assert encoder.sizes[:3] == [1, 1, 8]  # loads the weights; tell how many are worth a round
    assert encoder.sizes[3:] == [encoder.sizes[3]] * 5
    assert rate.n == 5
    assert clock.now - 100 == pytest.approx(1 + 0.1 + 8, abs=0.1)


def test_a_round_that_was_disturbed_does_not_decide(clock: Clock) -> None:
    rate = measure_speed(Slow(clock, more=(1, 9, 1, 1, 1)), ["star"] * 1000, seconds=20)
    assert rate.value == pytest.approx(100)
    assert rate.low <= rate.value <= rate.high


def test_a_slow_model_is_timed_on_single_papers(clock: Clock) -> None:
    encoder = Slow(clock, each=30.0)
    assert measure_speed(encoder, ["star"] * 1000, seconds=8).value == pytest.approx(1 / 30)
    assert encoder.sizes == [1] * 6


def test_a_small_corpus_is_embedded_whole(clock: Clock) -> None:
    encoder = Slow(clock)
    assert measure_speed(encoder, ["star"] * 20, seconds=8).n == 5
    assert encoder.sizes[3:] == [20] * 5


def test_latency_is_the_median_of_queries_asked_one_by_one(clock: Clock) -> None:
    asked: list[str] = []

    def answer(query: str) -> None:
        asked.append(query)
        clock.now += 5.0 if len(asked) <= 2 else {"star plasma": 0.002, "gas": 0.004, "dust wave": 0.05}[query]

    rate = measure_latency(answer, QUERIES)
    assert rate.value == pytest.approx(4)
    assert (rate.low, rate.high) == pytest.approx((2, 38.5))
    assert rate.n == 10
    assert asked == [*QUERIES[:2], *QUERIES, *QUERIES, *QUERIES, QUERIES[0]]


def test_latency_stops_after_its_time_but_not_below_ten_queries(clock: Clock) -> None:
    def answer(query: str) -> None:
        clock.now += 1.0

    assert measure_latency(answer, [f"query {i}" for i in range(200)], seconds=3).n == 10
    assert measure_latency(answer, [f"query {i}" for i in range(200)], seconds=50).n == 50


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("store"))


def entry_of(index: Path, **more: Any) -> tuple[Entry, Papers]:
    entry = Entry.open(index, **more)
    return entry, Papers.common([entry])[0]


def test_the_cost_of_a_store(index: Path) -> None:
    found = cost_of(*entry_of(index, encoder=FakeEncoder(), name="fake"), QUERIES, seconds=0.05)
    assert (found.entry, found.n_papers, found.dim, found.mode) == ("fake", 60, 8, "hybrid")
    assert found.papers_a_second is not None
    assert found.ms_a_query is not None
    assert found.papers_a_second.n >= 3
    assert found.ms_a_query.n >= 10
    folder = {kind: sum(f.stat().st_size for f in files) / 60 for kind, files in {
        "papers": index.glob("papers-*.sqlite"), "keywords": index.glob("keywords-*/*"),
        "vectors": index.glob("vectors/*.npy"), "ann": index.glob("ann-*"),
    }.items()}  # fmt: skip
    assert found.bytes_a_paper == pytest.approx(folder)
    n_words = sum(len(record["abstract"].split()) for record in records(60))
    assert found.tokens_a_paper == pytest.approx(n_words / 60)
    assert not found.is_service
    assert found.usd_a_million_tokens is None
    assert json.loads(json.dumps(found.as_dict()))["bytes_a_paper"] == found.bytes_a_paper


def test_what_more_papers_would_take(index: Path) -> None:
    found = cost_of(*entry_of(index, encoder=FakeEncoder()), QUERIES, seconds=0.05)
    rate = Rate(value=50.0, low=50.0, high=50.0, n=5)
    aim = replace(found, papers_a_second=rate).at(3_000_000)
    assert aim.hours == pytest.approx(3_000_000 / 50 / 3600)
    assert aim.usd is None
    kept = sum(size for kind, size in found.bytes_a_paper.items() if kind != "ann")
    assert aim.n_bytes == pytest.approx(kept * 3e6 + plan_for(AnnKind.IVF, 3_000_000, 8).n_bytes(3_000_000, 8))
    few = found.at(1000)
    assert few.n_bytes == pytest.approx(kept * 1000 + 4 * 8 * 1000)  # a flat index, as build-index makes


def test_a_store_without_a_model_is_timed_by_words(index: Path, tmp_path: Path) -> None:
    corpus = write(tmp_path / "papers.jsonl", records(20))
    given = Space.open(index)
    np.savez(tmp_path / "v.npz", ids=np.array(given.ids), vectors=given.vectors, allow_pickle=False)
    build_index(corpus, tmp_path / "i", vectors=tmp_path / "v.npz", options=BuildOptions(ann=AnnKind.EXACT))
    manifest = read_manifest(tmp_path / "i").serving
    assert not manifest.has_encoder
    found = cost_of(*entry_of(tmp_path / "i"), QUERIES, seconds=0.05)
    assert found.papers_a_second is None
    assert found.mode == "keyword"
    assert found.ms_a_query is not None
    assert "ann" not in bytes_a_paper(manifest)
    assert found.at(100).hours is None


def test_a_service_is_sent_nothing_and_its_price_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    index = make_store(tmp_path)
    entry, papers = entry_of(index, encoder=FakeEncoder())
    model = entry.view.generation.model | {"name": "ada-002"}
    entry.view.generation = msgspec.structs.replace(entry.view.generation, model=model)
    encoder = entry.encoder.of(entry.view.generation)
    assert isinstance(encoder, FakeEncoder)
    before = encoder.n_calls
    found = cost_of(entry, papers, QUERIES)
    assert encoder.n_calls == before
    assert found.is_service
    assert found.papers_a_second is found.ms_a_query is None
    price = SERVICE_MODELS["text-embedding-ada-002"].price
    assert found.usd_a_million_tokens == pytest.approx(price)
    assert found.tokens_a_paper is not None
    aim = found.at(3_000_000)
    assert aim.usd == pytest.approx(price * found.tokens_a_paper * 3)
    assert aim.hours == pytest.approx(found.tokens_a_paper * 3e6 / TOKENS_A_MINUTE / 60)


def test_a_service_that_would_embed_the_queries_alone_is_sent_nothing(index: Path, tmp_path: Path) -> None:
    """The vectors are of a file, and --query-model says who embeds queries."""
    given = Space.open(index)
    np.savez(tmp_path / "v.npz", ids=np.array(given.ids), vectors=given.vectors, allow_pickle=False)
    build_index(write(tmp_path / "papers.jsonl", records(20)), tmp_path / "i", vectors=tmp_path / "v.npz")
    asked = ModelSpec(name="openai:model", base_url="http://127.0.0.1:9/v1")  # nobody answers there
    found = cost_of(*entry_of(tmp_path / "i", model=asked), QUERIES)
    assert found.mode == "hybrid"
    assert found.papers_a_second is found.ms_a_query is None
