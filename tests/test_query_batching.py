"""Queries that wait share a pass of the encoder, and get what each would get alone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from fake_encoder import FakeEncoder
from gated_encoder import GatedEncoder

from embedsearch.encoders import Compute, Encoder, Role, open_encoder
from embedsearch.errors import BadVector, Overloaded
from embedsearch.scores import TOLERANCE, cosines
from embedsearch.server import batching
from embedsearch.server.batching import (
    CACHED_CHARS,
    DOCUMENT_CHARS,
    DOCUMENT_TEXTS,
    PASS_CHARS,
    QUERY_PASSES,
    QueryBatcher,
)
from embedsearch.server.options import Batching

WORDS = ["star", "galaxy star", "planet", "plasma dust", "wave", "gas gas star"]


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def batcher(encoder: Encoder, thread: ThreadPoolExecutor, **options: int) -> QueryBatcher:
    return QueryBatcher(encoder, thread=thread, options=Batching(**options))


async def begun(encoder: GatedEncoder, n: int) -> None:
    """Wait until the n-th pass has begun."""
    async with asyncio.timeout(20):
        while len(encoder.passes) < n:
            await asyncio.sleep(0.001)


async def behind_a_pass(encoder: GatedEncoder, made: QueryBatcher) -> asyncio.Task[object]:
    """A pass with the query "first" that runs until the gate is opened: what is asked for now has to wait."""
    encoder.shut()
    first = asyncio.create_task(made.queries(["first"]))
    await begun(encoder, len(encoder.passes) + 1)
    return first


async def waiting(*asked: object) -> list[asyncio.Task]:
    """Tasks that have asked, in this order."""
    tasks = [asyncio.ensure_future(one) for one in asked]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


async def test_a_lone_query_is_a_pass_of_its_own(thread):
    encoder = GatedEncoder()
    vectors, waited = await batcher(encoder, thread).queries(["star gas"])
    assert np.array_equal(vectors["star gas"], FakeEncoder().encode(["star gas"], role=Role.QUERY)[0])
    assert encoder.passes == [["star gas"]]
    assert waited.queue >= 0
    assert waited.encode > 0


async def test_what_waits_shares_a_pass_and_each_gets_its_own(thread):
    encoder = GatedEncoder()
    made = batcher(encoder, thread)
    first = await behind_a_pass(encoder, made)
    tasks = await waiting(*(made.queries([text]) for text in WORDS))
    encoder.open()
    results = await asyncio.gather(*tasks)
    await first
    assert encoder.passes == [["first"], WORDS]
    for text, (vectors, _) in zip(WORDS, results, strict=True):
        assert list(vectors) == [text]
        assert np.array_equal(vectors[text], FakeEncoder().encode([text], role=Role.QUERY)[0])


async def test_queries_that_come_together_need_no_pass_before_theirs(thread):
    encoder = GatedEncoder()
    made = batcher(encoder, thread)
    await asyncio.gather(*(made.queries([text]) for text in WORDS))
    assert encoder.passes == [WORDS]


async def test_a_text_is_embedded_once_for_all_and_remembered(thread):
    encoder = GatedEncoder()
    made = batcher(encoder, thread)
    first = await behind_a_pass(encoder, made)
    tasks = await waiting(*(made.queries(["star", "first"]) for _ in range(4)))
    encoder.open()
    for vectors, _ in await asyncio.gather(*tasks):
        assert set(vectors) == {"star", "first"}
    await first
    await made.queries(["star", "first", "star"])
    assert encoder.passes == [["first"], ["star"]]


async def test_the_least_recently_asked_is_forgotten(thread):
    encoder = GatedEncoder()
    made = batcher(encoder, thread, cached_queries=2)
    for text in ("a", "b", "a", "c", "a", "b"):
        await made.queries([text])
    assert encoder.passes == [["a"], ["b"], ["c"], ["b"]]


async def test_a_long_query_is_not_remembered(thread):
    encoder = GatedEncoder()
    made = batcher(encoder, thread)
    longest = "star ".ljust(CACHED_CHARS, "x")
    for text in (longest, longest, longest + "x", longest + "x"):
        await made.queries([text])
    assert encoder.passes == [[longest], [longest + "x"], [longest + "x"]]


async def test_without_a_cache_each_is_embedded_anew(thread):
    encoder = GatedEncoder()
    made = batcher(encoder, thread, cached_queries=0)
    for _ in range(2):
        await made.queries(["star"])
    assert encoder.passes == [["star"], ["star"]]


async def test_a_bad_text_fails_alone_and_says_where_it_stands(thread):
    encoder = GatedEncoder()
    made = batcher(encoder, thread)
    first = await behind_a_pass(encoder, made)
    bad, good, alone = await waiting(
        made.queries(["star", "gas", "NAN dust"]), made.queries(["wave"]), made.queries(["NAN"])
    )
    encoder.open()
    with pytest.raises(BadVector, match="found NaN at position 2") as caught:
        await bad
    assert caught.value.position == 2
    with pytest.raises(BadVector, match=r"found NaN$") as caught:
        await alone
    assert caught.value.position == 0
    assert np.array_equal((await good)[0]["wave"], FakeEncoder().encode(["wave"], role=Role.QUERY)[0])
    await first
    with pytest.raises(BadVector):  # a failure is not remembered as a vector
        await made.queries(["NAN"])


async def test_what_nobody_waits_for_any_more_is_dropped(thread):
    encoder = GatedEncoder()
    made = batcher(encoder, thread)
    first = await behind_a_pass(encoder, made)
    gone, _, shared = await waiting(made.queries(["dust", "gas"]), made.queries(["wave"]), made.queries(["gas"]))
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    encoder.open()
    assert "gas" in (await shared)[0]
    await first
    assert sorted(encoder.passes[1]) == ["gas", "wave"]
    await made.queries(["dust"])  # and can be asked for again
    assert encoder.passes[2] == ["dust"]


async def test_who_leaves_during_a_pass_spoils_it_for_nobody(thread):
    encoder = GatedEncoder()
    made = batcher(encoder, thread)
    first = await behind_a_pass(encoder, made)
    (other,) = await waiting(made.queries(["first"]))
    first.cancel()
    encoder.open()
    assert "first" in (await other)[0]
    assert encoder.passes == [["first"]]


async def test_a_failing_pass_fails_those_in_it_alone(thread):
    encoder = FakeEncoder(fail_at=0, failure=RuntimeError("no more"))
    made = batcher(encoder, thread)
    with pytest.raises(RuntimeError, match="no more"):
        await made.queries(["star"])
    encoder.n_texts = 1
    assert "star" in (await made.queries(["star"]))[0]


async def test_a_pass_is_bounded_in_texts_and_in_characters(thread):
    encoder = GatedEncoder()
    made = batcher(encoder, thread, max_texts=3)
    first = await behind_a_pass(encoder, made)
    long = [f"star {i} ".ljust(PASS_CHARS // 2, "x") for i in range(3)]
    tasks = await waiting(made.queries([str(i) for i in range(7)]), made.queries(long))
    encoder.open()
    await asyncio.gather(first, *tasks)
    assert [len(texts) for texts in encoder.passes] == [1, 3, 3, 2, 2]


async def test_one_text_a_pass_turns_batching_off(thread):
    encoder = GatedEncoder()
    made = batcher(encoder, thread, max_texts=1)
    await asyncio.gather(made.queries(WORDS), made.documents(WORDS, role=Role.DOCUMENT))
    assert [len(texts) for texts in encoder.passes] == [1] * 12


async def test_texts_to_embed_come_a_few_at_a_time_and_after_the_queries(thread):
    encoder = GatedEncoder()
    made = batcher(encoder, thread)
    first = await behind_a_pass(encoder, made)
    short = [f"gas {i}" for i in range(DOCUMENT_TEXTS + 2)]
    long = ["wave ".ljust(DOCUMENT_CHARS), "dust"]
    documents, query = await waiting(made.documents([*short, *long], role=Role.DOCUMENT), made.queries(["star"]))
    encoder.open()
    encoded, _ = await documents
    await asyncio.gather(first, query)
    assert encoder.passes == [["first"], ["star"], short[:DOCUMENT_TEXTS], short[DOCUMENT_TEXTS:], long[:1], long[1:]]
    alone = FakeEncoder().encode_counted([*short, *long], role=Role.DOCUMENT)
    assert np.array_equal(encoded.vectors, alone.vectors)
    assert np.array_equal(encoded.n_tokens, alone.n_tokens)
    assert np.array_equal(encoded.truncated, alone.truncated)
    assert encoded.vectors.dtype == np.float32


async def test_texts_to_embed_are_reached_however_many_queries_come(thread):
    encoder = GatedEncoder()
    made = batcher(encoder, thread, max_texts=1)
    first = await behind_a_pass(encoder, made)
    tasks = await waiting(
        made.documents(["document"], role=Role.DOCUMENT), made.queries([str(i) for i in range(2 * QUERY_PASSES)])
    )
    encoder.open()
    await asyncio.gather(first, *tasks)
    assert encoder.passes.index(["document"]) == QUERY_PASSES + 1


async def test_texts_of_two_roles_share_no_pass(thread):
    encoder = GatedEncoder()
    made = batcher(encoder, thread)
    await asyncio.gather(*(made.documents(["star", "gas"], role=role) for role in (Role.QUERY, Role.DOCUMENT)))
    assert encoder.passes == [["star", "gas"]] * 2
    assert encoder.n_queries == 2


async def test_a_bad_text_to_embed_is_named_by_its_position(thread):
    made = batcher(FakeEncoder(), thread)
    texts = [*(f"gas {i}" for i in range(11)), "NAN"]
    with pytest.raises(BadVector, match="at position 11") as caught:
        await made.documents(texts, role=Role.DOCUMENT)
    assert caught.value.position == 11


async def test_who_waits_when_the_thread_is_stopped_is_told(thread):
    encoder = GatedEncoder()
    made = batcher(encoder, thread)
    first = await behind_a_pass(encoder, made)
    (second,) = await waiting(made.queries(["star"]))
    thread.shutdown(wait=False)
    encoder.open()
    assert "first" in (await first)[0]
    with pytest.raises(Overloaded, match="found that it stops"):
        await second


async def test_no_texts_no_pass(thread):
    encoder = GatedEncoder()
    made = batcher(encoder, thread)
    assert await made.queries([]) == ({}, batching.Waited(0.0, 0.0))
    assert encoder.passes == []


@pytest.mark.parametrize("dtype", ["float32", "auto"])
async def test_a_real_models_vectors_are_those_of_each_text_alone(thread, dtype):
    encoder = open_encoder("minilm", compute=Compute(dtype=dtype))
    texts = [f"{word} {'of a very distant galaxy ' * i}".strip() for i, word in enumerate(WORDS)]
    together, _ = await batcher(encoder, thread).queries(texts)
    for text in texts:
        alone = encoder.encode([text], role=Role.QUERY)[0]
        assert cosines(alone, together[text][None])[0] > 1 - TOLERANCE[encoder.made_with["dtype"]]
