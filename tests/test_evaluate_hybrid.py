"""The weight of the hybrid: chosen on one half of the queries, and kept by a store that is asked to."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from corpora import records, write
from fake_encoder import FakeEncoder
from running import run
from serving import in_process, make_store

from embedsearch.build import BuildOptions, build_index
from embedsearch.corpus import sample_key
from embedsearch.errors import OptionError, StoreLocked, StoreNotFound
from embedsearch.evaluate.asking import Scored
from embedsearch.evaluate.hybrid import WEIGHTS, WeightCurve, choose_hybrid
from embedsearch.records import Hit
from embedsearch.search import HYBRID_WEIGHT, Mode, Searcher, encoding
from embedsearch.store.lock import writer_lock
from embedsearch.store.manifest import MANIFEST_NAME, read_manifest
from embedsearch.store.weight import save_hybrid_weight

QUERY = "star plasma dust"


def scored(n: int = 80, *, name: str = "made", by_words: bool = True, by_meaning: bool = True) -> Scored:
    """n queries, the i-th about paper i: words find it where `by_words`, and meaning finds another paper first."""
    random = np.random.default_rng(4)
    cosine, bm25 = (random.uniform(0, 0.3, size=(n, n)).astype(np.float32) for _ in range(2))
    here = np.arange(n)
    (bm25 if by_words else cosine)[here, here] = 1.0
    (cosine if by_words else bm25)[here, (here + 1) % n] = 1.0
    return Scored(
        name=name,
        ids=[f"paper-{i}" for i in range(n)],
        queries=tuple(f"query {i}" for i in range(n)),
        relevant=tuple({i: 1} for i in range(n)),
        cosine=cosine if by_meaning else None,
        bm25=bm25,
    )


def test_the_weight_is_chosen_on_one_half_and_reported_on_the_other() -> None:
    made = scored()
    choice = choose_hybrid("made", [WeightCurve.of("titles", made)])
    (figures,) = choice.sets
    chooses = np.array([sample_key(id, 1) % 2 == 0 for id in made.ids])
    assert (figures.n_choosing, figures.n_reported) == (chooses.sum(), (~chooses).sum())
    assert choice.weight < 0.5 < HYBRID_WEIGHT == choice.default

    def mrr(weight: float, half: np.ndarray) -> float:
        ranks = made.ranks(Mode.HYBRID, weight)[half]
        return float(np.where(ranks <= 10, 1 / ranks, 0).mean())

    assert figures.chosen.mean == pytest.approx(mrr(choice.weight, ~chooses))
    assert figures.by_default.mean == pytest.approx(mrr(HYBRID_WEIGHT, ~chooses))
    assert figures.dense.mean == pytest.approx(mrr(1.0, ~chooses))
    assert figures.keyword.mean == pytest.approx(mrr(0.0, ~chooses))
    assert figures.difference.mean == pytest.approx(figures.chosen.mean - figures.by_default.mean)
    assert dict(figures.curve) == pytest.approx({weight: mrr(weight, chooses) for weight in WEIGHTS})
    assert choice.is_better
    assert json.loads(json.dumps(choice.as_dict()))["sets"][0]["difference"]["low"] > 0


def test_what_the_other_half_holds_chooses_nothing() -> None:
    """The half that reports is spoiled: the choice stays, and the report shows it."""
    made = scored()
    curve = WeightCurve.of("titles", made)
    before = choose_hybrid("made", [curve])
    curve.values[:, ~curve.chooses] = curve.values[::-1, ~curve.chooses]
    after = choose_hybrid("made", [curve])
    assert after.weight == before.weight
    assert after.sets[0].chosen.mean < before.sets[0].chosen.mean
    assert not after.is_better


def test_of_equal_weights_the_nearest_to_the_default_is_taken() -> None:
    curve = WeightCurve.of("titles", scored())
    curve.values[:] = 1.0
    choice = choose_hybrid("made", [curve])
    assert choice.weight == HYBRID_WEIGHT
    assert choice.sets[0].difference.mean == 0
    assert not choice.is_better


def test_several_sets_count_alike() -> None:
    """Words are right in one, meaning in the other, which has more queries: that decides nothing by itself."""
    words, meaning = WeightCurve.of("a", scored(40)), WeightCurve.of("b", scored(200, by_words=False))
    both = choose_hybrid("made", [words, meaning])
    means = [np.mean([dict(of.curve)[w] for of in both.sets]) for w in WEIGHTS]
    assert means[WEIGHTS.index(both.weight)] == max(means)
    assert {of.queries: of.n_choosing + of.n_reported for of in both.sets} == {"a": 40, "b": 200}


def test_a_default_that_is_the_stores_own_is_among_the_weights() -> None:
    choice = choose_hybrid("made", [WeightCurve.of("titles", scored(), default=0.33)], default=0.33)
    assert 0.33 in dict(choice.sets[0].curve)
    assert choice.default == 0.33


def test_what_cannot_be_chosen_is_said() -> None:
    with pytest.raises(OptionError, match="expected vectors and keywords to weigh, found made without one of them"):
        WeightCurve.of("titles", scored(by_meaning=False))
    for curves, found in (([WeightCurve.of("titles", scored(12))], r"\d"), ([], "0")):
        with pytest.raises(
            OptionError, match=f"expected at least 10 queries of a set in each half .*found {found}: ask"
        ):
            choose_hybrid("made", curves)


def test_a_set_of_few_queries_has_no_part_in_the_choice() -> None:
    many, few = WeightCurve.of("many", scored()), WeightCurve.of("few", scored(12, by_words=False))
    both = choose_hybrid("made", [few, many])
    assert both == choose_hybrid("made", [many])
    assert [each.queries for each in both.sets] == ["many"]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("store"))


def expected_score(weight: float, hit: Hit, words: dict[str, float]) -> float:
    return weight * (hit.cosine or 0.0) + (1 - weight) * words.get(hit.id, 0.0) / max(words.values())


@pytest.fixture
def weighted(index: Path) -> Iterator[Path]:
    """The store with a weight of its own."""
    save_hybrid_weight(index, 0.25)
    yield index
    save_hybrid_weight(index, None)


def scores(hits: list[dict[str, Any]]) -> list[tuple[str, float]]:
    return [(hit["id"], round(hit["score"], 6)) for hit in hits]


def test_a_saved_weight_is_that_of_the_scores(weighted: Path) -> None:
    searcher = Searcher.open(weighted, encoder=FakeEncoder())
    words = {hit.id: hit.score for hit in searcher.search(QUERY, k=60, mode="keyword").hits}
    hits = searcher.search(QUERY, k=60).hits
    assert [hit.score for hit in hits] == pytest.approx([expected_score(0.25, hit, words) for hit in hits], abs=1e-6)
    # With few hits the lists are cut, and must settle by this weight; a whole title is scored apart
    assert [hit.id for hit in searcher.search(QUERY, k=3).hits] == [hit.id for hit in hits[:3]]
    title = hits[30].title
    words = {hit.id: hit.score for hit in searcher.search(title, k=60, mode="keyword").hits}
    first = searcher.search(title, k=1).hits[0]
    assert first.title == title
    assert first.score == pytest.approx(expected_score(0.25, first, words), abs=1e-6)


def test_searcher_command_and_server_go_by_a_saved_weight_alike(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoding, "open_encoder", lambda *_, **__: FakeEncoder())
    searcher = Searcher.open(index, encoder=FakeEncoder())

    def searched() -> list[tuple[str, float]]:
        searcher.refresh()
        return [(hit.id, round(hit.score, 6)) for hit in searcher.search(QUERY, k=20).hits]

    def commanded() -> list[tuple[str, float]]:
        done = run("query", QUERY, "-k", "20", "--index", index, "--format", "json", cwd=tmp_path)
        return scores(json.loads(done.stdout)["hits"])

    with in_process(index, poll_seconds=0.02) as url, httpx.Client(base_url=url) as client:

        def served() -> list[tuple[str, float]]:
            return scores(client.post("/v1/search", json={"query": QUERY, "k": 20}).json()["hits"])

        usual = searched()
        assert served() == commanded() == usual
        save_hybrid_weight(index, 0.25)
        ours = searched()
        assert ours != usual
        assert commanded() == ours
        until(lambda: served() == ours)
        save_hybrid_weight(index, None)
        assert searched() == commanded() == usual
        until(lambda: served() == usual)


def until(holds: Callable[[], bool]) -> None:
    """Servers look at the store now and then."""
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_the_command_saves_what_it_chose_where_it_is_asked_to_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoding, "open_encoder", lambda *_, **__: FakeEncoder())
    index = make_store(tmp_path)
    before = (index / MANIFEST_NAME).read_bytes()
    ask = ["evaluate", index, "--choose-hybrid", "--no-cost", "--format", "json"]
    done = run(*ask, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (choice,) = json.loads(done.stdout)["hybrid"]
    assert (index / MANIFEST_NAME).read_bytes() == before
    again = run(*ask, "--save", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["hybrid"] == [choice]
    assert read_manifest(index).serving.hybrid_weight == choice["weight"]
    assert f"hybrid search has the weight {choice['weight']:g} now" in again.stderr
    assert run("evaluate", index, "--save", cwd=tmp_path).returncode == 2


def test_info_shows_the_weight(index: Path, tmp_path: Path) -> None:
    def told(*options: str) -> str:
        return run("info", "--index", index, *options, cwd=tmp_path).stdout

    assert "hybrid" not in told()
    assert json.loads(told("--format", "json"))["hybrid_weight"] is None
    save_hybrid_weight(index, 0.25)
    assert "0.25 cosine + 0.75 BM25, chosen for this index" in told()
    assert json.loads(told("--format", "json"))["hybrid_weight"] == 0.25
    assert run("verify", "--index", index, cwd=tmp_path).returncode == 0
    save_hybrid_weight(index, None)


def test_a_store_without_a_weight_says_nothing_new_and_others_ignore_it(index: Path) -> None:
    assert read_manifest(index).serving.hybrid_weight is None
    save_hybrid_weight(index, 0.5)
    document = json.loads((index / MANIFEST_NAME).read_text())
    assert document["features"] == []  # an older version reads it, and goes by the usual weight
    before = (index / MANIFEST_NAME).read_bytes()
    save_hybrid_weight(index, 0.5)
    assert (index / MANIFEST_NAME).read_bytes() == before
    save_hybrid_weight(index, None)
    assert read_manifest(index).serving.hybrid_weight is None


def test_a_build_that_goes_on_keeps_the_weight_and_a_new_one_has_none(tmp_path: Path) -> None:
    corpus = write(tmp_path / "papers.jsonl", records(20))
    build_index(corpus, tmp_path / "i", encoder=FakeEncoder())
    save_hybrid_weight(tmp_path / "i", 0.3)
    build_index(corpus, tmp_path / "i", encoder=FakeEncoder())
    assert read_manifest(tmp_path / "i").serving.hybrid_weight == 0.3
    build_index(corpus, tmp_path / "i", encoder=FakeEncoder(), options=BuildOptions(ann="flat"))
    assert read_manifest(tmp_path / "i").serving.hybrid_weight == 0.3
    build_index(corpus, tmp_path / "i", encoder=FakeEncoder("other"), options=BuildOptions(overwrite=True))
    assert read_manifest(tmp_path / "i").serving.hybrid_weight is None


@pytest.mark.parametrize("weight", [-0.1, 1.01, float("nan")])
def test_a_weight_is_a_share(index: Path, weight: float) -> None:
    with pytest.raises(OptionError, match=r"expected a weight from 0 \(words alone\) to 1"):
        save_hybrid_weight(index, weight)


def test_no_weight_is_saved_where_another_writes_or_nothing_is(index: Path, tmp_path: Path) -> None:
    with writer_lock(index), pytest.raises(StoreLocked):
        save_hybrid_weight(index, 0.5)
    with pytest.raises(StoreNotFound):
        save_hybrid_weight(tmp_path / "none", 0.5)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_the_ends_are_words_alone_and_meaning_alone(index: Path, weight: float) -> None:
    save_hybrid_weight(index, weight)
    try:
        searcher = Searcher.open(index, encoder=FakeEncoder())
        hits = searcher.search(QUERY, k=5).hits
        alone = searcher.search(QUERY, k=60, mode="keyword" if weight == 0 else "dense").hits
        best = alone[0].score if weight == 0 else 1.0
        assert [hit.score for hit in hits] == pytest.approx([hit.score / best for hit in alone[:5]], abs=1e-6)
    finally:
        save_hybrid_weight(index, None)
