"""An index is replaced under load: nothing fails, and each answer is of the generation that it names."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from corpora import records, write
from fake_encoder import FakeEncoder
from gated_encoder import GatedEncoder
from serving import in_process

from embedsearch.build import BuildOptions, build_index
from embedsearch.encoders import Encoder
from embedsearch.errors import StoreCorrupt, StoreNotFound
from embedsearch.search import encoding as encoding_module
from embedsearch.server import metrics
from embedsearch.server.engine import Engine
from embedsearch.server.options import ServeOptions
from embedsearch.store.manifest import read_manifest

POLL = 0.02
N_SWAPS = 20
N_CLIENTS = 6


def marked(number: int, folder: Path) -> Path:
    """A corpus whose every title says its number."""
    made = [record | {"title": f"star of corpus {number} no {i}"} for i, record in enumerate(records(40, seed=number))]
    return write(folder / f"corpus-{number}.jsonl", made)


def build(number: int, folder: Path, index: Path, encoder: Encoder | None = None) -> None:
    """Make, or replace, the store at `index` by one of corpus `number`."""
    folder.mkdir(parents=True, exist_ok=True)
    build_index(marked(number, folder), index, encoder=encoder or FakeEncoder(), options=BuildOptions(overwrite=True))


def rename(new: Path, index: Path) -> None:
    """Put another folder in the place of the index."""
    aside = index.with_name("aside")
    index.rename(aside)
    new.rename(index)
    shutil.rmtree(aside)


class Load:
    """Clients that search without a pause, each query another, until they are stopped."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers: list[httpx.Response] = []
        self._stopping = threading.Event()
        self._pool = ThreadPoolExecutor(N_CLIENTS)
        self._clients = [self._pool.submit(self._ask, client) for client in range(N_CLIENTS)]

    def _ask(self, number: int) -> None:
        n = 0
        with httpx.Client(base_url=self.url, trust_env=False, timeout=20) as client:
            while not self._stopping.is_set():
                n += 1
                mode = ("hybrid", "dense", "keyword")[n % 3]
                self.answers.append(client.get("/v1/search", params={"q": f"star {number} {n}", "mode": mode, "k": 5}))

    def until(self, is_met: Callable[[], bool]) -> None:
        end = time.monotonic() + 20
        while not is_met():
            assert time.monotonic() < end, "what was waited for did not come"
            time.sleep(0.002)

    def reach(self, generation: int, n: int = 12) -> None:
        """Wait until `n` more answers came, the last of them of this generation."""
        wanted = len(self.answers) + n
        self.until(
            lambda: len(self.answers) >= wanted and self.answers[-1].headers["x-index-generation"] == str(generation)
        )

    def stop(self) -> list[httpx.Response]:
        self._stopping.set()
        for client in self._clients:
            client.result()
        self._pool.shutdown()
        return self.answers


def corpora_of(answer: httpx.Response) -> set[int]:
    """Which corpora the papers of an answer are of."""
    return {int(hit["title"].split()[3]) for hit in answer.json()["hits"]}


def check(answers: list[httpx.Response], corpus_of: Callable[[int], int]) -> None:
    """All were answered, each from the corpus of the generation that it names."""
    assert {answer.status_code for answer in answers} == {200}
    for answer in answers:
        assert corpora_of(answer) == {corpus_of(int(answer.headers["x-index-generation"]))}


def test_generations_are_committed_in_place_under_load(tmp_path):
    index = tmp_path / "index"
    build(1, tmp_path, index)
    with in_process(index, poll_seconds=POLL) as url:
        load = Load(url)
        for number in range(2, N_SWAPS // 2 + 2):
            build(number, tmp_path, index)
            load.reach(read_manifest(index).serving.number)
        answers = load.stop()
    check(answers, lambda generation: generation)
    assert {answer.headers["x-index-generation"] for answer in answers} == {
        str(number) for number in range(1, N_SWAPS // 2 + 2)
    }


def test_folders_are_renamed_under_load(tmp_path):
    """Every store is of generation 1 or 2, so that old and new have files of the same names."""
    index = tmp_path / "index"
    build(1, tmp_path, index)
    with in_process(index, poll_seconds=POLL) as url:
        load = Load(url)
        for number in range(2, N_SWAPS // 2 + 2):
            new = tmp_path / "new"
            build(number % 2, tmp_path, new)
            if number % 2 == 0:
                build(0, tmp_path, new)  # one more generation
            rename(new, index)
            load.reach(1 + (number % 2 == 0))
        answers = load.stop()
    check(answers, {1: 1, 2: 0}.__getitem__)


@asynccontextmanager
async def started(index: Path, encoder: Encoder | None = None, poll: float = POLL) -> AsyncIterator[Engine]:
    engine = Engine(ServeOptions(index=index, poll_seconds=poll), encoder=encoder)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


async def eventually(is_met: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not is_met():
            await asyncio.sleep(0.005)


async def titles(engine: Engine, query: str = "star") -> set[int]:
    """Which corpora the papers of an answer are of."""
    return {int(hit.title.split()[3]) for hit in (await engine.search([query])).value[0].hits}


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_request_is_answered_by_the_state_that_it_began_with(tmp_path):
    index, encoder = tmp_path / "index", GatedEncoder()
    build(1, tmp_path, index)
    async with started(index, encoder, poll=60) as engine:
        encoder.shut()
        asked = asyncio.create_task(engine.search(["gas"]))
        await eventually(lambda: len(encoder.passes) == 2)
        build(2, tmp_path, tmp_path / "new")
        rename(tmp_path / "new", index)
        reloading = asyncio.create_task(engine.reload())
        await asyncio.sleep(0.05)
        encoder.open()
        assert (await reloading).value
        hits = (await asked).value[0].hits
        assert {int(hit.title.split()[3]) for hit in hits} == {1}
        assert await titles(engine) == {2}


async def test_a_broken_new_store_is_told_once_and_the_old_goes_on(tmp_path, caplog):
    index = tmp_path / "index"
    build(1, tmp_path, index)
    before = metrics.REGISTRY.get_sample_value("embedsearch_swaps_total", {"result": "failed"}) or 0
    async with started(index, FakeEncoder()) as engine:
        build(2, tmp_path, tmp_path / "new")
        ann = next((tmp_path / "new").glob("ann-*"))
        whole = ann.read_bytes()
        ann.write_bytes(bytes(len(whole)))
        rename(tmp_path / "new", index)
        await eventually(lambda: bool(warnings(caplog)))
        with pytest.raises(StoreCorrupt, match="as it was written, found other bytes"):
            await engine.reload()
        await asyncio.sleep(10 * POLL)
        assert await titles(engine) == {1}
        (told,) = warnings(caplog)
        assert told.startswith("generation 1 goes on: the index cannot be opened as it is now: expected ")
        assert metrics.REGISTRY.get_sample_value("embedsearch_swaps_total", {"result": "failed"}) == before + 1
        (index / ann.name).write_bytes(whole)  # its files were still on their way: nothing else changes
        await eventually(lambda: engine.searcher.generation.corpus.source.endswith("corpus-2.jsonl"))
        assert await titles(engine) == {2}


async def test_a_manifest_that_is_none_is_told_and_the_old_goes_on(tmp_path, caplog):
    index = tmp_path / "index"
    build(1, tmp_path, index)
    async with started(index, FakeEncoder()) as engine:
        manifest = (index / "manifest.json").read_bytes()
        (index / "manifest.json").write_text(json.dumps({"format": 1, "checksum": "", "serving": None}))
        await eventually(lambda: bool(warnings(caplog)))
        assert await titles(engine) == {1}
        (index / "manifest.json").write_bytes(manifest)
        assert not (await engine.reload()).value
        assert len(warnings(caplog)) == 1


async def test_a_deleted_folder_is_told_once_and_what_was_open_goes_on(tmp_path, caplog):
    index = tmp_path / "index"
    build(1, tmp_path, index)
    async with started(index, FakeEncoder()) as engine:
        shutil.rmtree(index)
        await eventually(lambda: bool(warnings(caplog)))
        await asyncio.sleep(10 * POLL)
        for mode in ("hybrid", "dense", "keyword"):
            assert (await engine.search(["gas dust"], mode=mode)).value[0].hits
        assert (await engine.paper("2001.10000")).value.paper.id == "2001.10000"
        (told,) = warnings(caplog)
        assert "found none" in told
        with pytest.raises(StoreNotFound):
            await engine.reload()
        build(3, tmp_path, index)
        await eventually(lambda: engine.searcher.generation.corpus.source.endswith("corpus-3.jsonl"))
        assert await titles(engine) == {3}


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> list[FakeEncoder]:
    """Stores open the fake encoder of their recipe; all that were opened."""
    opened: list[FakeEncoder] = []

    def encoder_of(generation: object, **_: object) -> FakeEncoder:
        encoder = next(e for e in map(FakeEncoder, ("one", "two")) if e.recipe.as_dict() == generation.recipe)
        opened.append(encoder)
        return encoder

    monkeypatch.setattr(encoding_module, "encoder_of", encoder_of)
    return opened


async def test_the_same_model_is_not_loaded_again_and_its_queries_stay_known(tmp_path, models):
    index = tmp_path / "index"
    build(1, tmp_path, index, FakeEncoder("one"))
    async with started(index, poll=60) as engine:
        await engine.search(["gas"])
        build(2, tmp_path, index, FakeEncoder("one"))
        assert (await engine.reload()).value
        n_texts = models[0].n_texts
        assert (await engine.search(["gas"])).generation == 2
        assert len(models) == 1
        assert models[0].n_texts == n_texts


async def test_another_model_embeds_the_queries_of_its_store(tmp_path, models):
    index = tmp_path / "index"
    build(1, tmp_path, index, FakeEncoder("one"))
    async with started(index, poll=60) as engine:
        await engine.search(["gas"])
        build(2, tmp_path, tmp_path / "new", FakeEncoder("two"))
        rename(tmp_path / "new", index)
        assert (await engine.reload()).value
        assert await titles(engine, "gas") == {2}
        assert [encoder.recipe for encoder in models] == [FakeEncoder("one").recipe, FakeEncoder("two").recipe]
        assert models[1].n_texts == 2  # warmed up, and asked, although the first model knew this query


async def test_a_store_of_another_model_than_the_given_one_is_refused(tmp_path, caplog):
    index = tmp_path / "index"
    build(1, tmp_path, index)
    async with started(index, FakeEncoder()) as engine:
        build(2, tmp_path, tmp_path / "new", FakeEncoder("other"))
        rename(tmp_path / "new", index)
        await eventually(lambda: bool(warnings(caplog)))
        assert "expected the encoder that made the index, found another" in warnings(caplog)[0]
        assert await titles(engine) == {1}


async def test_where_files_of_the_old_state_are_gone_the_request_is_answered_by_the_new_one(tmp_path, monkeypatch):
    index = tmp_path / "index"
    build(1, tmp_path, index)
    async with started(index, FakeEncoder(), poll=60) as engine:
        old = engine.searcher

        def gone(*_: object, **__: object) -> None:
            raise StoreCorrupt("expected a file, found none")

        monkeypatch.setattr(old, "search", gone)
        with pytest.raises(StoreCorrupt, match="expected a file, found none"):
            await engine.search(["gas"])
        build(2, tmp_path, index)
        answers = await asyncio.gather(*(engine.search(["gas", str(i)]) for i in range(5)))
        assert {answer.generation for answer in answers} == {2}


async def test_shards_that_are_committed_are_searched_at_once(tmp_path):
    index = tmp_path / "index"
    corpus = marked(1, tmp_path)
    options = BuildOptions(shard_rows=16)
    with pytest.raises(RuntimeError):
        build_index(corpus, index, encoder=FakeEncoder(fail_at=20), options=options)
    async with started(index, FakeEncoder()) as engine:
        assert engine.searcher.generation.n_embedded == 16
        build_index(corpus, index, encoder=FakeEncoder(), options=options)
        await eventually(lambda: engine.searcher.generation.complete)
        assert (await engine.search(["star"])).generation == 1


async def test_progress_of_a_build_beside_it_is_no_new_state(tmp_path):
    index = tmp_path / "index"
    build(1, tmp_path, index)
    async with started(index, FakeEncoder(), poll=60) as engine:
        before = engine.searcher
        with pytest.raises(RuntimeError):
            build(2, tmp_path, index, FakeEncoder(fail_at=0))
        assert read_manifest(index).building is not None
        assert not (await engine.reload()).value
        assert engine.searcher is before


async def test_an_old_state_is_let_go(tmp_path):
    def n_open() -> int:
        links = [Path(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
        return sum("papers-" in os.readlink(link) for link in links if link.is_symlink())

    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc")
    index = tmp_path / "index"
    build(1, tmp_path, index)
    async with started(index, FakeEncoder(), poll=60) as engine:
        before = n_open()
        for number in range(2, 6):
            build(number, tmp_path, index)
            assert (await engine.reload()).value
            await engine.search(["gas"])
        assert n_open() <= before + 1
