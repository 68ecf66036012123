"""The engine's answers are the Searcher's; it admits, bounds and drains."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from fake_encoder import FakeEncoder
from gated_encoder import GatedEncoder
from serving import make_store

from embedsearch.build import BuildOptions, build_index
from embedsearch.encoders import Encoder, Role
from embedsearch.errors import ModelNotFound, OptionError, Overloaded, PaperNotFound, QueryError, TookTooLong
from embedsearch.records import SearchResult
from embedsearch.search import Mode, Searcher
from embedsearch.server import metrics
from embedsearch.server.engine import TEXTS_AT_ONCE, Engine
from embedsearch.server.logs import log_config
from embedsearch.server.options import Limits, ServeOptions
from embedsearch.store.filters import Filters
from embedsearch.store.space import Space

QUERIES = [
    "star",
    "plasma dust",
    "gas galaxy",
    "2001.10000",
    "filler",
    "Paper 7 on nothing",
    "wave wave",
    "dust",
    "gas",
]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("engine"))


@asynccontextmanager
async def started(index: Path, encoder: Encoder | None = None, **limits: float) -> AsyncIterator[Engine]:
    options = ServeOptions(index=index, limits=Limits(**limits))
    engine = Engine(options, encoder=encoder or FakeEncoder())
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


async def until_passes(encoder: GatedEncoder, n: int) -> None:
    async with asyncio.timeout(20):
        while len(encoder.passes) < n:
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("mode", list(Mode))
async def test_results_are_those_of_the_searcher(index, mode):
    assert len(QUERIES) > TEXTS_AT_ONCE
    searcher = Searcher.open(index, encoder=FakeEncoder())
    filters = Filters(categories=("astro-ph.GA", "gr-qc"))
    async with started(index) as engine:
        for asked in ({}, {"filters": filters, "k": 3, "n_counted": 20, "sort": "date"}):
            answer = await engine.search(QUERIES, mode=mode, **asked)
            assert answer.value == searcher.search(QUERIES, mode=mode, **asked)
            assert answer.generation == 1
            together = await asyncio.gather(*(engine.search([query], mode=mode, **asked) for query in QUERIES))
            assert [one.value[0] for one in together] == answer.value


async def test_similar_papers_vectors_and_papers_are_those_of_the_searcher(index):
    searcher = Searcher.open(index, encoder=FakeEncoder())
    vector = Space.open(index).vectors[4]
    async with started(index) as engine:
        assert (await engine.similar_to("2003.10002", k=4)).value == searcher.similar_to("2003.10002", k=4)
        assert (await engine.search_vector(vector, k=4)).value == searcher.search_vector(vector, k=4)
        assert (await engine.paper("arXiv:2003.10002v2")).value == searcher.stored("2003.10002")
        assert (await engine.info()).value.n_papers == 60
        with pytest.raises(PaperNotFound):
            await engine.paper("2999.00001")


async def test_words_alone_ask_no_encoder(index):
    encoder = GatedEncoder()
    async with started(index, encoder) as engine:
        n_passes = len(encoder.passes)
        await engine.search(["star"], mode="keyword")
        await engine.search(["2001.10000"])
        assert len(encoder.passes) == n_passes


@pytest.mark.parametrize("transform", [None, "center"])
async def test_embeddings_are_in_the_stores_space(tmp_path, index, transform):
    if transform:
        corpus = index.parent / "papers-0.jsonl"
        index = tmp_path / "index"
        build_index(corpus, index, encoder=FakeEncoder(), options=BuildOptions(transform=transform))
    texts = ["star gas", "galaxy", "star dust wave"]
    expected = Searcher.open(index, encoder=FakeEncoder()).embed(texts, role=Role.DOCUMENT)
    async with started(index) as engine:
        found = (await engine.embed(texts, role=Role.DOCUMENT)).value
        assert np.array_equal(found.vectors, expected.vectors)
        assert found.n_tokens.tolist() == [2, 1, 3]
        assert not found.truncated.any()
        by_vector = (await engine.search_vector(found.vectors[0], k=3)).value.hits
        by_text = (await engine.search(["star gas"], k=3, mode="dense")).value[0].hits
        assert [(hit.id, hit.score) for hit in by_vector] == [(hit.id, hit.score) for hit in by_text]


async def test_what_cannot_be_asked_is_refused_as_the_searcher_does(index):
    async with started(index) as engine:
        with pytest.raises(QueryError, match=r"found an empty query, the 10\. of 10"):
            await engine.search([*QUERIES, " "])
        with pytest.raises(OptionError, match="expected a mode of hybrid, dense, keyword"):
            await engine.search(["star"], mode="best")
        with pytest.raises(OptionError, match="expected k of at least 1"):
            await engine.search(["star"], k=0)


async def test_a_store_whose_model_nobody_knows_is_searched_by_words(tmp_path, index):
    np.savez(tmp_path / "space.npz", ids=np.array(Space.open(index).ids), vectors=Space.open(index).vectors)
    build_index(index, tmp_path / "index", vectors=tmp_path / "space.npz")
    engine = Engine(ServeOptions(index=tmp_path / "index"))
    await engine.start()
    assert (await engine.search(["star"])).value[0].mode == "keyword"
    for asked in (engine.search(["star"], mode="dense"), engine.embed(["star"], role=Role.QUERY)):
        with pytest.raises(ModelNotFound, match="expected a model to embed the query with"):
            await asked
    await engine.stop()


async def test_more_than_the_queue_holds_are_turned_away(index):
    encoder = GatedEncoder()
    async with started(index, encoder, queue=3) as engine:
        encoder.shut()
        tasks = [asyncio.create_task(engine.search([str(i)])) for i in range(3)]
        await asyncio.sleep(0.01)
        with pytest.raises(Overloaded, match="expected at most 3 requests at once") as caught:
            await engine.search(["star"])
        assert caught.value.retry_after == 1
        assert b"embedsearch_waiting 3.0" in metrics.exposition()[0]
        encoder.open()
        assert all(isinstance(answer.value[0], SearchResult) for answer in await asyncio.gather(*tasks))
        assert (await engine.search(["star"])).value  # there is room again
        assert b"embedsearch_waiting 0.0" in metrics.exposition()[0]


async def test_past_the_time_limit_a_request_fails_and_what_waits_is_dropped(index):
    encoder = GatedEncoder()
    async with started(index, encoder, seconds=0.2, queue=2) as engine:
        encoder.shut()
        running = asyncio.create_task(engine.search(["running"]))
        await until_passes(encoder, 2)  # the first was to warm up
        for asked in (running, engine.search(["waiting"])):
            with pytest.raises(TookTooLong, match=r"expected an answer within 0\.2 s"):
                await asked
        later = asyncio.create_task(engine.search(["later"]))
        await asyncio.sleep(0)
        encoder.open()
        await later
        assert [texts for texts in encoder.passes if "waiting" in texts] == []
        assert encoder.passes[1] == ["running"]


async def test_a_timeout_of_the_encoder_is_no_time_limit(index):
    class Slow(FakeEncoder):
        def encode_prepared(self, prepared, *, progress=None):
            if "later" in prepared.content:
                raise TimeoutError("the service sleeps")
            return super().encode_prepared(prepared, progress=progress)

    async with started(index, Slow()) as engine:
        with pytest.raises(TimeoutError, match="the service sleeps"):
            await engine.search(["later"])


async def test_stop_takes_no_more_and_tells_those_who_wait(index):
    encoder = GatedEncoder()
    async with started(index, encoder) as engine:
        assert engine.ready
        encoder.shut()
        running = asyncio.create_task(engine.search(["star"]))
        await until_passes(encoder, 2)
        waiting = asyncio.create_task(engine.search(["gas"]))
        await asyncio.sleep(0)
        stopping = asyncio.create_task(engine.stop())
        await asyncio.sleep(0)
        assert not engine.ready
        with pytest.raises(Overloaded, match="found that it stops"):
            await engine.search(["dust"])
        encoder.open()  # a pass cannot be stopped
        await stopping
        for asked in (running, waiting):
            with pytest.raises(Overloaded, match="found that it stops"):
                await asked
        assert encoder.passes[1:] == [["star"]]


async def test_a_client_cannot_fill_the_log_with_what_it_asks(index, caplog):
    async with started(index) as engine:
        for mode in Mode:
            answer = await engine.search(["\x01" * 50 + "star gas", "x" * 20_000, "2412.99999"], mode=mode)
            assert [len(result.query) for result in answer.value] == [8, 10_000, 10]
    assert caplog.records
    shown = log_config("text", level=logging.INFO)["loggers"]
    assert all(record.levelno < shown[record.name]["level"] for record in caplog.records)
    assert log_config("text", level=logging.DEBUG)["loggers"]["embedsearch.queries"]["level"] == logging.DEBUG


async def test_nothing_is_answered_before_a_store_is_open(index):
    engine = Engine(ServeOptions(index=index), encoder=FakeEncoder())
    assert not engine.ready
    with pytest.raises(Overloaded, match="expected an open index"):
        await engine.search(["star"])
    await engine.stop()


def total(name: str) -> float:
    return metrics.REGISTRY.get_sample_value("embedsearch_stage_seconds_count", {"stage": name}) or 0.0


async def test_each_stage_of_a_query_is_noted(index):
    async with started(index) as engine:
        before = {name: total(name) for name in metrics.STAGES}
        await engine.search(["star wave"])
        assert {name: total(name) - before[name] for name in metrics.STAGES} == dict.fromkeys(metrics.STAGES, 1.0)


async def test_threads_take_shorter_turns_while_it_runs(index):
    before = sys.getswitchinterval()
    async with started(index):
        assert sys.getswitchinterval() < before
    assert sys.getswitchinterval() == before
